"""Headers of frames and ends: what goes in comes out, and nothing malformed gets through."""

from __future__ import annotations

import random
from dataclasses import asdict, replace
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framepair.protocol.wire import frame
from framepair.protocol.wire.frame import (
    CHANNELS,
    MAX_HEADER_BYTES,
    MAX_SIDE,
    EndReason,
    FrameHeader,
    Location,
    Pace,
    SourceEnd,
)
from framepair.protocol.wire.header import MAX_INT
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

FRAME = FrameHeader("left", 1, 10, 1000, 2000, 1001, (1080, 1920, 3), dropped=3, total=50)
ACCEPTED = FRAME.accepted(pair=7, window_ns=100, received_ns=1500)
END = SourceEnd("left", run=1, seq=10, dropped=3, sent_ns=1001, reason="finished")
INTEGERS = ["run", "seq", "captured_ns", "next_ns", "sent_ns", "dropped", "total"]
OPTIONAL = ["pair", "window_ns", "received_ns"]
# Of a JPEG file, or of another machine; those have tests of their own.
ELSEWHERE = ["jpeg_bytes", "offset_ns", "uncertainty_ns"]
SHARED = replace(FRAME, payload="shm", location=Location("ring-1", slot=0, generation=1))
CHOICES = ["kind", "encoding", "dtype", "payload", "pace"]


@st.composite
def frames(draw: st.DrawFn) -> FrameHeader:
    seq, captured_ns = draw(integers), draw(integers)
    location = draw(st.none() | st.builds(Location, names, integers, st.integers(1, MAX_INT)))
    encoding = draw(st.sampled_from(sorted(CHANNELS)))
    sides = st.integers(1, MAX_SIDE)
    return FrameHeader(
        source=draw(names),
        run=draw(integers),
        seq=seq,
        captured_ns=captured_ns,
        next_ns=draw(st.integers(captured_ns, MAX_INT)),
        sent_ns=draw(integers),
        shape=(draw(sides), draw(sides), CHANNELS[encoding]),
        encoding=encoding,
        payload="shm" if location else "raw",
        location=location,
        fps=draw(st.floats(1e-3, 1e4)),
        dropped=draw(st.integers(0, seq)),
        pace=draw(st.sampled_from(get_args(Pace))),
        total=draw(integers),
        pair=draw(st.none() | integers),
        window_ns=draw(st.none() | st.integers(1, MAX_INT)),
        received_ns=draw(st.none() | integers),
    )


ends = st.builds(
    SourceEnd, names, integers, integers, integers, integers, st.sampled_from(get_args(EndReason))
)


@moderate
@given(frames() | ends)
def test_a_header_comes_out_as_it_went_in(header: FrameHeader | SourceEnd) -> None:
    data = header.encode()
    assert len(data) <= MAX_HEADER_BYTES
    assert frame.decode(data) == header
    assert frame.decode(memoryview(data)) == header


@moderate
@given(frames(), integers, st.integers(1, MAX_INT), integers)
def test_an_accepted_frame_differs_in_what_the_combiner_says_only(
    header: FrameHeader, pair: int, window_ns: int, received_ns: int
) -> None:
    accepted = header.accepted(pair, window_ns, received_ns)
    assert frame.decode(accepted.encode()) == accepted
    before, after = asdict(header), asdict(accepted)
    assert {name for name in before if before[name] != after[name]} <= set(OPTIONAL)
    assert (accepted.pair, accepted.window_ns, accepted.received_ns) == (
        pair,
        window_ns,
        received_ns,
    )


def test_what_a_header_says_of_its_pixels() -> None:
    assert FRAME.nbytes == 1080 * 1920 * 3
    assert FRAME.period_ns == 40_000_000
    assert replace(FRAME, fps=29.97).period_ns == 33_366_700


@pytest.mark.parametrize("header", [FRAME, ACCEPTED, SHARED, END])
def test_fields_of_a_later_version_are_no_harm(header: FrameHeader | SourceEnd) -> None:
    assert frame.decode(edited(header.encode(), "later", {"x": [1, 2, 3]})) == header


@pytest.mark.parametrize("name", NO_HEADERS)
def test_what_is_no_header_is_refused(name: str) -> None:
    refuse(frame.decode, NO_HEADERS[name])


def test_a_header_that_is_too_large_is_refused() -> None:
    data = edited(FRAME.encode(), "filling", bytes(MAX_HEADER_BYTES))
    refuse(frame.decode, data)


@pytest.mark.parametrize("version", [0, 2, None, True, "1"])
def test_an_unknown_version_is_refused(version: object) -> None:
    refuse(frame.decode, edited(FRAME.encode(), "v", version))


@pytest.mark.parametrize("kind", ["pair", "Frame", "", None, 1])
def test_an_unknown_kind_is_refused(kind: object) -> None:
    refuse(frame.decode, edited(FRAME.encode(), "kind", kind))


@pytest.mark.parametrize("name", sorted({*unpacked(SHARED.encode())} - {*OPTIONAL, *ELSEWHERE}))
def test_a_frame_needs_each_of_its_fields(name: str) -> None:
    refuse(frame.decode, edited(SHARED.encode(), name, LEFT_OUT))


@pytest.mark.parametrize("name", sorted(unpacked(END.encode())))
def test_an_end_needs_each_of_its_fields(name: str) -> None:
    refuse(frame.decode, edited(END.encode(), name, LEFT_OUT))


