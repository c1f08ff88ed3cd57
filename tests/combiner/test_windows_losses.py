"""Frames that never came: in which windows they are missed, and what they are put down to."""

from __future__ import annotations

import pytest

from tests.lib.feed import Feed, at, frame, frames, in_order_of_capture
from tests.lib.units import MS


def gaps(feed: Feed, source: str = "left") -> list[int]:
    """Return how many frames each pair misses."""
    return [pair.clips[source].gaps for pair in feed.pairs]


def completeness(feed: Feed) -> list[bool]:
    """Return which pairs are complete."""
    return [pair.complete for pair in feed.pairs]


def test_a_hole_in_seq_is_a_gap_in_its_window() -> None:
    feed = Feed()
    left = frames("left", [*range(13), *range(16, 30)])
    feed.send(*in_order_of_capture(left, frames("right", range(30))))
    assert (gaps(feed), gaps(feed, "right")) == ([0, 3, 0], [0, 0, 0])
    assert completeness(feed) == [True, False, True]
    assert [pair.clips["left"].missing for pair in feed.pairs] == [None] * 3
    assert feed.totals("left").gaps == 3


def test_a_hole_across_windows_is_shared_out_among_them() -> None:
    feed = Feed("left")
    feed.send(*frames("left", range(8)))
    feed.send(*frames("left", [34]), now_ns=at(1.45))
    feed.send(*frames("left", range(35, 50)))
    assert gaps(feed) == [2, 10, 10, 4, 0]
    assert completeness(feed) == [False, False, False, False, True]


def test_a_lost_frame_that_begins_a_window_is_missed_there() -> None:
    feed = Feed("left")
    feed.send(*frames("left", [*range(9), *range(11, 30)]))
    assert gaps(feed) == [1, 1, 0]


def test_a_lost_frame_that_may_have_been_in_either_window_leaves_neither_complete() -> None:
    feed = Feed("left")
    stamps = [*(at(seq / 10) for seq in range(9)), *(at(seq / 10 + 0.05) for seq in range(10, 30))]
    headers = [
        frame(seq=seq if seq < 9 else seq + 1, captured_ns=stamp, next_ns=stamp + 50 * MS)
        for seq, stamp in enumerate(stamps)
    ]
    feed.send(*headers)
    assert completeness(feed)[:3] == [False, False, True]
    assert sum(gaps(feed)) == 1


def test_a_hole_that_is_filled_later_is_no_loss() -> None:
    feed = Feed()
    feed.send(*frames("left", [0, 1, 2, 6, 4, 5, 3, 7, 8]), *frames("right", range(10)))
    feed.send(*frames("left", [9]))
    assert (gaps(feed), completeness(feed)) == ([0], [True])
    assert (feed.totals().gaps, feed.totals().dropped) == (0, {})


def test_a_hole_that_is_filled_in_part_is_missed_where_the_rest_was() -> None:
    feed = Feed()
    feed.send(*frames("right", [0]), *frames("left", [*range(5), 25]), now_ns=at(1.1))
    feed.send(*frames("left", [*range(5, 9), *range(11, 24)]), now_ns=at(1.1))
    feed.send(*frames("right", range(1, 30)), *frames("left", range(26, 30)), now_ns=at(1.1))
    feed.tick(at(1.95))
    feed.tick(at(2.95))
    assert gaps(feed) == [1, 1, 1]


def test_a_frame_that_comes_after_its_window_was_closed_without_it_is_late_and_no_gap() -> None:
    feed = Feed("left")
    feed.send(*frames("left", [*range(8), 9]))
    assert (gaps(feed), completeness(feed)) == ([1], [False])
    assert feed.totals().gaps == 1
    feed.send(*frames("left", [8]))
    totals = feed.totals()
    assert (totals.late, totals.gaps, totals.dropped) == (1, 0, {})


def test_what_the_producer_dropped_is_put_down_to_it_first() -> None:
    feed = Feed("left")
    feed.send(*frames("left", range(3)), frame(seq=8, dropped=4))
    assert feed.totals().dropped == {"producer_dropped": 4, "transport": 1}


