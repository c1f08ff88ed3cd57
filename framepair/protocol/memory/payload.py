"""How pixels travel: in the message (``raw``), compressed in it (``jpeg``), or in shared memory (``shm``)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from framepair.protocol.memory import jpeg
from framepair.protocol.memory.payload_spec import Kind
from framepair.protocol.memory.ring import Pixels, Shape
from framepair.protocol.memory.shared_ring import SharedRing, remove_stale
from framepair.protocol.wire.frame import Location

# Slots beyond the history: the one that is written, and the one that was just sent.
SPARE_SLOTS = 2
MIN_WINDOWS = 2


@dataclass(frozen=True, slots=True)
class Packed:
    """What goes into a message: the pixels, a JPEG file, or nothing and their location."""

    data: memoryview | bytes
    kind: Kind = "raw"
    location: Location | None = None


class Payload(Protocol):
    """A producer's memory for frames, one after the other."""

    def reserve(self, shape: Shape) -> Pixels:
        """Return memory for the next frame, (height, width, channels)."""

    def pack(self, seq: int) -> Packed:
        """Return frame ``seq``, which was written into the memory reserved last, as it travels."""

    def close(self) -> None:
        """Give the memory back."""


class Raw:
    """Memory of its own for every frame: the message takes it along."""

    def __init__(self) -> None:
        self._frame = np.empty((0, 0, 0), np.uint8)

    def reserve(self, shape: Shape) -> Pixels:
        """Return memory for the next frame, (height, width, channels)."""
        self._frame = np.empty(shape, np.uint8)
        return self._frame

    def pack(self, seq: int) -> Packed:  # noqa: ARG002 - only the ring has to know
        """Return the frame's own memory, not a copy."""
        return Packed(self._frame.data)

    def close(self) -> None:
        """Do nothing: the memory goes with the last message."""


class Jpeg:
    """Memory that each frame is drawn into anew: what travels is a file that is made from it."""

    def __init__(self, quality: int) -> None:
        self._quality = quality
        self._frame = np.empty((0, 0, 0), np.uint8)

    def reserve(self, shape: Shape) -> Pixels:
        """Return memory for the next frame, (height, width, channels)."""
        if self._frame.shape != shape:
            self._frame = np.empty(shape, np.uint8)
        return self._frame

    def pack(self, seq: int) -> Packed:  # noqa: ARG002 - only the ring has to know
        """Return the frame as a JPEG file."""
        return Packed(jpeg.encode(self._frame, self._quality), "jpeg")

    def close(self) -> None:
        """Do nothing: the memory is this object's own."""


class Shared:
    """A ring in shared memory: the newest ``history_s`` seconds of frames, overwritten in turn.

    Another shape begins another ring; the former stays until that one has gone round, or yet another is
    begun, since frames of it are still on their way. Raises NoRoom if a ring does not fit.
    """

    def __init__(
        self, directory: Path, source: str, run: int, fps: float, history_s: float
    ) -> None:
        self._directory = directory
        self._stem = f"{source}.{run:x}"
        self._slots = math.ceil(fps * history_s) + SPARE_SLOTS
        self._rings: list[SharedRing] = []
        self._count = 0
        self._next = 0

    def reserve(self, shape: Shape) -> Pixels:
        """Return the next slot, (height, width, channels), marked as being written."""
        if not self._rings or self._rings[-1].ring.shape != shape:
            self._begin(shape)
        ring = self._rings[-1].ring
        if self._next == ring.slots:
            self._next = 0
            self._close_former()
        return ring.reserve(self._next)

    def pack(self, seq: int) -> Packed:
        """Say that the slot holds frame ``seq``; return where that is."""
        newest = self._rings[-1]
        slot = newest.ring.commit(self._next, seq)
        self._next += 1
        return Packed(b"", "shm", Location(newest.name, slot.index, slot.generation))

    def close(self) -> None:
        """Remove the rings; who reads them keeps what they hold."""
        while self._rings:
            self._rings.pop().close()
        remove_stale(self._directory)

    def _begin(self, shape: Shape) -> None:
        # A camera that changes its mind every second must not fill the memory.
        self._close_former()
        stem = f"{self._stem}.{self._count}"
        self._rings.append(SharedRing(self._directory, stem, self._slots, shape))
        self._count, self._next = self._count + 1, 0

    def _close_former(self) -> None:
        while len(self._rings) > 1:
            self._rings.pop(0).close()


def history_s(asked_s: float, window_s: float) -> float:
    """Return how many seconds a ring must hold: a window and the one being filled at the least."""
    return max(asked_s, MIN_WINDOWS * window_s)
