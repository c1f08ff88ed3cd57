"""Whole pairs from frames and announcements, in whatever order they arrive."""

from __future__ import annotations

import numpy as np
import pytest
from msgspec.structs import replace

from framepair.protocol.client.assembly import Assembly
from framepair.protocol.client.clip import Pair
from framepair.protocol.memory.ring import all_intact
from framepair.protocol.wire.header import ProtocolError
from framepair.protocol.wire.limits import MAX_SOURCES
from framepair.protocol.wire.pair import Span
from tests.lib.stream import Stream, feed, lost_frames, pixels


def assembly_of(keep: int = 2) -> Assembly:
    return Assembly(keep, max_bytes=10**9)


def taken(assembly: Assembly) -> list[Pair]:
    """Take all pairs that wait; check their pixels while they are held."""
    pairs = []
    while (pair := assembly.take()) is not None:
        check(pair)
        pairs.append(pair)
    return pairs


def check(pair: Pair) -> None:
    assert pair.intact
    for source, clip in pair.items():
        for frame, image in zip(clip.frames, clip.images, strict=True):
            assert (frame.source, frame.window) == (source, pair.index)
            assert np.array_equal(image, pixels(frame))


def test_whole_pairs_come_in_order_with_the_right_pixels() -> None:
    stream, assembly = Stream(), assembly_of()
    for window in range(10, 30):
        feed(assembly, *stream.whole(window))
        (pair,) = taken(assembly)
        assert pair.index == window
        assert pair["left"].seq.tolist() == pair["right"].seq.tolist()
        assert pair.lost == 0
    assert assembly.stats().pairs == 20
    assert assembly.stats().lost_pairs == 0


def test_frames_of_the_next_window_may_come_before_the_announcement() -> None:
    stream, assembly = Stream(), assembly_of()
    feed(assembly, *stream.window(0))
    for window in range(5):
        announcement = stream.pair(window)
        feed(assembly, *stream.window(window + 1), announcement)
        (pair,) = taken(assembly)
        assert pair.index == window
        assert len(pair["right"]) == 5


def test_frames_of_several_windows_may_arrive_in_any_order() -> None:
    stream, assembly = Stream(), assembly_of()
    frames = [frame for window in range(3) for frame in stream.window(window)]
    np.random.default_rng(3).shuffle(frames)
    feed(assembly, *frames, *[stream.pair(window) for window in range(2)])
    pairs = taken(assembly)
    assert [pair.index for pair in pairs] == [0, 1]
    assert [pair["left"].seq.tolist() for pair in pairs] == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]


def test_a_clip_may_hold_frames_of_several_runs_of_its_producer() -> None:
    stream, assembly = Stream(["left"]), assembly_of()
    frames = [stream.frame("left", 0, run=run, seq=seq) for run, seq in ((7, 8), (7, 9), (9, 0))]
    header = stream.pair(0)
    assert header.clips["left"].spans == (Span(7, 8, 2), Span(9, 0, 1))
    feed(assembly, *frames, header)
    (pair,) = taken(assembly)
    assert [(frame.run, frame.seq) for frame in pair["left"].frames] == [(7, 8), (7, 9), (9, 0)]


def test_a_source_without_frames_has_an_empty_clip() -> None:
    stream, assembly = Stream(), assembly_of()
    feed(assembly, stream.frame("left", 0), stream.pair(0))
    (pair,) = taken(assembly)
    assert (len(pair["left"]), len(pair["right"])) == (1, 0)


def test_frames_that_the_pair_does_not_name_are_not_in_it() -> None:
    stream, assembly = Stream(["left"]), assembly_of()
    named = stream.window(0)
    header = stream.pair(0)
    feed(assembly, stream.frame("left", 0), *named, stream.frame("right", 0), header)
    (pair,) = taken(assembly)
    assert pair["left"].frames == tuple(named)
    assert list(pair) == ["left"]


def test_the_pair_that_was_taken_stays_until_the_next_one_is() -> None:
    stream, assembly = Stream(), assembly_of(keep=1)
    feed(assembly, *stream.whole(0))
    held = assembly.take()
    assert held is not None
    for window in range(1, 40):
        feed(assembly, *stream.whole(window))
        check(held)
    slots = held["left"]._pixels.slots
    assert assembly.take() is not None
    assert all_intact(slots), "nothing has come since"
    feed(assembly, *stream.window(40))
    assert not all_intact(slots)


