"""framepair with the pixels in a ring in shared memory; writing them there is part of it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np

from bench.frames import Frame
from bench.hop import framepair_ends
from bench.hop.framepair_ends import FPS, SOURCE
from bench.hop.raw_ipc import link
from bench.hop.way import POOL, Place, Receive, Send
from framepair.protocol.memory.payload import Place as RingPlace
from framepair.protocol.memory.ring import Slot
from framepair.protocol.memory.shared_ring import Attached
from framepair.protocol.memory.shm import SPARE_SLOTS, RingWriter

__all__ = ["NAME", "NEEDS", "link", "receiver", "sender"]

NAME = "framepair shm"
NEEDS: tuple[str, ...] = ()


@contextlib.contextmanager
def sender(place: Place) -> Iterator[Send]:
    """Copy each frame into the ring, where a producer would have it decoded, and push where it is."""
    history_s = (POOL - SPARE_SLOTS) / FPS
    memory = RingWriter(RingPlace(SOURCE, 1, FPS, history_s, place.directory / "shm"))
    with contextlib.closing(memory), framepair_ends.producer(place) as end:

        def send(frame: Frame) -> None:
            np.copyto(memory.reserve(place.shape), frame)
            end.send(memory.pack(end.outbox.seq, "bgr8"))

        yield send


@contextlib.contextmanager
def receiver(place: Place) -> Iterator[Receive]:
    """Pull messages, and look at the ring where they say."""
    attached = Attached(place.directory / "shm")
    with framepair_ends.combiner(place) as pull:

        def receive() -> tuple[Frame, Slot]:
            slot = attached.slot(framepair_ends.receive(pull).header)
            return slot.image, slot

        yield receive
