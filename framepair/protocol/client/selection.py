"""What a subscription asks for of all that a combiner publishes: sources, every nth frame, a smaller size."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from msgspec.structs import replace as replace_fields

from framepair.protocol.client.scaling import scaled_shape
from framepair.protocol.wire import published
from framepair.protocol.wire.frame import FrameHeader
from framepair.protocol.wire.header import ProtocolError
from framepair.protocol.wire.limits import MAX_SIDE, source_name
from framepair.protocol.wire.pair import MAX_SPAN_FRAMES, ClipHeader, PairHeader, Span, StreamEnd


class UnknownSource(ValueError):  # noqa: N818 - it says what there is
    """A source was asked for that the combiner does not have."""


@dataclass(frozen=True, slots=True)
class Selection:
    """The part of a stream that a subscription receives and keeps.

    ``sources`` None is all of them, none is pairs without frames. Of each source the frames whose seq is a
    multiple of ``every`` are kept, scaled to ``size``, (width, height), if that is not None. Without ``decode``
    compressed frames are kept as they travel. Without ``pairs`` they are not announced, but sent at once.
    Raises ValueError if one of these is out of its limits.
    """

    sources: tuple[str, ...] | None = None
    every: int = 1
    size: tuple[int, int] | None = None
    decode: bool = True
    pairs: bool = True

    def __post_init__(self) -> None:
        if not self.has_pixels and not self.pairs:
            raise ValueError("sources=[] and pairs=False: nothing is left to receive")
        if self.every < 1:
            raise ValueError(f"every is {self.every}: it is 1 for all frames, 5 for each fifth")
        if self.size is not None and not self.decode:
            raise ValueError("size scales decoded frames: leave out decode=False")

    @property
    def has_pixels(self) -> bool:
        """Whether any frames are received."""
        return self.sources is None or bool(self.sources)

    def topics(self) -> list[bytes]:
        """Return what is subscribed to; pairs last, so that the rest is there when the combiner sees them."""
        if self.sources is None:
            frames = [published.FRAMES]
        else:
            frames = [published.frame_topic(source) for source in self.sources]
        return [*frames, published.END, published.PAIR if self.pairs else published.NEWEST]

    def check(self, header: PairHeader) -> None:
        """Raise UnknownSource if a source was asked for that is not in a pair."""
        unknown = [source for source in self.sources or () if source not in header.clips]
        if unknown:
            raise UnknownSource(
                f"no source {', '.join(unknown)}: there are {', '.join(header.clips)}"
            )

    def of_pair(self, header: PairHeader) -> PairHeader:
        """Return the header of the pair of the chosen sources; their clips are as announced.

        Raises ProtocolError if a clip has more frames than can be.
        """
        # Where no frames are compared with, a number of the wire must not decide how much is done.
        listed = self.every > 1 or not self.has_pixels
        if listed and any(clip.frames > MAX_SPAN_FRAMES for clip in header.clips.values()):
            raise ProtocolError(f"a clip of more than {MAX_SPAN_FRAMES} frames")
        if not self.sources:
            return header
        clips = {source: clip for source, clip in header.clips.items() if source in self.sources}
        # One that was asked for may have been removed.
        complete = len(clips) == len(self.sources) and all(
            _is_complete(clip, header) for clip in clips.values()
        )
        return replace_fields(header, clips=clips, complete=complete)

    def of_end(self, end: StreamEnd) -> StreamEnd:
        """Return the combiner's last word on the chosen sources."""
        if not self.sources:
            return end
        totals = {name: totals for name, totals in end.totals.items() if name in self.sources}
        return replace_fields(end, totals=totals)

    def of_clip(self, header: ClipHeader) -> ClipHeader:
        """Return the header of a clip with the frames of it that are kept."""
        if self.every == 1:
            return header
        spans = tuple(kept for span in header.spans for kept in self._of_span(span))
        return replace_fields(
            header,
            spans=spans,
            expected=math.ceil(header.expected / self.every),
            fps=header.fps and header.fps / self.every,
        )

    def keeps(self, header: FrameHeader) -> bool:
        """Return whether a frame is kept."""
        return header.seq % self.every == 0

    def reduced(self, header: FrameHeader) -> FrameHeader:
        """Return the header of a frame as it is kept: its size, and its source's rate.

        Raises ProtocolError if it has no such size.
        """
        if self.every == 1 and self.size is None:
            return header
        shape = header.shape
        if self.size is not None:
            shape = scaled_shape(shape, header.encoding, self.size)
        return replace_fields(header, shape=shape, fps=header.fps / self.every)

    def _of_span(self, span: Span) -> Iterable[Span]:
        first = -(-span.first // self.every) * self.every
        return (Span(span.run, seq, 1) for seq in range(first, span.first + span.count, self.every))


EVERYTHING: Final = Selection()


def select(
    sources: Iterable[str] | None,
    every: int = 1,
    size: tuple[int, int] | None = None,
    decode: bool = True,
    pairs: bool = True,
) -> Selection:
    """Return what a program asked for; raises ValueError, or TypeError, and says what can be asked for."""
    if isinstance(sources, str):
        raise TypeError(f"sources is {sources!r}: it is a list of names, such as [{sources!r}]")
    if isinstance(every, bool) or not isinstance(every, int):
        raise TypeError(f"every is {every!r}: it is a whole number, such as 5 for each fifth frame")
    names = None if sources is None else tuple(dict.fromkeys(_name(source) for source in sources))
    sides = None if size is None else _size(size)
    if not pairs and sides is None:
        # Few of them may ever be looked at.
        decode = False
    return Selection(names, every, sides, decode, pairs)


def _name(source: str) -> str:
    try:
        return source_name(source)
    except ProtocolError as error:
        raise ValueError(f"sources has {source!r}: {error}") from None


def _size(size: tuple[int, int]) -> tuple[int, int]:
    sides = tuple(size)
    if len(sides) != 2 or not all(type(side) is int and 1 <= side <= MAX_SIDE for side in sides):
        raise ValueError(f"size is {size!r}: it is (width, height), each from 1 to {MAX_SIDE}")
    return sides


def _is_complete(clip: ClipHeader, pair: PairHeader) -> bool:
    return pair.complete if clip.complete is None else clip.complete
