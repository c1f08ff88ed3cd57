"""Which pair is the first, and what becomes of frames captured before it."""

from __future__ import annotations

import pytest

from framepair.nodes.combiner.pace import Rules
from tests.lib.feed import Feed, at, frame, frames, in_order_of_capture, index_of, seqs
from tests.lib.units import MS, S


def test_the_first_pair_is_the_first_that_every_source_was_there_for_from_its_start() -> None:
    feed = Feed()
    right = frames("right", range(30), offset_ns=1300 * MS)
    feed.send(*in_order_of_capture(frames("left", range(40)), right))
    first = feed.pairs[0]
    assert first.window == index_of(2)
    assert first.complete
    assert feed.totals("left").dropped == {"startup": 20}
    assert feed.totals("right").dropped == {"startup": 7}


@pytest.mark.parametrize(("offset_ns", "first"), [(0, 0), (100 * MS - 1, 0), (100 * MS, 1)])
def test_less_than_a_period_into_a_window_is_its_start(offset_ns: int, first: int) -> None:
    feed = Feed()
    right = frames("right", range(25), offset_ns=offset_ns)
    feed.send(*in_order_of_capture(frames("left", range(25)), right))
    assert feed.pairs[0].window == index_of(first)
    assert feed.pairs[0].complete


def test_nothing_comes_out_before_the_first_window_is_known() -> None:
    feed = Feed()
    assert feed.send(*frames("left", range(20))) == []
    assert feed.accepted == []
    assert (feed.totals().captured, feed.totals().open) == (20, 10)


def test_no_more_than_the_newest_window_is_held_meanwhile() -> None:
    feed = Feed(rules=Rules(start_timeout_ns=3600 * S))
    feed.send(*frames("left", range(1005)))
    totals = feed.totals()
    assert (totals.open, totals.dropped) == (5, {"startup": 1000})


def test_frames_that_are_held_come_out_once_the_last_source_has_begun() -> None:
    feed = Feed()
    feed.send(*frames("left", range(5)))
    feed.send(*frames("right", [0]), now_ns=feed.now_ns)
    assert [(header.source, header.seq) for header in feed.accepted] == [
        *(("left", seq) for seq in range(5)),
        ("right", 0),
    ]


def test_after_start_timeout_the_first_pair_comes_without_those_that_are_not_there() -> None:
    feed = Feed(rules=Rules(start_timeout_ns=3 * S))
    feed.send(*frames("left", range(33)))
    assert feed.pairs == []
    feed.send(*frames("left", range(33, 45)))
    first = feed.pairs[0]
    assert first.window == index_of(3)
    assert first.clips["left"].frames == 10
    assert (first.clips["right"].missing, first.clips["right"].expected) == ("not_started", 0)
    assert not first.complete


def test_start_timeout_needs_no_further_frame() -> None:
    feed = Feed(rules=Rules(start_timeout_ns=3 * S))
    feed.send(*frames("left", range(2)))
    feed.tick(feed.now_ns + 3 * S + 1)
    assert len(feed.accepted) == 2


def test_start_timeout_without_any_frame_is_no_start() -> None:
    feed = Feed()
    feed.tick(at(0))
    assert feed.tick(at(100)) == []


def test_a_source_that_has_not_begun_is_not_waited_for_after_that() -> None:
    feed = Feed(rules=Rules(start_timeout_ns=0))
    # With a clock that has only just begun, no source has been silent for long.
    feed.send(frame(captured_ns=0), now_ns=0)
    assert len(feed.send(frame(seq=1, captured_ns=900 * MS), now_ns=S)) == 1


def test_a_source_that_begins_in_the_middle_is_marked_for_that_window_only() -> None:
    feed = Feed(rules=Rules(start_timeout_ns=0))
    right = frames("right", range(20), offset_ns=1500 * MS)
    feed.send(*in_order_of_capture(frames("left", range(35)), right))
    assert [pair.clips["right"].missing for pair in feed.pairs] == [
        "not_started",
        "not_started",
        None,
    ]
    assert [pair.clips["right"].frames for pair in feed.pairs] == [0, 5, 10]
    assert [pair.complete for pair in feed.pairs] == [False, False, True]


def test_a_source_that_ended_before_it_began_is_not_waited_for() -> None:
    feed = Feed()
    feed.end("right", 0)
    (pair,) = feed.send(*frames("left", range(10)))
    assert pair.clips["right"].missing == "ended"


def test_frames_of_a_window_that_was_given_up_never_leave_it_looking_complete() -> None:
    """Right begins in a window that the frames of left were dropped of already."""
    feed = Feed()
    feed.send(*frames("left", range(21)))
    feed.send(*frames("right", range(20), offset_ns=S), now_ns=feed.now_ns)
    assert feed.pairs == []
    feed.send(*in_order_of_capture(frames("left", range(21, 30)), frames("right", range(20, 30))))
    assert feed.pairs[0].window == index_of(2)
    assert seqs(feed.pairs[0].clips["left"]) == list(range(20, 30))


def test_what_was_lost_before_the_first_pair_is_remembered() -> None:
    """A hole across three windows; the first window turns out to be the one in its middle."""
    feed = Feed()
    left = [*frames("left", [0, 25])]
    feed.send(*left, *frames("right", range(10), offset_ns=S))
    feed.send(*frames("right", range(10, 20), offset_ns=S), *frames("left", range(26, 30)))
    for pair in feed.pairs:
        assert not pair.complete


def test_what_a_source_lost_before_its_first_frame_may_be_in_the_first_pair() -> None:
    """A camera that promises half a period only, and whose frame before the first one was lost."""
    feed = Feed("left")
    headers = [
        frame(seq=seq, offset_ns=60 * MS - 1700 * MS, next_ns=at(seq / 10 - 1.64 + 0.05))
        for seq in range(17, 40)
    ]
    feed.send(*headers)
    first, second = feed.pairs[:2]
    assert (first.window, first.complete) == (index_of(0), False)
    assert second.complete


def test_a_paced_source_that_was_there_before_the_combiner_has_a_complete_first_pair() -> None:
    feed = Feed("left")
    feed.send(*frames("left", range(17, 40), offset_ns=60 * MS - 1700 * MS))
    assert feed.pairs[0].window == index_of(0)
    assert feed.pairs[0].complete
    assert feed.totals().dropped == {"before_combiner": 17}


def test_a_first_stamp_from_long_ago_does_not_hold_the_others_back() -> None:
    feed = Feed()
    feed.send(frame("right", captured_ns=0), now_ns=at(0))
    feed.send(*in_order_of_capture(frames("left", range(25)), frames("right", range(1, 25))))
    assert feed.pairs[0].window == index_of(0)
    assert feed.totals("right").dropped == {"startup": 1}
