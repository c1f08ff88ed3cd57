"""Headers of pairs and of the end of a stream: what goes in comes out, and nothing malformed gets through."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framepair.protocol.wire import pair
from framepair.protocol.wire.frame import EndReason, Pace
from framepair.protocol.wire.header import MAX_INT
from framepair.protocol.wire.pair import (
    MAX_HEADER_BYTES,
    MAX_SOURCES,
    MAX_SPAN_FRAMES,
    MAX_SPANS,
    PLAIN_TOTALS,
    ClipHeader,
    Missing,
    PairHeader,
    Progress,
    Span,
    StreamEnd,
    Totals,
    max_spans,
)
from tests.lib.malformed import (
    LEFT_OUT,
    NO_HEADERS,
    NOT_INTEGERS,
    NOT_WORDS,
    anything,
    edited,
    integers,
    moderate,
    mutated,
    names,
    packed,
    refuse,
    survives,
    unpacked,
)

TOTALS = Totals(
    captured=60, paired=50, open=5, late=1, gaps=4, rejected=2, dropped={"transport": 4},
    runs=2, reopened=3, outage_ns=10**9, began=Progress(7, 9), reached=Progress(8, 40, 2, 1),
)  # fmt: skip
CLIP = ClipHeader(
    spans=(Span(1, 10, 20), Span(2, 0, 5)),
    received_ns=1500,
    expected=25,
    gaps=1,
    late=1,
    dropped=1,
    missing="offline",
    totals=TOTALS,
)
PAIR = PairHeader(
    run=3,
    seq=4,
    pair=10,
    start_ns=1000,
    end_ns=1100,
    closed_ns=1105,
    complete=False,
    partial=True,
    pace="realtime",
    clips={"left": CLIP, "right": ClipHeader()},
)
END = StreamEnd(run=3, seq=5, reason="stopped", totals={"left": TOTALS, "right": Totals()})
CLIP_INTEGERS = [
    f"clips.left.{name}" for name in ("received_ns", "expected", "gaps", "late", "dropped")
]
TOTAL_NAMES = [*PLAIN_TOTALS]
PROGRESS = [f"reached.{name}" for name in ("run", "seq", "dropped", "reopened")]
TOTAL_INTEGERS = [f"totals.{name}" for name in (*TOTAL_NAMES, "dropped.transport", *PROGRESS)]
SPAN_INTEGERS = [f"clips.left.spans.1.{name}" for name in ("run", "first", "count")]
PAIR_INTEGERS = ["run", "seq", "pair", "start_ns", "end_ns", "closed_ns"]

progress = st.none() | st.builds(Progress, integers, st.just(MAX_INT), integers, integers)
totals = st.builds(
    Totals,
    *[integers] * 6,
    st.dictionaries(st.text(max_size=64), integers, max_size=4),
    *[integers] * 3,
    progress,
    progress,
)
spans = st.builds(Span, integers, integers, st.integers(1, MAX_SPAN_FRAMES))
clips = st.builds(
    ClipHeader,
    st.lists(spans, max_size=5).map(tuple),
    *[integers] * 5,
    st.none() | st.sampled_from(get_args(Missing)),
    totals,
)
ends = st.builds(
    StreamEnd,
    integers,
    integers,
    st.sampled_from(get_args(EndReason)),
    st.dictionaries(names, totals, max_size=4),
)


@st.composite
def pairs(draw: st.DrawFn) -> PairHeader:
    start_ns = draw(st.integers(0, MAX_INT - 1))
    return PairHeader(
        run=draw(integers),
        seq=draw(integers),
        pair=draw(integers),
        start_ns=start_ns,
        end_ns=draw(st.integers(start_ns + 1, MAX_INT)),
        closed_ns=draw(integers),
        complete=draw(st.booleans()),
        partial=draw(st.booleans()),
        pace=draw(st.sampled_from(get_args(Pace))),
        clips=draw(st.dictionaries(names, clips, max_size=4)),
    )


@moderate
@given(pairs() | ends)
def test_a_header_comes_out_as_it_went_in(header: PairHeader | StreamEnd) -> None:
    data = header.encode()
    assert pair.decode(data) == header
    assert pair.decode(memoryview(data)) == header


def test_a_clip_has_the_frames_of_its_spans() -> None:
    assert (CLIP.frames, ClipHeader().frames) == (25, 0)


@pytest.mark.parametrize("header", [PAIR, END])
def test_fields_of_a_later_version_are_no_harm(header: PairHeader | StreamEnd) -> None:
    assert pair.decode(edited(header.encode(), "later", [{"x": 1}])) == header


@pytest.mark.parametrize(
    "path", ["clips.left.later", "clips.left.spans.0.later", "clips.left.totals.later"]
)
def test_fields_of_a_later_version_are_no_harm_inside_either(path: str) -> None:
    assert pair.decode(edited(PAIR.encode(), path, {"x": 1})) == PAIR


@pytest.mark.parametrize("name", NO_HEADERS)
def test_what_is_no_header_is_refused(name: str) -> None:
    refuse(pair.decode, NO_HEADERS[name])


def test_a_header_that_is_too_large_is_refused() -> None:
    refuse(pair.decode, edited(PAIR.encode(), "filling", bytes(MAX_HEADER_BYTES)))


@pytest.mark.parametrize("version", [0, 2, None, True, "1"])
def test_an_unknown_version_is_refused(version: object) -> None:
    refuse(pair.decode, edited(PAIR.encode(), "v", version))


@pytest.mark.parametrize("kind", ["frame", "Pair", "", None, 1])
def test_an_unknown_kind_is_refused(kind: object) -> None:
    refuse(pair.decode, edited(PAIR.encode(), "kind", kind))


@pytest.mark.parametrize(
    "path",
    [
        *unpacked(PAIR.encode()),
        *CLIP_INTEGERS,
        "clips.left.spans",
        "clips.left.totals",
        *[f"clips.left.totals.{name}" for name in (*TOTAL_NAMES, "dropped")],
        *SPAN_INTEGERS,
    ],
)
def test_a_pair_needs_each_of_its_fields(path: str) -> None:
    refuse(pair.decode, edited(PAIR.encode(), path, LEFT_OUT))


@pytest.mark.parametrize(
    "path",
    [*unpacked(END.encode()), *[f"totals.left.{name}" for name in (*TOTAL_NAMES, "dropped")]],
)
def test_an_end_needs_each_of_its_fields(path: str) -> None:
    refuse(pair.decode, edited(END.encode(), path, LEFT_OUT))


@pytest.mark.parametrize("value", [*NOT_INTEGERS, None], ids=repr)
@pytest.mark.parametrize("path", [*PAIR_INTEGERS, *CLIP_INTEGERS, *SPAN_INTEGERS])
def test_whole_numbers_of_a_pair(path: str, value: object) -> None:
    refuse(pair.decode, edited(PAIR.encode(), path, value))


@pytest.mark.parametrize("value", [*NOT_INTEGERS, None], ids=repr)
@pytest.mark.parametrize("path", TOTAL_INTEGERS)
def test_whole_numbers_of_totals(path: str, value: object) -> None:
    refuse(pair.decode, edited(PAIR.encode(), f"clips.left.{path}", value))
    refuse(pair.decode, edited(END.encode(), path.replace("totals", "totals.left"), value))


@pytest.mark.parametrize("value", NOT_WORDS, ids=lambda value: repr(value)[:20])
@pytest.mark.parametrize("path", ["pace", "clips.left.missing"])
def test_words_of_a_pair(path: str, value: object) -> None:
    refuse(pair.decode, edited(PAIR.encode(), path, value))


@pytest.mark.parametrize("value", [*NOT_WORDS, None], ids=lambda value: repr(value)[:20])
def test_the_reason_of_an_end(value: object) -> None:
    refuse(pair.decode, edited(END.encode(), "reason", value))


@pytest.mark.parametrize("value", [None, 0, 1, "true", []])
@pytest.mark.parametrize("name", ["complete", "partial"])
def test_truth_values_of_a_pair(name: str, value: object) -> None:
    refuse(pair.decode, edited(PAIR.encode(), name, value))


@pytest.mark.parametrize(
    "value", [None, [], "left", 1, {1: {}}, {b"left": {}}, {"left": []}, {"left": None}]
)
@pytest.mark.parametrize(("header", "name"), [(PAIR, "clips"), (END, "totals")])
def test_what_is_no_map_of_sources(
    header: PairHeader | StreamEnd, name: str, value: object
) -> None:
    refuse(pair.decode, edited(header.encode(), name, value))


@pytest.mark.parametrize("source", ["", "a.b", "x" * 65, "left\n", "ö"])
def test_the_names_of_sources(source: str) -> None:
    refuse(pair.decode, replace(PAIR, clips={source: CLIP}).encode())
    refuse(pair.decode, replace(END, totals={source: TOTALS}).encode())


def test_too_many_sources() -> None:
    most = {str(i): ClipHeader() for i in range(MAX_SOURCES)}
    assert pair.decode(replace(PAIR, clips=most).encode())
    refuse(pair.decode, replace(PAIR, clips={**most, "one-more": ClipHeader()}).encode())
    refuse(pair.decode, replace(END, totals=dict.fromkeys([*most, "one-more"], Totals())).encode())


@pytest.mark.parametrize(
    "value", [None, {}, "spans", 1, [1], [None], [[1, 0, 1]], [{}], [{"run": 1}]]
)
def test_what_is_no_list_of_spans(value: object) -> None:
    refuse(pair.decode, edited(PAIR.encode(), "clips.left.spans", value))


def test_too_many_spans() -> None:
    most = tuple(Span(i, 0, 1) for i in range(MAX_SPANS))
    clip = ClipHeader(spans=most)
    assert pair.decode(replace(PAIR, clips={"left": clip}).encode())
    more = ClipHeader(spans=(*most, Span(0, 0, 1)))
    refuse(pair.decode, replace(PAIR, clips={"left": more}).encode())


@pytest.mark.parametrize("count", [0, MAX_SPAN_FRAMES + 1])
def test_how_many_frames_a_span_has(count: int) -> None:
    refuse(pair.decode, edited(PAIR.encode(), "clips.left.spans.0.count", count))


@pytest.mark.parametrize("value", [{"x" * 65: 1}, {str(i): 1 for i in range(33)}, [], None, {1: 1}])
def test_reasons_that_are_too_many_or_too_long(value: object) -> None:
    refuse(pair.decode, edited(PAIR.encode(), "clips.left.totals.dropped", value))
    refuse(pair.decode, edited(END.encode(), "totals.left.dropped", value))


@pytest.mark.parametrize("end_ns", [1000, 999, 0])
def test_a_window_that_ends_before_it_begins(end_ns: int) -> None:
    refuse(pair.decode, edited(PAIR.encode(), "end_ns", end_ns))


def test_a_window_that_begins_at_the_end_of_time() -> None:
    data = edited(PAIR.encode(), "start_ns", MAX_INT)
    refuse(pair.decode, edited(data, "end_ns", MAX_INT))


@pytest.mark.parametrize("sources", [1, 2, 3, 16, 100, MAX_SOURCES])
def test_the_largest_headers_fit(sources: int) -> None:
    top = MAX_INT
    reasons = ["producer_backpressure", "before_combiner", "combiner_overflow", "transport"]
    reasons += ["corrupt", "future", "startup", "fragmented"]
    progress = Progress(top, top, top, top)
    most = Totals(
        top, top, top, top, top, top, dict.fromkeys(reasons, top), top, top, top, progress, progress
    )
    pieces = (Span(top, top, MAX_SPAN_FRAMES),) * max_spans(sources)
    clip = ClipHeader(pieces, top, top, top, top, top, "not_started", most)
    clips = {f"{i:064}": clip for i in range(sources)}
    header = replace(PAIR, run=top, seq=top, pair=top, end_ns=top, closed_ns=top, clips=clips)
    assert pair.decode(header.encode()) == header
    end = StreamEnd(top, top, "finished", dict.fromkeys(clips, most))
    assert pair.decode(end.encode()) == end


@moderate
@given(
    st.sampled_from(
        ["clips", "clips.left", "clips.left.spans", "clips.left.totals", "pair", "seq"]
    ),
    anything,
)
def test_only_protocol_errors_come_out_of_a_field_that_is_anything(
    path: str, value: object
) -> None:
    survives(pair.decode, edited(PAIR.encode(), path, value))
    survives(pair.decode, packed({"v": 1, "kind": "pair", path: value}))
    survives(pair.decode, packed({"v": 1, "kind": "end", path: value, "totals": value}))


def test_only_protocol_errors_come_out_of_damaged_headers() -> None:
    chance = random.Random(1)
    for _ in range(3000):
        survives(pair.decode, mutated(PAIR.encode(), chance))
        survives(pair.decode, mutated(END.encode(), chance))