@pytest.mark.parametrize("name", OPTIONAL)
def test_a_producer_need_not_know_what_the_combiner_adds(name: str) -> None:
    assert frame.decode(edited(FRAME.encode(), name, LEFT_OUT)) == FRAME


@pytest.mark.parametrize("value", [*NOT_INTEGERS, None], ids=repr)
@pytest.mark.parametrize("name", INTEGERS)
def test_whole_numbers_of_a_frame(name: str, value: object) -> None:
    refuse(frame.decode, edited(FRAME.encode(), name, value))


@pytest.mark.parametrize("value", NOT_INTEGERS, ids=repr)
@pytest.mark.parametrize("name", OPTIONAL)
def test_whole_numbers_that_the_combiner_adds(name: str, value: object) -> None:
    refuse(frame.decode, edited(ACCEPTED.encode(), name, value))


@pytest.mark.parametrize("value", [*NOT_INTEGERS, None], ids=repr)
@pytest.mark.parametrize("name", ["run", "seq", "dropped", "sent_ns"])
def test_whole_numbers_of_an_end(name: str, value: object) -> None:
    refuse(frame.decode, edited(END.encode(), name, value))


@pytest.mark.parametrize("value", [*NOT_WORDS, None], ids=lambda value: repr(value)[:20])
@pytest.mark.parametrize("name", CHOICES)
def test_words_of_a_frame(name: str, value: object) -> None:
    refuse(frame.decode, edited(FRAME.encode(), name, value))


@pytest.mark.parametrize("value", [*NOT_WORDS, "failed"], ids=lambda value: repr(value)[:20])
def test_the_reason_of_an_end(value: object) -> None:
    refuse(frame.decode, edited(END.encode(), "reason", value))


@pytest.mark.parametrize("value", [None, 1, "", "a.b", "x" * 65, "left\n", b"left", ["left"]])
@pytest.mark.parametrize("header", [FRAME, END])
def test_the_name_of_a_source(header: FrameHeader | SourceEnd, value: object) -> None:
    refuse(frame.decode, edited(header.encode(), "source", value))


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), 0, 0.0, -25, 1e-4, 10001, True, "25", None]
)
def test_frames_a_second(value: object) -> None:
    refuse(frame.decode, edited(FRAME.encode(), "fps", value))


def test_frames_a_second_may_be_whole() -> None:
    decoded = frame.decode(edited(FRAME.encode(), "fps", 30))
    assert isinstance(decoded, FrameHeader)
    assert decoded.fps == 30.0


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        [1080, 1920],
        [1080, 1920, 3, 1],
        [0, 1920, 3],
        [1080, -1, 3],
        [MAX_SIDE + 1, 1, 3],
        [1, 2**63, 3],
        [1080.0, 1920, 3],
        [True, 1920, 3],
        [1080, 1920, 1],
        [1080, 1920, 4],
        ["1080", "1920", "3"],
        [[1080], [1920], [3]],
        {"0": 1080, "1": 1920, "2": 3},
        "abc",
        b"abc",
        1080,
    ],
)
def test_shapes(value: object) -> None:
    refuse(frame.decode, edited(FRAME.encode(), "shape", value))


@pytest.mark.parametrize(("encoding", "channels"), [("mono8", 3), ("bgr8", 1), ("mono8", 0)])
def test_a_shape_fits_its_encoding(encoding: str, channels: int) -> None:
    data = edited(FRAME.encode(), "encoding", encoding)
    refuse(frame.decode, edited(data, "shape", [1080, 1920, channels]))


@pytest.mark.parametrize("value", [*NOT_INTEGERS, None], ids=repr)
@pytest.mark.parametrize("name", ["slot", "generation"])
def test_where_a_shared_frame_is(name: str, value: object) -> None:
    refuse(frame.decode, edited(SHARED.encode(), f"location.{name}", value))


@pytest.mark.parametrize("value", [None, 1, b"ring", ["ring"], "x" * 4000])
def test_in_which_ring_a_shared_frame_is(value: object) -> None:
    refuse(frame.decode, edited(SHARED.encode(), "location.ring", value))


@pytest.mark.parametrize("value", [None, 1, "ring", [], {}])
def test_a_shared_frame_has_a_place(value: object) -> None:
    refuse(frame.decode, edited(SHARED.encode(), "location", value))


def test_no_frame_promises_that_the_next_one_is_older() -> None:
    refuse(frame.decode, edited(FRAME.encode(), "next_ns", FRAME.captured_ns - 1))


def test_no_producer_dropped_more_than_it_captured() -> None:
    refuse(frame.decode, edited(FRAME.encode(), "dropped", FRAME.seq + 1))


@moderate
@given(st.sampled_from(sorted(unpacked(SHARED.encode()))), anything)
def test_only_protocol_errors_come_out_of_a_field_that_is_anything(
    name: str, value: object
) -> None:
    survives(frame.decode, edited(SHARED.encode(), name, value))
    survives(frame.decode, packed({"v": 1, "kind": "frame", name: value}))


def test_only_protocol_errors_come_out_of_damaged_headers() -> None:
    chance = random.Random(1)
    for _ in range(2000):
        survives(frame.decode, mutated(ACCEPTED.encode(), chance))
        survives(frame.decode, mutated(SHARED.encode(), chance))
        survives(frame.decode, mutated(END.encode(), chance))
