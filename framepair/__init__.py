"""Frames of several videos, paired by capture time: ``from framepair import subscribe``."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from framepair.protocol.client.clip import Clip, Pair
    from framepair.protocol.client.losses import SubscriberStats
    from framepair.protocol.client.matches import Match
    from framepair.protocol.client.pixels import Overwritten
    from framepair.protocol.client.single_frame import Frame
    from framepair.protocol.client.subscriber import EndpointError, Subscription, subscribe

__version__ = "0.2.0"
__all__ = [
    "Clip",
    "EndpointError",
    "Frame",
    "Match",
    "Overwritten",
    "Pair",
    "SubscriberStats",
    "Subscription",
    "__version__",
    "subscribe",
]

_MODULES = {
    "Clip": "framepair.protocol.client.clip",
    "EndpointError": "framepair.protocol.client.subscriber",
    "Frame": "framepair.protocol.client.single_frame",
    "Match": "framepair.protocol.client.matches",
    "Overwritten": "framepair.protocol.client.pixels",
    "Pair": "framepair.protocol.client.clip",
    "SubscriberStats": "framepair.protocol.client.losses",
    "Subscription": "framepair.protocol.client.subscriber",
    "subscribe": "framepair.protocol.client.subscriber",
}

if not TYPE_CHECKING:
    # Type checkers should refuse a name that is not there, which this would hide from them.
    def __getattr__(name: str) -> object:
        # The launcher and the producers import this package too, and need neither numpy nor zmq for that.
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(importlib.import_module(_MODULES[name]), name)
