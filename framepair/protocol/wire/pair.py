"""The header of a pair and the end of a stream, as the combiner publishes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from framepair.protocol.wire import header
from framepair.protocol.wire.frame import END_REASONS, PACES, EndReason, Pace
from framepair.protocol.wire.header import MAX_INT, Fields, ProtocolError

MAX_HEADER_BYTES = 256 * 1024
MAX_SOURCES = 256
MAX_SPANS = 4096
MAX_SPAN_FRAMES = 1_000_000
# What a clip without spans, and each of its spans, takes in a header at most.
CLIP_BYTES = 800
SPAN_BYTES = 40
# Of Totals, all that are plain numbers.
PLAIN_TOTALS = (
    "captured", "paired", "open", "late", "gaps", "rejected", "runs", "reopened", "outage_ns",
)  # fmt: skip
MISSING = frozenset({"offline", "not_started", "ended", "slow"})

Missing = Literal["offline", "not_started", "ended", "slow"]


@dataclass(frozen=True, slots=True)
class Span:
    """``count`` frames of one producer's ``run`` with consecutive ``seq``, from ``first`` on."""

    run: int
    first: int
    count: int


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a producer's ``run`` had come: ``seq`` frames captured, ``dropped`` of them never sent.

    It had opened its source ``reopened`` times again.
    """

    run: int
    seq: int
    dropped: int = 0
    reopened: int = 0


@dataclass(frozen=True, slots=True)
class Totals:
    """What became of a source's frames, from the combiner's start until now.

    ``captured = paired + open + late + sum(dropped.values())`` always holds: ``paired`` frames are in
    announced pairs, ``open`` ones in windows still open. ``gaps`` counts holes in seq (they are in
    ``dropped`` under the reason that is known for each), ``rejected`` malformed messages. ``runs`` producers
    were heard of, which opened their source ``reopened`` times again; ``outage_ns`` is the longest time that
    the source was away. ``began`` is how far a producer had come when this combiner first heard of one, and
    ``reached`` how far the newest had at last: so that what two combiners counted can be added up.
    """

    captured: int = 0
    paired: int = 0
    open: int = 0
    late: int = 0
    gaps: int = 0
    rejected: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)
    runs: int = 0
    reopened: int = 0
    outage_ns: int = 0
    began: Progress | None = None
    reached: Progress | None = None


@dataclass(frozen=True, slots=True)
class ClipHeader:
    """One source's part of a pair.

    ``spans`` name the frames in order of capture; ``received_ns`` is when the combiner had the newest of
    them (0: none came). ``expected`` is the source's nominal rate times the window. ``gaps`` frames of this
    window are missing; ``late`` and ``dropped`` ones were counted since the previous pair. ``missing`` says
    why part of the window, or all of it, is not covered; None: all of it is.
    """

    spans: tuple[Span, ...] = ()
    received_ns: int = 0
    expected: int = 0
    gaps: int = 0
    late: int = 0
    dropped: int = 0
    missing: Missing | None = None
    totals: Totals = field(default_factory=Totals)

    @property
    def frames(self) -> int:
        """How many frames the clip has."""
        return sum(span.count for span in self.spans)


@dataclass(frozen=True, slots=True)
class PairHeader:
    """The announcement of a pair: window ``pair`` is [start_ns, end_ns), closed at ``closed_ns``.

    ``run`` is new at each start of the combiner and ``seq`` counts its pairs from 0. ``complete`` means that
    the pair has every frame that every source captured in the window; ``partial`` that the end of a stream
    cut the window short.
    """

    run: int
    seq: int
    pair: int
    start_ns: int
    end_ns: int
    closed_ns: int
    complete: bool
    partial: bool
    pace: Pace
    clips: Mapping[str, ClipHeader]

    def encode(self) -> bytes:
        """Return the header as it travels."""
        return header.pack({"kind": "pair", **header.fields_of(self)})


@dataclass(frozen=True, slots=True)
class StreamEnd:
    """The combiner's last word: ``seq`` pairs were announced; ``finished`` for good or ``stopped`` for now."""

    run: int
    seq: int
    reason: EndReason
    totals: Mapping[str, Totals]

    def encode(self) -> bytes:
        """Return the header as it travels."""
        return header.pack({"kind": "end", **header.fields_of(self)})


