"""What the combiner announces: a pair, and the end of the stream."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, field

from framepair.protocol.wire.frame import EndReason, Pace, StampGrade
from framepair.protocol.wire.header import (
    Count,
    Decoder,
    Header,
    Nanoseconds,
    ProtocolError,
    SourceName,
)
from framepair.protocol.wire.limits import MAX_FPS, MAX_SIDE, MAX_SOURCES, MIN_FPS

MAX_HEADER_BYTES: Final = 256 * 1024
MAX_SPANS: Final = 4096
MAX_SPAN_FRAMES: Final = 1_000_000
MAX_REASONS: Final = 32
# What a clip without spans, and each of its spans, takes in a header at most.
CLIP_BYTES: Final = 900
SPAN_BYTES: Final = 40

Missing = Literal["offline", "not_started", "ended", "slow"]
# One of wire.reasons, or of a later version's: it is printed.
Reason = Annotated[str, Meta(pattern=r"^[a-z_]{1,64}\Z")]


class Span(msgspec.Struct, frozen=True):
    """``count`` frames of one producer's ``run`` with consecutive ``seq``, from ``first`` on."""

    run: Count
    first: Count
    count: Annotated[int, Meta(ge=1, le=MAX_SPAN_FRAMES)]


def spans_of(frames: Iterable[tuple[int, int]]) -> tuple[Span, ...]:
    """Return the spans that name ``frames``, each of them (run, seq), in the order given."""
    spans: list[list[int]] = []
    for run, seq in frames:
        last = spans[-1] if spans else None
        if last and last[0] == run and last[1] + last[2] == seq and last[2] < MAX_SPAN_FRAMES:
            last[2] += 1
        else:
            spans.append([run, seq, 1])
    return tuple(Span(run, first, count) for run, first, count in spans)


class Progress(msgspec.Struct, frozen=True):
    """How far a producer's ``run`` had come: ``seq`` frames captured, ``dropped`` of them never sent.

    It had opened its source ``reopened`` times again.
    """

    run: Count
    seq: Count
    dropped: Count = 0
    reopened: Count = 0

    def __post_init__(self) -> None:
        if self.dropped > self.seq:
            raise ProtocolError("more frames were dropped than captured")


class Totals(msgspec.Struct, frozen=True):
    """What became of a source's frames, from the combiner's start until now.

    ``captured = paired + open + late + sum(dropped.values())`` always holds: ``paired`` frames are in
    announced pairs, ``open`` ones in windows still open. ``gaps`` counts holes in seq (they are in
    ``dropped`` under the reason that is known for each), ``rejected`` malformed messages. ``runs`` producers
    were heard of, ``restamped`` of which go on from the one before by another clock; they opened their source
    ``reopened`` times again. ``outage_ns`` is the longest time that the source was away. ``began`` is how far a
    producer had come when this combiner first heard of one, and ``reached`` how far the newest had at last: so
    that what two combiners counted can be added up.
    """

    captured: Count = 0
    paired: Count = 0
    open: Count = 0
    late: Count = 0
    gaps: Count = 0
    rejected: Count = 0
    dropped: Annotated[dict[Reason, Count], Meta(max_length=MAX_REASONS)] = field(
        default_factory=dict
    )
    runs: Count = 0
    reopened: Count = 0
    outage_ns: Nanoseconds = 0
    began: Progress | None = None
    reached: Progress | None = None
    restamped: Count = 0


class ClipHeader(msgspec.Struct, frozen=True):
    """One source's part of a pair.

    ``spans`` name the frames in order of capture; ``received_ns`` is when the combiner had the newest of
    them (0: none came). ``expected`` is the source's nominal rate times the window. ``gaps`` frames of this
    window are missing; ``late`` and ``dropped`` ones were counted since the previous pair. ``missing`` says
    why part of the window, or all of it, is not covered; None: all of it is. ``restamped``: in this window the
    source's stamps went over to another clock, so that frames of before and after may overlap. ``delay_ns`` is
    how long the source's frames took from capture to the combiner of late (99.9 % of them no longer), and
    ``pause_ns`` the longest time between two arrivals (0: not known, as with pace ``max``). ``complete``: the
    clip has every frame that the source captured in the window (None: not said, see the pair's).
    The rest is for consumers without frames. Of the clip's newest frame: when it was captured and when its
    producer sent it, how its stamp is known, its nominal rate, and the size of its picture (0: no frame, or not
    said). ``uncertainty_ns`` is by how much any capture time of the clip may be wrong (None: not known).
    """

    spans: Annotated[tuple[Span, ...], Meta(max_length=MAX_SPANS)] = ()
    received_ns: Nanoseconds = 0
    expected: Count = 0
    gaps: Count = 0
    late: Count = 0
    dropped: Count = 0
    missing: Missing | None = None
    delay_ns: Nanoseconds = 0
    pause_ns: Nanoseconds = 0
    totals: Totals = field(default_factory=Totals)
    restamped: bool = False
    complete: bool | None = None
    newest_ns: Nanoseconds = 0
    sent_ns: Nanoseconds = 0
    uncertainty_ns: Nanoseconds | None = None
    stamp: StampGrade | None = None
    fps: Annotated[float, Meta(ge=MIN_FPS, le=MAX_FPS)] | None = None
    width: Annotated[int, Meta(ge=0, le=MAX_SIDE)] = 0
    height: Annotated[int, Meta(ge=0, le=MAX_SIDE)] = 0

    @property
    def frames(self) -> int:
        """How many frames the clip has."""
        return sum(span.count for span in self.spans)


class PairHeader(Header, frozen=True, tag="pair"):
    """The announcement of a pair: ``window`` [start_ns, end_ns), closed at ``closed_ns``.

    ``run`` is new at each start of the combiner and ``seq`` counts its pairs from 0; ``previous`` is the window
    that it announced before this one (None: this is its first). ``complete`` means that the pair has every
    frame that every source captured in the window; ``partial`` that the end of a stream cut it short.
    """

    run: Count
    seq: Count
    window: Count
    start_ns: Nanoseconds
    end_ns: Nanoseconds
    closed_ns: Nanoseconds
    complete: bool
    partial: bool
    pace: Pace
    clips: Annotated[dict[SourceName, ClipHeader], Meta(max_length=MAX_SOURCES)]
    previous: Count | None = None

    def __post_init__(self) -> None:
        if self.end_ns <= self.start_ns:
            raise ProtocolError("the window ends before it starts")


class StreamEnd(Header, frozen=True, tag="end"):
    """The combiner's last word: ``seq`` pairs were announced; ``finished`` for good or ``stopped`` for now."""

    run: Count
    seq: Count
    reason: EndReason
    totals: Annotated[dict[SourceName, Totals], Meta(max_length=MAX_SOURCES)]


_DECODER: Decoder[PairHeader | StreamEnd] = Decoder(PairHeader | StreamEnd, MAX_HEADER_BYTES)


def decode(data: bytes | memoryview) -> PairHeader | StreamEnd:
    """Return what the combiner's header says; raises ProtocolError if a field is missing or out of limits."""
    return _DECODER.decode(data)


def max_spans(sources: int) -> int:
    """Return how many spans a clip may have, so that a pair of so many ``sources`` fits into a header."""
    span_bytes = MAX_HEADER_BYTES // max(1, sources) - CLIP_BYTES
    return max(1, min(MAX_SPANS, span_bytes // SPAN_BYTES))