def test_waiting_pairs_are_not_overwritten() -> None:
    stream, assembly = Stream(), assembly_of(keep=4)
    for window in range(20):
        feed(assembly, *stream.whole(window))
    feed(assembly, *stream.window(20), *stream.window(21))
    assert [pair.index for pair in taken(assembly)] == [16, 17, 18, 19]


def test_with_pace_max_nothing_is_dropped_but_it_is_full() -> None:
    stream, assembly = Stream(pace="max"), assembly_of(keep=2)
    feed(assembly, *stream.whole(0))
    assert not assembly.full
    feed(assembly, *stream.whole(1))
    assert assembly.full
    feed(assembly, *stream.whole(2))
    assert assembly.stats().lost_pairs == 0
    assert [pair.index for pair in taken(assembly)] == [0, 1, 2]
    assert not assembly.full


def test_in_real_time_it_is_never_full() -> None:
    stream, assembly = Stream(), assembly_of(keep=1)
    for window in range(3):
        feed(assembly, *stream.whole(window))
        assert not assembly.full


def test_a_frame_in_no_window_is_refused() -> None:
    frame = Stream().frame("left", 0)
    for changed in (replace(frame, window=None), replace(frame, window_ns=None)):
        with pytest.raises(ProtocolError, match="in no window"):
            assembly_of().reserve(changed)


def test_a_frame_that_comes_twice_is_refused_the_second_time() -> None:
    stream, assembly = Stream(["left"]), assembly_of()
    first, second = stream.frame("left", 0), stream.frame("left", 0)
    feed(assembly, first, second)
    with pytest.raises(ProtocolError, match="frame 1 of left came twice"):
        assembly.reserve(second)
    feed(assembly, stream.pair(0))
    assert [pair["left"].frames for pair in taken(assembly)] == [(first, second)]


def test_a_frame_that_comes_again_while_it_is_written_or_after_it_was_damaged_is_refused() -> None:
    stream, assembly = Stream(["left"]), assembly_of()
    first, second = stream.frame("left", 0), stream.frame("left", 0)
    written = assembly.reserve(first)
    with pytest.raises(ProtocolError, match="frame 0 of left came twice"):
        assembly.reserve(first)
    written.image[:] = pixels(first)
    assembly.add_frame(first, written, 0)
    assembly.reserve(second).drop_frame(second)
    with pytest.raises(ProtocolError, match="frame 1 of left came twice"):
        assembly.reserve(second)
    feed(assembly, stream.pair(0))
    (pair,) = taken(assembly)
    assert pair["left"].frames == (first,)
    assert assembly.stats().damaged_frames == {"left": 1}


def test_the_number_of_sources_is_bounded() -> None:
    names = [f"s{i}" for i in range(MAX_SOURCES + 1)]
    stream, assembly = Stream(names), assembly_of()
    feed(assembly, *[stream.frame(name, 0) for name in names[:-1]])
    with pytest.raises(ProtocolError, match="more than 256 sources"):
        assembly.reserve(stream.frame(names[-1], 0))
    with pytest.raises(ProtocolError, match="more than 256 sources"):
        feed(assembly, stream.pair(0))


def test_counts_from_the_wire_are_compared_before_they_are_used() -> None:
    stream, assembly = Stream(["left"]), assembly_of()
    feed(assembly, *stream.whole(0), *stream.window(1))
    header = stream.pair(1)
    spans = tuple(Span(7, 2**40 * i, 1_000_000) for i in range(4096))
    clip = replace(header.clips["left"], spans=spans)
    totals = replace(clip.totals, paired=2**50)
    hostile = replace(header, clips={"left": replace(clip, totals=totals)})
    feed(assembly, hostile)
    assert assembly.stats().lost_pairs == 1
    assert [pair.index for pair in taken(assembly)] == [0]


def test_a_pair_that_names_a_frame_twice_is_not_delivered() -> None:
    stream, assembly = Stream(["left"]), assembly_of()
    feed(assembly, *stream.whole(0), *stream.window(1))
    header = stream.pair(1)
    clip = replace(header.clips["left"], spans=(Span(7, 5, 3), Span(7, 5, 2)))
    feed(assembly, replace(header, clips={"left": clip}))
    assert [pair.index for pair in taken(assembly)] == [0]
    assert lost_frames(assembly.stats()) == {"left": 5}
