"""Pair and Clip: what a consumer gets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from framepair.protocol.client import pace
from framepair.protocol.memory.ring import Pixels, Slot
from framepair.protocol.wire.frame import FrameHeader
from framepair.protocol.wire.pair import ClipHeader, Missing, PairHeader


class Overwritten(RuntimeError):  # noqa: N818 - it says what happened
    """The pixels were overwritten before they were copied: the next pair had been asked for already."""


@dataclass(frozen=True, eq=False, repr=False)
class Clip:
    """One source's frames in one window, in order of capture.

    ``frames`` are their headers, ``images`` their pixels, (height, width, channels) each. ``ready_ns`` is
    when the newest of them was in this process's memory (UTC; 0 if there is none). The pixels are views of
    slots that may be overwritten once the next pair was asked for: see ``intact`` and ``copy``.
    """

    source: str
    header: ClipHeader
    frames: tuple[FrameHeader, ...]
    images: list[Pixels]
    ready_ns: int
    _row: Pixels | None
    _slots: tuple[Slot, ...]

    @cached_property
    def array(self) -> Pixels:
        """All frames: (n, height, width, channels) uint8, read-only, no copy if they lie in a row in one ring.

        Raises ValueError if they differ in shape.
        """
        if self._row is not None:
            return self._row
        if len({image.shape for image in self.images}) > 1:
            raise ValueError(f"the frames of {self.source} differ in shape: use .images")
        stacked = np.stack(self.images)
        stacked.flags.writeable = False
        return stacked

    @cached_property
    def captured_ns(self) -> NDArray[np.int64]:
        """When the frames were captured: (n,), UTC by the combiner's clock, or media time with pace ``max``."""
        return np.array([frame.captured_ns for frame in self.frames], np.int64)

    @cached_property
    def seq(self) -> NDArray[np.int64]:
        """The producer's numbers of the frames: (n,)."""
        return np.array([frame.seq for frame in self.frames], np.int64)

    @property
    def missing(self) -> Missing | None:
        """Why the source doesn't cover the window, or part of it; None: it covers all of it."""
        return self.header.missing

    @property
    def expected(self) -> int:
        """How many frames the source's nominal rate gives for a window."""
        return self.header.expected

    @property
    def gaps(self) -> int:
        """How many frames of this window are missing."""
        return self.header.gaps

    @property
    def intact(self) -> bool:
        """Whether nothing has been overwritten; to be asked after the pixels were used."""
        return all(slot.intact for slot in self._slots)

    def copy(self) -> Clip:
        """Return this clip in memory of its own; raises Overwritten if it is too late for that."""
        row = None if self._row is None else self._row.copy()
        images = [image.copy() for image in self.images] if row is None else list(row)
        if not self.intact:
            raise Overwritten(f"frames of {self.source} were overwritten before they were copied")
        return replace(self, images=images, _row=row, _slots=())

    def __len__(self) -> int:
        return len(self.frames)

    def __repr__(self) -> str:
        return f"<Clip {self.source}: {len(self)} frames>"


@dataclass(frozen=True, eq=False, repr=False)
class Pair(Mapping[str, Clip]):
    """One clip per source for the window [start_ns, end_ns), by the source's name.

    Between the pair that this consumer got before it and this one, as far as is known, ``lost`` pairs were
    announced and did not get here, and ``skipped`` windows were never announced: no combiner was there, or no
    source was for long. Before its first pair only windows larger than its ``max_bytes`` are lost.

    ``ready_ns`` is when the whole pair was in this process's memory: UTC by the combiner's clock, give or take
    ``clock_uncertainty_ns`` (0: it is the same clock; None: it is another one's, and they were not compared).
    """

    header: PairHeader
    clips: Mapping[str, Clip]
    lost: int
    skipped: int
    ready_ns: int
    clock_uncertainty_ns: int | None = 0

    @property
    def index(self) -> int:
        """The number of the window since the epoch."""
        return self.header.window

    @property
    def start_ns(self) -> int:
        """When the window began."""
        return self.header.start_ns

    @property
    def end_ns(self) -> int:
        """When the window was over."""
        return self.header.end_ns

    @property
    def complete(self) -> bool:
        """Whether every frame that any source captured in the window is here."""
        return self.header.complete

    @property
    def partial(self) -> bool:
        """Whether the end of a stream cut the window short."""
        return self.header.partial

    @property
    def lag_ns(self) -> int:
        """Time from the capture of the newest frame until the pair was here; 0 without frames.

        Also 0 with pace ``max``, where frames are stamped in media time.
        """
        newest = self._newest
        if newest is None:
            return 0
        return pace.named(self.header.pace).lag_ns(newest.captured_ns, self.ready_ns)

    @property
    def lag_uncertainty_ns(self) -> int | None:
        """By how much ``lag_ns`` may be wrong because clocks of several machines are compared.

        0 on one machine, None if clocks were not compared: then it is as wrong as they are.
        """
        of_source = self._newest.uncertainty_ns if self._newest else 0
        if of_source is None or self.clock_uncertainty_ns is None:
            return None
        return of_source + self.clock_uncertainty_ns

    @property
    def intact(self) -> bool:
        """Whether nothing has been overwritten; to be asked after the pixels were used."""
        return all(clip.intact for clip in self.clips.values())

    def copy(self) -> Pair:
        """Return this pair in memory of its own; raises Overwritten if it is too late for that."""
        return replace(self, clips={source: clip.copy() for source, clip in self.clips.items()})

    @property
    def _newest(self) -> FrameHeader | None:
        """The frame that was captured last."""
        last = (clip.frames[-1] for clip in self.clips.values() if clip.frames)
        return max(last, key=lambda frame: frame.captured_ns, default=None)

    def __getitem__(self, source: str) -> Clip:
        return self.clips[source]

    def __iter__(self) -> Iterator[str]:
        return iter(self.clips)

    def __len__(self) -> int:
        return len(self.clips)

    def __repr__(self) -> str:
        return f"<Pair {self.index}: {', '.join(repr(clip) for clip in self.clips.values())}>"
