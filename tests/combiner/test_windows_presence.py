"""Sources that fall silent, return, start again, and end."""

from __future__ import annotations

import pytest

from framepair.nodes.combiner.pace import Rules
from framepair.protocol.wire.frame import EndReason
from tests.lib.feed import (
    Feed,
    alive,
    at,
    frame,
    frames,
    in_order_of_capture,
    index_of,
    seqs,
)
from tests.lib.units import MS, S


def missing(feed: Feed, source: str) -> list[str | None]:
    """Return what each pair said of a source."""
    return [pair.clips[source].missing for pair in feed.pairs]


def test_a_source_that_falls_silent_holds_windows_back_until_idle_timeout_only() -> None:
    feed = Feed(rules=Rules(max_wait_ns=S, idle_timeout_ns=3 * S // 2))
    feed.send(*in_order_of_capture(frames("left", range(60)), frames("right", range(12))))
    assert missing(feed, "right") == [None, "slow", "offline", "offline", "offline", "offline"]
    # The second window was waited for, later ones were not.
    ends = [pair.closed_ns - pair.end_ns for pair in feed.pairs]
    assert ends[1] > 500 * MS
    assert all(end < 0 for end in ends[3:])


def test_a_source_that_is_behind_is_slow_as_long_as_it_is_heard_of() -> None:
    feed = Feed()
    feed.send(*frames("right", [0]))
    for second in range(3):
        feed.send(*frames("left", range(second * 10, second * 10 + 10)))
        feed.send(*frames("right", [second + 1]), now_ns=at(second + 1.4))
        feed.tick(at(second + 1.5))
    assert missing(feed, "right") == ["slow", "slow", "slow"]
    assert feed.totals("right").late == 2


def test_a_slow_source_is_not_offline_as_long_as_it_says_that_it_is_alive() -> None:
    feed = Feed(rules=Rules(idle_timeout_ns=S))
    feed.send(frame("right", captured_ns=at(0), next_ns=at(0.5), fps=0.25))
    for half in range(1, 20):
        feed.send(*frames("left", range(5 * half - 5, 5 * half)))
        if half <= 14:
            feed.alive(alive("right", half / 2, 1, next_s=0.5))
    assert missing(feed, "right")[:7] == ["slow"] * 7
    assert missing(feed, "right")[-1] == "offline"


def test_a_source_that_returns_in_the_middle_of_a_window_covers_the_next_one() -> None:
    feed = Feed()
    right = frames("right", range(10)) + frames("right", range(10, 30), offset_ns=3500 * MS)
    feed.send(*in_order_of_capture(frames("left", range(65)), right))
    # It was not silent for long enough yet when the second window closed.
    assert missing(feed, "right") == [None, "slow", "offline", "offline", "offline", None]
    assert [pair.clips["right"].frames for pair in feed.pairs] == [10, 0, 0, 0, 5, 10]
    assert [pair.complete for pair in feed.pairs] == [True, False, False, False, False, True]


def test_a_source_whose_network_was_down_is_offline_too_when_it_returns() -> None:
    """It went on capturing, so its seq has a hole; part of the window isn't covered all the same."""
    feed = Feed()
    right = frames("right", [*range(10), *range(45, 65)])
    feed.send(*in_order_of_capture(frames("left", range(65)), right))
    assert missing(feed, "right") == [None, "slow", "offline", "offline", "offline", None]
    assert feed.pairs[4].clips["right"].gaps == 5
    assert feed.totals("right").dropped == {"transport": 35}


def test_a_short_freeze_of_a_camera_marks_the_window_that_it_was_in() -> None:
    feed = Feed("left")
    left = frames("left", range(13)) + frames("left", range(13, 30), offset_ns=400 * MS)
    feed.send(*left)
    assert missing(feed, "left") == [None, "offline", None]


def test_a_camera_that_slows_down_in_bad_light_still_covers_its_time() -> None:
    feed = Feed("left")
    feed.send(*[frame(seq=seq, captured_ns=at(0.2 * seq)) for seq in range(20)])
    assert missing(feed, "left") == [None, None, None]
    assert all(pair.complete for pair in feed.pairs)


@pytest.mark.parametrize("max_wait_ns", [0, 500 * MS, 30 * S])
def test_with_all_sources_silent_a_pair_a_window_still_comes(max_wait_ns: int) -> None:
    feed = Feed(rules=Rules(max_wait_ns=max_wait_ns))
    feed.send(*in_order_of_capture(frames("left", range(12)), frames("right", range(12))))
    for tenth in range(20, 1000):
        feed.tick(at(tenth / 10))
    last = index_of(99.9 - min(max_wait_ns, S // 2) / S)
    assert [pair.window for pair in feed.pairs] == list(range(index_of(0), last))
    assert set(missing(feed, "left")[3:]) == {"offline"}
    assert set(missing(feed, "right")[3:]) == {"offline"}


def test_a_restart_shows_in_the_spans_and_the_time_between_is_offline() -> None:
    feed = Feed()
    right = frames("right", range(10)) + frames("right", range(20), offset_ns=2300 * MS, run=2)
    feed.send(*in_order_of_capture(frames("left", range(45)), right))
    assert missing(feed, "right") == [None, "offline", "offline", None]
    spans = [
        [(span.run, span.first, span.count) for span in pair.clips["right"].spans]
        for pair in feed.pairs
    ]
    assert spans == [[(1, 0, 10)], [], [(2, 0, 7)], [(2, 7, 10)]]


def test_a_restart_within_a_window_marks_that_window_and_keeps_both_runs() -> None:
    feed = Feed("left")
    feed.send(*frames("left", range(4)), *frames("left", range(20), offset_ns=610 * MS, run=2))
    spans = [(span.run, span.first, span.count) for span in feed.pairs[0].clips["left"].spans]
    assert spans == [(1, 0, 4), (2, 0, 4)]
    assert missing(feed, "left") == ["offline", None]


def test_what_a_killed_producer_took_with_it_is_not_taken_for_covered() -> None:
    """The next run begins at once, and nobody knows if the former one had captured one frame more."""
    feed = Feed("left")
    feed.send(*frames("left", range(5)), *frames("left", range(20), offset_ns=540 * MS, run=2))
    assert not feed.pairs[0].complete
    assert feed.pairs[1].complete


def test_runs_that_overlap_are_kept_apart() -> None:
    feed = Feed("left")
    old = frames("left", range(8), run=1)
    new = frames("left", range(30), offset_ns=430 * MS, run=2)
    feed.send(*in_order_of_capture(old, new))
    assert len(feed.accepted) == 38
    assert feed.totals().gaps == feed.totals().rejected == 0
    assert missing(feed, "left")[1:] == [None, None]


def test_a_straggler_of_an_older_run_does_not_move_the_watermark_back() -> None:
    feed = Feed()
    feed.send(*frames("left", range(5)), *frames("right", range(10)), now_ns=at(0.96))
    feed.send(*frames("left", range(4), offset_ns=600 * MS, run=2), now_ns=at(0.96))
    assert len(feed.pairs) == 1
    feed.send(*frames("left", range(4, 14), offset_ns=600 * MS, run=2), now_ns=at(1.96))
    feed.send(*frames("left", [5]), now_ns=at(1.96))
    assert len(feed.send(*frames("right", range(10, 20)), now_ns=at(1.96))) == 1


@pytest.mark.parametrize("reason", ["finished", "stopped"])
def test_an_end_lets_windows_close_without_the_source(reason: EndReason) -> None:
    feed = Feed()
    feed.send(*in_order_of_capture(frames("left", range(14)), frames("right", range(14))))
    feed.end("right", 14, reason)
    feed.send(*frames("left", range(14, 30)))
    assert missing(feed, "right") == [None, "ended", "ended"]
    assert [pair.partial for pair in feed.pairs] == [False, True, False]
    assert [pair.clips["right"].frames for pair in feed.pairs] == [10, 4, 0]
    assert feed.totals("right").gaps == 0


def test_an_end_at_the_end_of_a_window_leaves_no_partial_one() -> None:
    feed = Feed("left")
    feed.send(*frames("left", range(10)))
    feed.end("left", 10)
    assert feed.flush() == []
    assert [(pair.complete, pair.partial) for pair in feed.pairs] == [(True, False)]


def test_finished_needs_every_source_to_be_over_for_good() -> None:
    feed = Feed()
    feed.send(*frames("left", range(3)), *frames("right", range(3)))
    assert not feed.windows.finished
    feed.end("left", 3)
    assert not feed.windows.finished
    feed.end("right", 3, "stopped")
    assert not feed.windows.finished
    feed.end("right", 3)
    assert feed.windows.finished


def test_frames_lost_at_the_end_are_counted_where_they_would_have_been() -> None:
    feed = Feed("left")
    feed.send(*frames("left", range(8)))
    feed.end("left", 13)
    feed.flush()
    assert feed.totals().dropped == {"transport": 5}
    assert [pair.clips["left"].gaps for pair in feed.pairs] == [2]
    assert not feed.pairs[0].complete


def test_the_partial_window_is_the_one_in_which_the_last_frames_were_lost() -> None:
    feed = Feed()
    feed.send(*in_order_of_capture(frames("left", range(9)), frames("right", range(8))))
    feed.end("right", 13)
    feed.send(*frames("left", range(9, 30)))
    assert [pair.partial for pair in feed.pairs] == [False, True, False]
    assert [pair.clips["right"].gaps for pair in feed.pairs] == [2, 3, 0]
    assert missing(feed, "right") == ["ended"] * 3


def test_a_promise_of_a_slow_source_is_believed() -> None:
    """One frame in ten seconds: the windows between them are complete, and nobody waits for more."""
    feed = Feed()
    slow = [frame("right", seq=seq, fps=0.1) for seq in range(3)]
    feed.send(*in_order_of_capture(frames("left", range(250)), slow))
    assert len(feed.pairs) == 25
    assert all(pair.complete for pair in feed.pairs)
    assert all(pair.closed_ns < pair.end_ns for pair in feed.pairs[1:9])


def test_a_source_that_was_stopped_may_return_with_a_new_run() -> None:
    feed = Feed()
    feed.send(*in_order_of_capture(frames("left", range(14)), frames("right", range(14))))
    feed.end("right", 14, "stopped")
    feed.send(*frames("left", range(14, 25)))
    right = frames("right", range(30), run=2, offset_ns=2650 * MS)
    feed.send(*in_order_of_capture(frames("left", range(25, 50)), right))
    assert missing(feed, "right") == [None, "ended", "offline", None, None]
    assert [pair.complete for pair in feed.pairs] == [True, False, False, True, True]


def test_the_end_of_an_older_run_does_not_end_its_successor() -> None:
    feed = Feed()
    feed.send(*frames("left", range(3)), *frames("left", range(2), offset_ns=600 * MS, run=2))
    feed.send(*frames("right", range(8)))
    feed.end("left", 5, "stopped", run=1)
    assert feed.send(*frames("right", range(8, 12))) == []
    feed.send(*frames("left", range(2, 10), offset_ns=600 * MS, run=2), now_ns=feed.now_ns)
    assert feed.pairs[0].clips["left"].missing == "offline"
    assert feed.totals("left").dropped == {"transport": 2}


def test_the_end_of_a_run_that_never_got_a_frame_through_ends_the_source() -> None:
    feed = Feed("left")
    feed.send(*frames("left", range(3)))
    feed.end("left", 4, run=2)
    assert feed.windows.finished
    assert feed.totals().gaps == 4


def test_a_frame_that_comes_after_the_end_of_its_run_does_not_bring_the_source_back() -> None:
    feed = Feed("left")
    feed.send(*frames("left", [0, 1, 3]))
    feed.end("left", 4)
    feed.send(*frames("left", [2]))
    assert feed.windows.finished
    assert feed.totals().gaps == 0
    (pair,) = feed.flush()
    assert seqs(pair.clips["left"]) == [0, 1, 2, 3]


def test_one_producer_goes_on_after_another_of_the_same_name_ended() -> None:
    feed = Feed("left")
    feed.send(*frames("left", range(5), run=1))
    feed.send(*frames("left", range(2), run=2, offset_ns=450 * MS))
    feed.end("left", 2, "stopped", run=2)
    feed.send(*frames("left", range(5, 25), run=1))
    assert missing(feed, "left")[1] is None
    feed.end("left", 25, run=1)
    assert feed.windows.finished
