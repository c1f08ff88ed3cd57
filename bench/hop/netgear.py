"""vidgear's NetGear without JPEG: its default pattern, which waits for a confirmation of each frame."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import Any

from bench.hop.raw_tcp import link
from bench.hop.way import Place, Receive, Send

__all__ = ["NAME", "NEEDS", "link", "receiver", "sender"]

NAME = "vidgear NetGear, tcp"
NEEDS = ("vidgear", "cv2")


@contextlib.contextmanager
def sender(place: Place) -> Iterator[Send]:
    """Send frames."""
    with _netgear(place) as gear:
        yield gear.send


@contextlib.contextmanager
def receiver(place: Place) -> Iterator[Receive]:
    """Receive frames, which a thread of its own collects."""
    with _netgear(place, receive_mode=True) as gear:
        yield lambda: (gear.recv(), None)


@contextlib.contextmanager
def _netgear(place: Place, *, receive_mode: bool = False) -> Iterator[Any]:
    from vidgear.gears import NetGear

    # It warns of each end that it is closed.
    logging.getLogger("NetGear").setLevel(logging.ERROR)
    host, _, port = place.link.removeprefix("tcp://").rpartition(":")
    options: dict[str, Any] = {
        "address": host,
        "port": port,
        "protocol": "tcp",
        "jpeg_compression": False,
    }
    gear = NetGear(receive_mode=receive_mode, **options)
    try:
        yield gear
    finally:
        # Otherwise its thread waits for frames that nobody sends any more.
        gear.close(**({"kill": True} if receive_mode else {}))
