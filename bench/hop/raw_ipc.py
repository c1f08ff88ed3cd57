"""framepair with the pixels in the message, over a Unix socket."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from multiprocessing.context import SpawnContext
from pathlib import Path

import numpy as np

from bench.hop import framepair_ends
from bench.hop.way import Place, Receive, Send
from framepair.protocol.memory.payload import Packed

NAME = "framepair raw, ipc"
NEEDS: tuple[str, ...] = ()


def link(context: SpawnContext, directory: Path) -> str:  # noqa: ARG001
    """Return the address."""
    return f"ipc://{directory}/frames"


@contextlib.contextmanager
def sender(place: Place) -> Iterator[Send]:
    """Push a frame's memory."""
    with framepair_ends.producer(place) as end:
        yield lambda frame: end.send(Packed(frame.data))


@contextlib.contextmanager
def receiver(place: Place) -> Iterator[Receive]:
    """Pull messages, of whose pixels the array is a view."""
    with framepair_ends.combiner(place) as pull:
        yield lambda: (
            np.frombuffer(framepair_ends.receive(pull).pixels.buffer, np.uint8).reshape(
                place.shape
            ),
            None,
        )
