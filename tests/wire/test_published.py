"""The combiner's messages, and whatever else may come in their place."""

from __future__ import annotations

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from framepair.protocol.wire import published
from framepair.protocol.wire.frame import SourceEnd
from framepair.protocol.wire.header import ProtocolError
from framepair.protocol.wire.pair import PairHeader, StreamEnd
from tests.lib.stream import Stream, pixels

FRAME = Stream().frame("left", 3)
PAIR = Stream().pair(3)
END = Stream().end()
GOOD = [
    [published.frame_topic("left"), FRAME.encode(), pixels(FRAME).tobytes()],
    [published.PAIR, PAIR.encode()],
    [published.END, END.encode()],
]
SOURCE_END = SourceEnd("left", 1, 2, 0, "stopped")


def decoded(parts: list[bytes]) -> object:
    return published.decode([memoryview(part) for part in parts])


def test_a_frame_comes_with_its_pixels() -> None:
    found = decoded(GOOD[0])
    assert isinstance(found, tuple)
    assert found[0] == FRAME
    assert np.array_equal(found[1], pixels(FRAME))


@pytest.mark.parametrize("phase_ms", [0, 10, 39])
def test_frames_that_may_be_the_last_of_their_window_have_a_topic_of_their_own(
    phase_ms: int,
) -> None:
    frame = replace(FRAME, fps=25.0)
    captured_ns = [10**6 * (3000 + phase_ms + 40 * number) for number in range(25)]
    frames = [
        replace(frame, captured_ns=at_ns, next_ns=at_ns, window=3, window_ns=10**9)
        for at_ns in captured_ns
    ]
    topics = [published.topic_of(each) for each in frames]
    early = published.frame_topic("left") + published.EARLY
    # Of a source whose next frame may come half a period sooner, one more.
    last = 2 if phase_ms > 20 else 1
    assert topics == [early] * (25 - last) + [published.frame_topic("left")] * last
    for topic in (early, published.frame_topic("left")):
        assert decoded([topic, frame.encode(), pixels(frame).tobytes()])


def test_where_windows_have_few_frames_none_is_taken_for_the_last() -> None:
    at_ns = 3_999_000_000
    frame = replace(FRAME, fps=5.0, captured_ns=at_ns, next_ns=at_ns)
    topic = published.topic_of(replace(frame, window=3, window_ns=10**9))
    assert topic == published.frame_topic("left") + published.EARLY
    # In no window: as a producer sends it.
    assert published.topic_of(replace(FRAME, window=None)) == published.frame_topic("left")


def test_announcements_and_ends_are_told_apart() -> None:
    assert decoded(GOOD[1]) == PAIR
    assert isinstance(decoded(GOOD[1]), PairHeader)
    assert decoded(GOOD[2]) == END
    assert isinstance(decoded(GOOD[2]), StreamEnd)


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ([b""], "1 parts, not 2"),
        ([published.PAIR], "1 parts, not 2"),
        ([published.PAIR, PAIR.encode(), b""], "3 parts, not 2"),
        (GOOD[0][:2], "2 parts, not 3"),
        ([*GOOD[0], b""], "4 parts, not 3"),
        ([published.END, PAIR.encode()], "topic"),
        ([published.PAIR, END.encode()], "topic"),
        ([b"other", PAIR.encode()], "topic"),
        ([published.frame_topic("right"), *GOOD[0][1:]], "topic"),
        ([published.FRAMES, *GOOD[0][1:]], "topic"),
        ([published.frame_topic("left") + b"-", *GOOD[0][1:]], "topic"),
        ([published.frame_topic("left") + 2 * published.EARLY, *GOOD[0][1:]], "topic"),
        ([published.frame_topic("left") * 10**6, *GOOD[0][1:]], "topic"),
        ([published.frame_topic("left"), SOURCE_END.encode(), b""], "topic"),
        ([published.frame_topic("left"), PAIR.encode(), b""], "kind"),
        ([published.frame_topic("left"), b"\xc1", b""], "not msgpack"),
        ([published.frame_topic("left"), b"\x00" * 5000, b""], "5000 bytes"),
        ([*GOOD[0][:2], GOOD[0][2][:-1]], "143 bytes of pixels, not 144"),
        ([*GOOD[0][:2], GOOD[0][2] + b"x"], "145 bytes of pixels, not 144"),
        (
            [published.frame_topic("left"), replace(FRAME, shape=(32768, 32768, 3)).encode(), b""],
            "0 bytes of pixels, not 3221225472",
        ),
    ],
)
def test_what_the_combiner_would_not_send_is_refused(parts: list[bytes], reason: str) -> None:
    with pytest.raises(ProtocolError, match=reason):
        decoded(parts)


ANY_VALUE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text()
    | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


@given(
    parts=st.lists(st.sampled_from([b"frame.left.", b"pair.", b"end."]) | st.binary(), min_size=1)
)
def test_random_parts_raise_nothing_else(parts: list[bytes]) -> None:
    with pytest.raises(ProtocolError):
        decoded(parts)


@given(which=st.sampled_from(GOOD), data=st.data())
def test_headers_with_a_field_gone_wrong_raise_nothing_else(
    which: list[bytes], data: st.DataObject
) -> None:
    fields = msgpack.unpackb(which[1])
    name = data.draw(st.sampled_from(sorted(fields)))
    fields[name] = data.draw(ANY_VALUE)
    parts = [which[0], msgpack.packb(fields), *which[2:]]
    try:
        decoded(parts)
    except ProtocolError:
        return