def test_what_was_captured_before_the_first_frame_went_to_a_former_combiner() -> None:
    feed = Feed("left")
    feed.send(frame(seq=10, dropped=3), frame(seq=12, dropped=3))
    assert feed.totals().dropped == {
        "producer_dropped": 3,
        "before_combiner": 7,
        "transport": 1,
    }


def test_what_a_later_run_lost_at_its_start_did_not() -> None:
    feed = Feed("left")
    feed.send(frame(), frame(seq=4, run=2))
    assert feed.totals().dropped == {"transport": 4}


def test_a_malformed_message_explains_a_frame_that_is_missing() -> None:
    feed = Feed("left")
    feed.send(*frames("left", [0]))
    feed.windows.reject("left")
    feed.send(*frames("left", [3]))
    assert feed.totals().dropped == {"corrupt": 1, "transport": 1}
    assert feed.totals().rejected == 1


def test_a_malformed_message_that_was_no_frame_explains_nothing() -> None:
    feed = Feed("left")
    feed.windows.reject("left")
    feed.send(*frames("left", range(10)))
    assert feed.totals().dropped == {}
    assert feed.totals().rejected == 1


def test_frames_that_the_combiner_had_to_drop_are_its_own() -> None:
    feed = Feed("left")
    feed.send(*frames("left", [0]))
    feed.windows.overflow("left", 3)
    feed.send(*frames("left", [5]))
    assert feed.totals().dropped == {"combiner_overflow": 3, "transport": 1}


def test_an_overflow_before_the_first_frame_is_remembered() -> None:
    feed = Feed("left")
    feed.windows.overflow("left", 2)
    feed.send(frame(seq=10, dropped=10), frame(seq=13, dropped=10))
    assert feed.totals().dropped == {"producer_dropped": 10, "combiner_overflow": 2}


@pytest.mark.parametrize("ahead_ms", [2001, 3600_000, 10**15])
def test_a_stamp_too_far_ahead_is_dropped(ahead_ms: int) -> None:
    feed = Feed("left")
    feed.send(*frames("left", range(3)))
    bad = frame(seq=3, captured_ns=feed.now_ns + ahead_ms * MS)
    assert feed.send(bad, now_ns=feed.now_ns) == []
    assert (feed.totals().captured, feed.totals().dropped) == (4, {"future": 1})
    feed.send(*frames("left", range(4, 20)))
    assert [header.seq for header in feed.accepted] == [0, 1, 2, *range(4, 20)]
    assert (gaps(feed), completeness(feed)) == ([1, 0], [False, True])


def test_a_stamp_a_little_ahead_is_not() -> None:
    feed = Feed("left")
    feed.send(frame(captured_ns=at(2)), now_ns=at(0))
    assert feed.totals().dropped == {}


def test_a_clock_that_is_ahead_all_the_time_shows() -> None:
    feed = Feed("left")
    feed.send(*frames("left", range(50), offset_ns=5000 * MS), now_ns=at(0))
    assert (feed.totals().captured, feed.totals().dropped) == (50, {"future": 50})
    assert feed.accepted == []


def test_a_pair_counts_what_was_dropped_since_the_one_before() -> None:
    feed = Feed("left")
    feed.send(*frames("left", [*range(8), 9, *range(12, 30)]))
    assert [pair.clips["left"].dropped for pair in feed.pairs] == [1, 2, 0]


def test_more_holes_than_are_remembered_leave_no_window_complete() -> None:
    feed = Feed("left")
    step_ns = 100_000
    lossy = [
        frame(seq=2 * i, captured_ns=at(0) + 2 * i * step_ns, next_ns=at(0) + (2 * i + 1) * step_ns)
        for i in range(4000)
    ]
    rest = [
        frame(seq=seq, captured_ns=at(0) + seq * step_ns, next_ns=at(0) + (seq + 1) * step_ns)
        for seq in range(7999, 20000)
    ]
    feed.send(*lossy, *rest)
    assert completeness(feed) == [False, True]
    assert feed.totals().gaps == 3999
