"""Pairs of frames, for a consumer: ``from protocol import subscribe``."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from protocol.clip import Clip, Overwritten, Pair
    from protocol.header import ProtocolError
    from protocol.subscriber import Subscription, subscribe

__all__ = ["Clip", "Overwritten", "Pair", "ProtocolError", "Subscription", "subscribe"]

_HOMES = {
    "Clip": "protocol.clip",
    "Overwritten": "protocol.clip",
    "Pair": "protocol.clip",
    "ProtocolError": "protocol.header",
    "Subscription": "protocol.subscriber",
    "subscribe": "protocol.subscriber",
}


def __getattr__(name: str) -> object:
    # The launcher and the producers don't subscribe, and shouldn't import for it: they are waited for.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
