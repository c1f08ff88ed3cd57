"""The standard library's pipe, with the frame's bytes as they are."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np

from bench.hop.pipe import link
from bench.hop.way import Place, Receive, Send

__all__ = ["NAME", "NEEDS", "link", "receiver", "sender"]

NAME = "Pipe.send_bytes"
NEEDS: tuple[str, ...] = ()


@contextlib.contextmanager
def sender(place: Place) -> Iterator[Send]:
    """Send a frame's memory."""
    _, end = place.link
    yield lambda frame: end.send_bytes(frame.reshape(-1).data)


@contextlib.contextmanager
def receiver(place: Place) -> Iterator[Receive]:
    """Receive bytes, of which the array is a view."""
    end, _ = place.link
    yield lambda: (np.frombuffer(end.recv_bytes(), np.uint8).reshape(place.shape), None)
