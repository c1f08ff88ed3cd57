"""Batches: clips of as many frames as asked for, whatever the pairs have."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from itertools import groupby

import numpy as np
from msgspec.structs import replace

from framepair.protocol.client.clip import Clip, Pair
from framepair.protocol.client.pixels import FramePixels, Overwritten
from framepair.protocol.memory.ring import Shape
from framepair.protocol.wire.frame import FrameHeader
from framepair.protocol.wire.pair import spans_of


def batches(pairs: Iterable[Pair], n: int, source: str) -> Generator[Clip, None, None]:
    """Yield clips of ``n`` frames of ``source``; the last one has what is left.

    A batch also ends where frames change their shape. It is a view of its pair, and goes with that; if its
    frames are of several pairs it is a copy. Raises Overwritten if shared memory was overwritten before that.
    A source that the first pair has may be removed, and return.
    """
    cutter, seen = Cutter(n), False
    for pair in pairs:
        if source in pair or not seen:
            yield from cutter.add(pair[source])
        seen = True
    yield from cutter.rest()


class Cutter:
    """Cuts clips, one after the other, into batches of ``n`` frames."""

    def __init__(self, n: int) -> None:
        self._n = n
        self._begun: _Begun | None = None

    def add(self, clip: Clip) -> list[Clip]:
        """Return the batches that ``clip`` completes; what is left of it is copied."""
        found: list[Clip] = []
        for part in _parts(clip):
            if self._begun is not None and self._begun.shape != part.frames[0].shape:
                found += self.rest()
            found += self._cut(part)
        return found

    def rest(self) -> list[Clip]:
        """Return what is left as a batch of less than ``n`` frames, if there is any."""
        begun, self._begun = self._begun, None
        return [] if begun is None else [begun.clip()]

    def _cut(self, part: Clip) -> list[Clip]:
        found: list[Clip] = []
        if self._begun is not None:
            part = self._begun.fill(part)
            found += self.rest() if self._begun.full else []
        whole = len(part) // self._n * self._n
        found += [part[first : first + self._n] for first in range(0, whole, self._n)]
        if len(part) > whole:
            self._begun = _Begun(self._n, part)
            self._begun.fill(part[whole:])
        return found


class _Begun:
    """A batch of up to ``n`` frames like those of ``clip``, in memory of its own."""

    def __init__(self, n: int, clip: Clip) -> None:
        self.shape: Shape = clip.frames[0].shape
        self._clip = clip
        self._array = np.empty((n, *self.shape), np.uint8)
        self._frames: list[FrameHeader] = []

    @property
    def full(self) -> bool:
        """Whether no frame fits any more."""
        return len(self._frames) == len(self._array)

    def fill(self, clip: Clip) -> Clip:
        """Copy as many frames of ``clip`` as fit; return the others."""
        count = min(len(clip), len(self._array) - len(self._frames))
        np.copyto(self._array[len(self._frames) :][:count], clip[:count].array)
        if not clip.intact:
            raise Overwritten(
                f"frames of {clip.source} were overwritten before they were copied to a batch: be quicker, or"
                " use a longer --history"
            )
        self._frames += clip.frames[:count]
        self._clip = clip
        return clip[count:]

    def clip(self) -> Clip:
        """Return the frames that are in, read-only."""
        array = self._array[: len(self._frames)]
        array.flags.writeable = False
        newest, frames = self._clip, tuple(self._frames)
        spans = spans_of((frame.run, frame.seq) for frame in frames)
        pixels = FramePixels(newest.source, array)
        return Clip(
            newest.source, replace(newest.header, spans=spans), frames, newest.ready_ns, pixels
        )


def _parts(clip: Clip) -> Iterator[Clip]:
    """Yield ``clip`` in parts of one shape each."""
    first = 0
    for _, frames in groupby(clip.frames, key=lambda frame: frame.shape):
        count = len(list(frames))
        yield clip[first : first + count]
        first += count