def max_spans(sources: int) -> int:
    """Return how many spans a clip may have, so that a pair of so many ``sources`` fits into a header."""
    span_bytes = MAX_HEADER_BYTES // max(1, sources) - CLIP_BYTES
    return max(1, min(MAX_SPANS, span_bytes // SPAN_BYTES))


def decode(data: bytes | memoryview) -> PairHeader | StreamEnd:
    """Return what the combiner's header says; raises ProtocolError if any field is missing or out of bounds."""
    fields = header.unpack(data, MAX_HEADER_BYTES)
    if header.choice(fields, "kind", ("pair", "end")) == "end":
        return _decode_end(fields)
    return _decode_pair(fields)


def _decode_end(fields: Fields) -> StreamEnd:
    return StreamEnd(
        run=header.integer(fields, "run", 0, MAX_INT),
        seq=header.integer(fields, "seq", 0, MAX_INT),
        reason=cast(EndReason, header.choice(fields, "reason", END_REASONS)),
        totals={name: _decode_totals(value) for name, value in _sources(fields, "totals")},
    )


def _decode_pair(fields: Fields) -> PairHeader:
    start_ns = header.integer(fields, "start_ns", 0, MAX_INT)
    return PairHeader(
        run=header.integer(fields, "run", 0, MAX_INT),
        seq=header.integer(fields, "seq", 0, MAX_INT),
        pair=header.integer(fields, "pair", 0, MAX_INT),
        start_ns=start_ns,
        end_ns=header.integer(fields, "end_ns", start_ns + 1, MAX_INT),
        closed_ns=header.integer(fields, "closed_ns", 0, MAX_INT),
        complete=header.boolean(fields, "complete"),
        partial=header.boolean(fields, "partial"),
        pace=cast(Pace, header.choice(fields, "pace", PACES)),
        clips={name: _decode_clip(value) for name, value in _sources(fields, "clips")},
    )


def _sources(fields: Fields, name: str) -> list[tuple[str, Fields]]:
    values = header.submap(fields, name)
    if len(values) > MAX_SOURCES:
        raise ProtocolError(f"{name} has more than {MAX_SOURCES} sources")
    return [(header.source_name(source), header.submap(values, source)) for source in values]


def _decode_clip(fields: Fields) -> ClipHeader:
    missing = None if fields.get("missing") is None else header.choice(fields, "missing", MISSING)
    return ClipHeader(
        spans=_decode_spans(fields.get("spans")),
        received_ns=header.integer(fields, "received_ns", 0, MAX_INT),
        expected=header.integer(fields, "expected", 0, MAX_INT),
        gaps=header.integer(fields, "gaps", 0, MAX_INT),
        late=header.integer(fields, "late", 0, MAX_INT),
        dropped=header.integer(fields, "dropped", 0, MAX_INT),
        missing=cast(Missing | None, missing),
        totals=_decode_totals(header.submap(fields, "totals")),
    )


def _decode_spans(values: Any) -> tuple[Span, ...]:
    if not isinstance(values, list) or len(values) > MAX_SPANS:
        raise ProtocolError("spans is not a list, or too long")
    return tuple(_decode_span(value) for value in values)


def _decode_span(value: object) -> Span:
    if not isinstance(value, dict):
        raise ProtocolError("a span is not a map")
    return Span(
        run=header.integer(value, "run", 0, MAX_INT),
        first=header.integer(value, "first", 0, MAX_INT),
        count=header.integer(value, "count", 1, MAX_SPAN_FRAMES),
    )


def _decode_totals(fields: Fields) -> Totals:
    values = {name: header.integer(fields, name, 0, MAX_INT) for name in PLAIN_TOTALS}
    return Totals(
        **values,
        dropped=header.counts(fields, "dropped"),
        began=_decode_progress(fields, "began"),
        reached=_decode_progress(fields, "reached"),
    )


def _decode_progress(fields: Fields, name: str) -> Progress | None:
    if fields.get(name) is None:
        return None
    progress = header.submap(fields, name)
    seq = header.integer(progress, "seq", 0, MAX_INT)
    return Progress(
        run=header.integer(progress, "run", 0, MAX_INT),
        seq=seq,
        dropped=header.integer(progress, "dropped", 0, seq),
        reopened=header.integer(progress, "reopened", 0, MAX_INT),
    )
