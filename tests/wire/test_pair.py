"""What the combiner announces: limits of what a pair holds, and rules that span several fields."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from framepair.protocol.wire import pair
from framepair.protocol.wire.header import MAX_INT
from framepair.protocol.wire.limits import MAX_SIDE, MAX_SOURCES
from framepair.protocol.wire.pair import (
    MAX_HEADER_BYTES,
    MAX_REASONS,
    MAX_SPAN_FRAMES,
    MAX_SPANS,
    ClipHeader,
    PairHeader,
    Progress,
    Span,
    StreamEnd,
    Totals,
    max_spans,
    spans_of,
)
from tests.lib.headers import CLIP, PAIR, STREAM_END, TOTALS
from tests.lib.malformed import edited, refuse


def test_a_clip_has_the_frames_of_its_spans() -> None:
    assert (CLIP.frames, ClipHeader().frames) == (25, 0)


def test_a_header_that_is_too_large_is_refused() -> None:
    refuse(pair.decode, edited(PAIR.encode(), ("filling",), bytes(MAX_HEADER_BYTES)))


@pytest.mark.parametrize("source", ["", "a.b", "x" * 65, "left\n", "ö"])
def test_the_names_of_sources(source: str) -> None:
    refuse(pair.decode, replace(PAIR, clips={source: CLIP}).encode())
    refuse(pair.decode, replace(STREAM_END, totals={source: TOTALS}).encode())


@pytest.mark.parametrize("value", [[], [["left", {}]], {"left": None}, {"left": 1}, {"left": []}])
@pytest.mark.parametrize(
    ("header", "name"), [(PAIR, "clips"), (STREAM_END, "totals")], ids=["pair", "end"]
)
def test_what_is_no_map_of_sources(
    header: PairHeader | StreamEnd, name: str, value: object
) -> None:
    refuse(pair.decode, edited(header.encode(), (name,), value))


def test_too_many_sources() -> None:
    most = {str(i): ClipHeader() for i in range(MAX_SOURCES)}
    assert pair.decode(replace(PAIR, clips=most).encode())
    refuse(pair.decode, replace(PAIR, clips={**most, "one-more": ClipHeader()}).encode())
    totals = dict.fromkeys([*most, "one-more"], Totals())
    refuse(pair.decode, replace(STREAM_END, totals=totals).encode())


@pytest.mark.parametrize("value", [{}, "spans", [1], [None], [[1, 0, 1]], [{}], [{"run": 1}]])
def test_what_is_no_list_of_spans(value: object) -> None:
    refuse(pair.decode, edited(PAIR.encode(), ("clips", "left", "spans"), value))


def test_too_many_spans() -> None:
    most = tuple(Span(i, 0, 1) for i in range(MAX_SPANS))
    assert pair.decode(replace(PAIR, clips={"left": ClipHeader(spans=most)}).encode())
    more = ClipHeader(spans=(*most, Span(0, 0, 1)))
    refuse(pair.decode, replace(PAIR, clips={"left": more}).encode())


@pytest.mark.parametrize("count", [0, MAX_SPAN_FRAMES + 1])
def test_how_many_frames_a_span_has(count: int) -> None:
    refuse(pair.decode, edited(PAIR.encode(), ("clips", "left", "spans", 0, "count"), count))


@pytest.mark.parametrize(
    "value",
    [
        {"x" * 65: 1}, {"x" * (i + 1): 1 for i in range(MAX_REASONS + 1)}, {"\x1b[31m": 1}, {"a b": 1},
        {"": 1}, [], {1: 1}, {"x": -1}, {"x": True}, {"x": 2**63}, {"x": {"x": 1}},
    ],
)  # fmt: skip
def test_reasons_that_are_too_many_or_no_words(value: object) -> None:
    refuse(pair.decode, edited(PAIR.encode(), ("clips", "left", "totals", "dropped"), value))
    refuse(pair.decode, edited(STREAM_END.encode(), ("totals", "left", "dropped"), value))


@pytest.mark.parametrize("end_ns", [1000, 999, 0])
def test_a_window_that_ends_before_it_begins(end_ns: int) -> None:
    refuse(pair.decode, edited(PAIR.encode(), ("end_ns",), end_ns))


def test_a_window_that_begins_at_the_end_of_time() -> None:
    data = edited(PAIR.encode(), ("start_ns",), MAX_INT)
    refuse(pair.decode, edited(data, ("end_ns",), MAX_INT))


@pytest.mark.parametrize("sources", [1, 2, 3, 16, 100, MAX_SOURCES])
def test_the_largest_headers_fit(sources: int) -> None:
    top = MAX_INT
    reasons = ["producer_dropped", "before_combiner", "combiner_overflow", "transport"]
    reasons += ["corrupt", "future", "startup", "fragmented"]
    progress = Progress(top, top, top, top)
    most = Totals(
        top, top, top, top, top, top, dict.fromkeys(reasons, top), top, top, top, progress, progress
    )
    pieces = (Span(top, top, MAX_SPAN_FRAMES),) * max_spans(sources)
    clip = ClipHeader(
        pieces, top, top, top, top, top, "not_started", top, top, most, True, False,
        top, top, top, "arrival", 29.97, MAX_SIDE, MAX_SIDE,
    )  # fmt: skip
    clips = {f"{i:064}": clip for i in range(sources)}
    header = replace(
        PAIR, run=top, seq=top, window=top, end_ns=top, closed_ns=top, clips=clips, previous=top
    )
    assert pair.decode(header.encode()) == header
    end = StreamEnd(top, top, "finished", dict.fromkeys(clips, most))
    assert pair.decode(end.encode()) == end


def test_consecutive_frames_of_a_run_are_one_span_as_long_as_it_may_be() -> None:
    frames = [(7, 3), (7, 4), (7, 6), (8, 7), (8, 8), (7, 9)]
    assert spans_of(frames) == (Span(7, 3, 2), Span(7, 6, 1), Span(8, 7, 2), Span(7, 9, 1))
    assert spans_of([]) == ()
    long = spans_of((7, seq) for seq in range(MAX_SPAN_FRAMES + 1))
    assert long == (Span(7, 0, MAX_SPAN_FRAMES), Span(7, MAX_SPAN_FRAMES, 1))
