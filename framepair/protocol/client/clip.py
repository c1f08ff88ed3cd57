"""Pair and Clip: what a consumer gets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, overload

import numpy as np
from msgspec.structs import replace as replace_fields
from numpy.typing import DTypeLike, NDArray

from framepair.protocol.client import pace
from framepair.protocol.client.colours import in_bgr
from framepair.protocol.client.pixels import FramePixels
from framepair.protocol.client.single_frame import Frame
from framepair.protocol.memory.ring import Pixels
from framepair.protocol.wire.frame import FrameHeader, StampGrade
from framepair.protocol.wire.pair import ClipHeader, Missing, PairHeader, spans_of


@dataclass(frozen=True, eq=False, repr=False)
class Clip(Sequence[Frame]):
    """One source's frames in one window, in order of capture: a sequence of them, and an array.

    ``frames`` are their headers. ``ready_ns`` is when the newest of them was in this process's memory (UTC; 0
    if there is none). The pixels are views of memory that is used again once a later pair was taken: then
    ``array``, ``images`` and a frame's ``image`` raise Overwritten. See ``copy``.
    """

    source: str
    header: ClipHeader
    frames: tuple[FrameHeader, ...]
    ready_ns: int
    _pixels: FramePixels

    @property
    def array(self) -> Pixels:
        """All frames: (n, height, width, channels) uint8, read-only, no copy if they lie in a row in one ring.

        Raises ValueError if they differ in shape, Overwritten once a later pair was taken.
        """
        return self._pixels.array

    @property
    def images(self) -> list[Pixels]:
        """The same frames one by one, (height, width, channels) each; raises Overwritten likewise."""
        return self._pixels.images

    def bgr(self, index: int) -> Pixels:
        """Return frame ``index`` as (height, width, 3) in BGR: as it is, or converted, in memory of its own.

        Planes are converted with the matrix and the range that the frame's header names; a grey picture gets
        three equal channels. The first conversion loads FFmpeg, which takes a tenth of a second.
        """
        return in_bgr(self.images[index], self.frames[index])

    @cached_property
    def captured_ns(self) -> NDArray[np.int64]:
        """When the frames were captured: (n,), UTC by the combiner's clock, or media time with pace ``max``."""
        return np.array([frame.captured_ns for frame in self.frames], np.int64)

    @cached_property
    def seq(self) -> NDArray[np.int64]:
        """The producer's numbers of the frames: (n,)."""
        return np.array([frame.seq for frame in self.frames], np.int64)

    @cached_property
    def run(self) -> NDArray[np.int64]:
        """Of each frame, which life of its producer captured it: (n,)."""
        return np.array([frame.run for frame in self.frames], np.int64)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of ``array``; raises as that does."""
        return self.array.shape

    @property
    def fps(self) -> float:
        """The nominal rate of the newest frame, in frames a second; 0 without frames."""
        return self.frames[-1].fps if self.frames else 0.0

    @property
    def stamp(self) -> StampGrade | None:
        """How the capture time of the newest frame is known; None without frames, or if it is not said."""
        return self.frames[-1].stamp if self.frames else None

    @cached_property
    def uncertainty_ns(self) -> int | None:
        """Upper bound of the error of any capture time, by the combiner's clock; None: not known.

        The error of the stamp and that of the comparison of clocks, added up; 0 without frames.
        """
        return _greatest([frame.whole_uncertainty_ns for frame in self.frames])

    @property
    def missing(self) -> Missing | None:
        """Why the source doesn't cover the window, or part of it; None: it covers all of it."""
        return self.header.missing

    @property
    def expected(self) -> int:
        """How many frames the source's nominal rate gives for a window."""
        return self.header.expected

    @property
    def complete(self) -> bool | None:
        """Whether every frame that the source captured in the window is here; None: it is not said."""
        return self.header.complete

    @property
    def gaps(self) -> int:
        """How many frames of this window are missing."""
        return self.header.gaps

    @property
    def intact(self) -> bool:
        """Whether nothing has been overwritten; to be asked after the pixels were used."""
        return self._pixels.intact

    def copy(self) -> Clip:
        """Return this clip in writable memory of its own; raises Overwritten if it is too late for that.

        So do pickle and ``copy.deepcopy``.
        """
        return replace(self, _pixels=self._pixels.copy())

    def __len__(self) -> int:
        return len(self.frames)

    @overload
    def __getitem__(self, chosen: int) -> Frame: ...
    @overload
    def __getitem__(self, chosen: slice) -> Clip: ...
    def __getitem__(self, chosen: int | slice) -> Frame | Clip:
        """Return one frame, or a clip of the chosen ones; in the same memory, without a copy.

        Raises IndexError if there is no such frame: a clip is empty while its source is away.
        """
        if isinstance(chosen, slice):
            return self._select(chosen)
        try:
            index = range(len(self))[chosen]
        except IndexError:
            raise IndexError(self._lacks(chosen)) from None
        pixels = self._pixels.select(slice(index, index + 1))
        return Frame(self.frames[index], self.ready_ns, self._skipped(index), pixels)

    def _select(self, chosen: slice) -> Clip:
        frames = self.frames[chosen]
        spans = spans_of((frame.run, frame.seq) for frame in frames)
        header = replace_fields(self.header, spans=spans)
        return Clip(self.source, header, frames, self.ready_ns, self._pixels.select(chosen))

    def _lacks(self, index: int) -> str:
        """Return what to say of a frame that is not here."""
        if self.frames:
            return f"{self.source} has frames 0 to {len(self) - 1} here: there is no frame {index}"
        why = f" ({self.missing})" if self.missing else ""
        return f"{self.source} has no frames in this pair{why}: check len(clip) first"

    def _skipped(self, index: int) -> int:
        frame, former = self.frames[index], self.frames[max(0, index - 1)]
        return max(0, frame.seq - former.seq - 1) if frame.run == former.run else 0

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        # numpy before 2 knows no copy, and never gives one.
        return (
            np.asarray(self.array, dtype)
            if copy is None
            else np.array(self.array, dtype, copy=copy)
        )

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
    def uncertainty_ns(self) -> int | None:
        """Upper bound of the error of any capture time, by the combiner's clock; None: not known."""
        return _greatest([clip.uncertainty_ns for clip in self.clips.values()])

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
        """Return this pair in writable memory of its own; raises Overwritten if it is too late for that.

        So do pickle and ``copy.deepcopy``.
        """
        return replace(self, clips={source: clip.copy() for source, clip in self.clips.items()})

    @property
    def _newest(self) -> FrameHeader | None:
        """The frame that was captured last."""
        last = (clip.frames[-1] for clip in self.clips.values() if clip.frames)
        return max(last, key=lambda frame: frame.captured_ns, default=None)

    def __getitem__(self, source: str) -> Clip:
        try:
            return self.clips[source]
        except KeyError:
            raise KeyError(
                f"{source!r} is no source of this pair: there are {', '.join(self.clips)}"
            ) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self.clips)

    def __len__(self) -> int:
        return len(self.clips)

    def __repr__(self) -> str:
        return f"<Pair {self.index}: {', '.join(repr(clip) for clip in self.clips.values())}>"


def _greatest(known: list[int | None]) -> int | None:
    """Return the greatest of what is known, 0 of none; None if one is not known."""
    return (
        max((each for each in known if each is not None), default=0) if None not in known else None
    )
