"""A source whose stamps go over to another clock: a new run of the same source, and one incomplete pair."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from framepair.nodes.combiner.intake import Rivals
from framepair.protocol.wire.frame import FrameHeader, SourceEnd
from tests.lib.feed import Feed, alive, at, frame, frames, in_order_of_capture, seqs
from tests.lib.units import MS, S


def restamped(feed: Feed, by_ns: int, first: int = 15) -> None:
    """Send six seconds of two sources; from frame ``first`` on, the left one's stamps are ``by_ns`` later."""
    left = [
        replace(header, run=2, seq=header.seq - first, captured_ns=header.captured_ns + by_ns)
        for header in frames("left", range(first, 60))
    ]
    left = [replace(header, next_ns=header.captured_ns + 50 * MS) for header in left]
    right = frames("right", range(60))
    feed.send(*in_order_of_capture(frames("left", range(first)), right[:first]))
    feed.end("left", first, "restamped")
    for each in zip(left, right[first:], strict=True):
        feed.send(*sorted(each, key=lambda header: header.captured_ns))


@pytest.mark.parametrize("by_ms", [-40, -180, 30])
def test_the_pair_of_the_change_is_incomplete_and_says_why(by_ms: int) -> None:
    feed = Feed()
    restamped(feed, by_ms * MS)
    clips = [pair.clips["left"] for pair in feed.pairs]
    assert [pair.complete for pair in feed.pairs] == [True, False, True, True, True]
    assert [clip.restamped for clip in clips] == [False, True, False, False, False]
    assert {clip.missing for clip in clips} == {None}
    assert not any(pair.clips["right"].restamped for pair in feed.pairs)
    # Frames of both runs, and none is lost.
    assert {span.run for span in clips[1].spans} == {1, 2}
    assert sum(len(seqs(clip)) for clip in clips) == feed.totals("left").paired
    assert feed.totals("left").late == 0


def test_it_counts_as_no_restart_and_no_outage() -> None:
    feed = Feed()
    restamped(feed, -40 * MS)
    totals = feed.totals("left")
    assert (totals.runs, totals.restamped) == (2, 1)
    assert totals.outage_ns == totals.late == 0
    assert not totals.dropped


def test_frames_of_a_window_that_has_closed_are_late() -> None:
    feed = Feed()
    restamped(feed, -250 * MS, first=20)
    assert feed.totals("left").late == 3
    assert [pair.clips["left"].restamped for pair in feed.pairs[:4]] == [False, False, True, False]


def test_an_outage_that_comes_with_it_is_one() -> None:
    feed = Feed()
    feed.send(*in_order_of_capture(frames("left", range(15)), frames("right", range(15))))
    feed.send(*frames("right", range(15, 60)))
    feed.end("left", 15, "restamped")
    feed.send(frame("left", 0, captured_ns=at(6.05), run=2), *frames("right", range(60, 80)))
    assert [pair.clips["left"].missing for pair in feed.pairs][3:6] == ["offline"] * 3
    assert feed.totals("left").outage_ns > 4 * S


def test_without_its_end_a_new_run_is_a_restart() -> None:
    feed = Feed()
    feed.send(*in_order_of_capture(frames("left", range(15)), frames("right", range(15))))
    feed.send(frame("left", 0, captured_ns=at(1.52), run=2))
    assert (feed.totals("left").runs, feed.totals("left").restamped) == (2, 0)


def test_signs_of_life_of_the_new_run_move_nothing_before_its_first_frame() -> None:
    feed = Feed()
    feed.send(*in_order_of_capture(frames("left", range(12)), frames("right", range(12))))
    feed.end("left", 12, "restamped")
    feed.alive(alive("left", 1.3, 0, next_s=9.0, run=2))
    assert len(feed.send(*frames("right", range(12, 20)))) == 0


def test_the_new_run_is_no_rival() -> None:
    rivals = Rivals()
    header: FrameHeader = frame("left", 5)
    assert not rivals.is_one(header, at(0.5))
    assert not rivals.is_one(SourceEnd("left", 1, 6, 0, "restamped"), at(0.5))
    assert not rivals.is_one(replace(header, run=2, seq=0), at(0.5))
