"""What a producer sends: the rules that span several fields, and what headers say of pixels and times."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import asdict, replace

from framepair.protocol.wire import frame
from framepair.protocol.wire.frame import MAX_HEADER_BYTES, SLEW_PPM, Colour, FrameHeader
from framepair.protocol.wire.header import MAX_INT, ProtocolError
from framepair.protocol.wire.limits import MAX_SIDE, SOURCE_NAME, source_name
from tests.lib.headers import ALIVE, FRAME, JPEG, SHARED, any_header
from tests.lib.malformed import edited, integers, moderate, packed, refuse
from tests.lib.units import S

COMBINERS = {"window", "window_ns", "received_ns"}


@moderate
@given(any_header(FrameHeader), integers, st.integers(1, MAX_INT), integers)
def test_an_accepted_frame_differs_in_what_the_combiner_says_only(
    header: FrameHeader, window: int, window_ns: int, received_ns: int
) -> None:
    accepted = header.accepted(window, window_ns, received_ns)
    assert len(accepted.encode()) <= MAX_HEADER_BYTES
    assert frame.decode(accepted.encode()) == accepted
    before, after = asdict(header), asdict(accepted)
    assert {name for name in before if before[name] != after[name]} <= COMBINERS
    assert (accepted.window, accepted.window_ns) == (window, window_ns)
    assert accepted.received_ns == received_ns


def test_what_a_header_says_of_its_pixels() -> None:
    assert FRAME.nbytes == FRAME.message_bytes == 1080 * 1920 * 3
    assert (SHARED.message_bytes, JPEG.message_bytes) == (0, 1000)
    assert FRAME.period_ns == 40_000_000
    assert replace(FRAME, fps=29.97).period_ns == 33_366_700


def test_a_header_that_is_too_large_is_refused() -> None:
    refuse(frame.decode, edited(FRAME.encode(), ("filling",), bytes(MAX_HEADER_BYTES)))


def test_another_version_is_named_with_both_numbers() -> None:
    with pytest.raises(ProtocolError, match="version 1, not 2: run the same framepair on both"):
        frame.decode(edited(FRAME.encode(), ("v",), 1))
    # Also one whose fields are all different.
    with pytest.raises(ProtocolError, match="version 3, not 2"):
        frame.decode(packed({"v": 3, "kind": ["frame"]}))


def test_frames_a_second_may_be_whole() -> None:
    decoded = frame.decode(edited(FRAME.encode(), ("fps",), 30))
    assert isinstance(decoded, FrameHeader)
    assert (decoded.fps, type(decoded.fps)) == (30.0, float)


@pytest.mark.parametrize(
    "value",
    [
        [], [1080, 1920], [1080, 1920, 3, 1], [0, 1920, 3], [1080, -1, 3], [MAX_SIDE + 1, 1, 3],
        [1, 2**63, 3], [1080.0, 1920, 3], [True, 1920, 3], [1080, 1920, 1], [1080, 1920, 4],
        ["1080", "1920", "3"], [[1080], [1920], [3]], {"0": 1080, "1": 1920, "2": 3}, "abc", b"abc",
    ],
)  # fmt: skip
def test_shapes(value: object) -> None:
    refuse(frame.decode, edited(FRAME.encode(), ("shape",), value))


def test_a_header_says_what_planes_mean_and_how_many_frames_were_left_out() -> None:
    header = replace(
        FRAME,
        shape=(72, 64, 1),
        encoding="i420",
        colour=Colour("bt709", full=True),
        skipped=MAX_INT,
    )
    assert frame.decode(header.encode()) == header
    assert header.nbytes == 64 * 48 * 3 // 2
    assert frame.decode(FRAME.encode()) == replace(FRAME, colour=None, skipped=0)


@pytest.mark.parametrize("shape", [(71, 64, 1), (73, 64, 1), (72, 63, 1), (72, 64, 3)])
def test_planes_have_even_sides(shape: tuple[int, int, int]) -> None:
    data = edited(replace(FRAME, shape=(72, 64, 1), encoding="i420").encode(), ("shape",), shape)
    refuse(frame.decode, data)


@pytest.mark.parametrize(
    ("encoding", "channels"), [("mono8", 3), ("bgr8", 1), ("mono8", 0), ("rgb8", 1), ("i420", 3)]
)
def test_a_shape_fits_its_encoding(encoding: str, channels: int) -> None:
    data = edited(FRAME.encode(), ("encoding",), encoding)
    refuse(frame.decode, edited(data, ("shape",), [1080, 1920, channels]))


@pytest.mark.parametrize("header", [SHARED, JPEG])
def test_a_payload_has_what_it_needs_and_nothing_else(header: FrameHeader) -> None:
    data = header.encode()
    refuse(frame.decode, edited(data, ("payload",), "raw"))
    refuse(frame.decode, edited(FRAME.encode(), ("payload",), header.payload))
    refuse(frame.decode, edited(data, ("location",), None if header is SHARED else {"ring": "r"}))
    refuse(frame.decode, edited(data, ("packed_bytes",), None if header is JPEG else 5))


def test_a_few_bytes_of_jpeg_are_no_picture_of_any_size() -> None:
    refuse(frame.decode, edited(JPEG.encode(), ("shape",), [MAX_SIDE, MAX_SIDE, 3]))


def test_no_frame_promises_that_the_next_one_is_older() -> None:
    refuse(frame.decode, edited(FRAME.encode(), ("next_ns",), FRAME.captured_ns - 1))


@pytest.mark.parametrize("header", [FRAME, ALIVE], ids=["frame", "alive"])
def test_no_producer_dropped_more_than_it_captured(header: FrameHeader) -> None:
    refuse(frame.decode, edited(header.encode(), ("dropped",), header.seq + 1))


def test_a_sign_of_life_is_corrected_once_and_its_promise_gives_way() -> None:
    alive = replace(ALIVE, sent_ns=10 * S, next_ns=11 * S, offset_ns=-3 * S)
    corrected = alive.corrected()
    assert (corrected.sent_ns, corrected.offset_ns) == (7 * S, None)
    assert corrected.next_ns == 8 * S - S * SLEW_PPM // 10**6
    assert corrected.corrected() is corrected
    for offset_ns in (-11 * S, MAX_INT):
        with pytest.raises(ProtocolError, match="out of range"):
            replace(alive, offset_ns=offset_ns).corrected()


def test_a_camera_s_time_is_not_corrected_by_the_producer_s_clock() -> None:
    header = replace(
        FRAME, captured_ns=10 * S, next_ns=11 * S, sent_ns=12 * S, offset_ns=-3 * S,
        uncertainty_ns=5, stamp="camera", location=None,
    )  # fmt: skip
    corrected = header.corrected()
    assert (corrected.captured_ns, corrected.next_ns, corrected.sent_ns) == (10 * S, 11 * S, 9 * S)
    assert corrected.uncertainty_ns == 0
    assert replace(header, stamp="media").corrected().captured_ns == 7 * S
    alive = replace(ALIVE, sent_ns=10 * S, next_ns=11 * S, offset_ns=-3 * S, stamp="camera")
    assert (alive.corrected().sent_ns, alive.corrected().next_ns) == (7 * S, 11 * S)


@pytest.mark.parametrize("name", ["a", "left", "cam-1_B", "x" * 64])
def test_names_of_sources(name: str) -> None:
    assert SOURCE_NAME.match(name)
    assert source_name(name) == name


@pytest.mark.parametrize(
    "name", ["", "x" * 65, "a.b", "a b", "a\n", "ä", "../a", "a/b", "a\x00", "٣"]
)
def test_what_no_source_can_be_called(name: str) -> None:
    with pytest.raises(ProtocolError):
        source_name(name)
