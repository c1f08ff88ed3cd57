"""Which window a frame lands in, and when a window closes."""

from __future__ import annotations

import itertools
import random

import pytest
from msgspec.structs import replace

from framepair.nodes.combiner.open_windows import ReceivedFrame
from framepair.nodes.combiner.pace import Rules
from tests.lib.feed import (
    BEGIN_NS,
    DELAY_NS,
    Feed,
    at,
    frame,
    frames,
    in_order_of_capture,
    index_of,
    seqs,
)
from tests.lib.units import MS, S


def test_a_frame_lands_in_the_window_of_its_capture_time() -> None:
    feed = Feed("left")
    feed.send(*frames("left", range(25)))
    assert [header.window for header in feed.accepted] == [index_of(seq / 10) for seq in range(25)]


@pytest.mark.parametrize("window_ns", [40 * MS, S // 3, 2 * S])
def test_a_window_begins_with_its_first_nanosecond_and_ends_before_the_next(window_ns: int) -> None:
    feed = Feed("left", Rules(window_ns=window_ns))
    begin_ns = (BEGIN_NS // window_ns + 1) * window_ns
    stamps = [begin_ns, begin_ns + 1, begin_ns + window_ns - 1, begin_ns + window_ns]
    for seq, stamp in enumerate(stamps):
        feed.send(frame(seq=seq, captured_ns=stamp, next_ns=stamp + 1))
    index = begin_ns // window_ns
    assert [header.window for header in feed.accepted] == [index, index, index, index + 1]


def test_an_accepted_frame_says_its_window_and_when_the_combiner_had_it() -> None:
    feed = Feed("left", Rules(window_ns=2 * S))
    (accepted,) = feed.windows.frame(ReceivedFrame(frame(), "pixels", at(0.1)))
    assert accepted.pixels == "pixels"
    assert (accepted.header.window, accepted.header.window_ns) == (BEGIN_NS // (2 * S), 2 * S)
    assert accepted.header.received_ns == at(0.1)


def test_a_clip_says_of_its_newest_frame_what_consumers_without_frames_should_know() -> None:
    feed = Feed("left right", Rules(max_wait_ns=2 * S))
    known = {"stamp": "driver", "stamp_uncertainty_ns": 3, "uncertainty_ns": 4}
    sent = [replace(each, **known) for each in frames("left", range(10))]
    sent[2] = replace(sent[2], stamp_uncertainty_ns=50)
    newest = sent[9] = replace(sent[9], stamp="camera")
    # The newest is the one that was captured last, not the one that came last.
    for headers in ([*sent[:8], newest, sent[8]], frames("right", range(10))):
        feed.send(*headers, now_ns=at(0.95))
    feed.tick(at(2))
    clip = feed.pairs[0].clips["left"]
    assert (clip.newest_ns, clip.sent_ns) == (newest.captured_ns, newest.sent_ns)
    assert (clip.stamp, clip.fps, clip.uncertainty_ns) == ("camera", newest.fps, 54)
    assert (clip.height, clip.width) == newest.shape[:2]
    assert feed.pairs[0].clips["right"].uncertainty_ns is None


@pytest.mark.parametrize("order", list(itertools.permutations(["left", "right", "top"])))
def test_the_order_of_arrival_among_sources_does_not_matter(order: tuple[str, ...]) -> None:
    feed = Feed("left right top", Rules(max_wait_ns=2 * S))
    for second in range(3):
        for source in order:
            batch = frames(source, range(second * 10, second * 10 + 10))
            feed.send(*batch, now_ns=at(second + 0.95))
    assert [pair.window for pair in feed.pairs] == [index_of(second) for second in range(3)]
    for second, pair in enumerate(feed.pairs):
        assert pair.complete
        for clip in pair.clips.values():
            assert seqs(clip) == list(range(second * 10, second * 10 + 10))


@pytest.mark.parametrize("seed", range(10))
def test_the_order_of_arrival_within_a_source_does_not_matter(seed: int) -> None:
    feed = Feed(rules=Rules(max_wait_ns=2 * S))
    for second in range(3):
        # The last of a window promises that the window is over, and the very first says where to begin.
        first, *rest, last = range(second * 10, second * 10 + 10)
        random.Random(seed + second).shuffle(rest)
        for source in ("left", "right"):
            feed.send(*frames(source, [first, *rest, last]), now_ns=at(second + 0.95))
    assert [pair.complete for pair in feed.pairs] == [True] * 3
    assert [seqs(pair.clips["left"]) for pair in feed.pairs] == [
        list(range(10)),
        list(range(10, 20)),
        list(range(20, 30)),
    ]
    assert feed.totals("left").gaps == feed.totals("right").gaps == 0


def test_spans_are_in_order_of_capture() -> None:
    feed = Feed("left")
    stamps_ms = [0, 200, 100, 300]
    headers = [frame(seq=i, captured_ns=at(ms / 1000)) for i, ms in enumerate(stamps_ms)]
    (pair,) = feed.send(*headers, frame(seq=4, captured_ns=at(1)))
    assert seqs(pair.clips["left"]) == [0, 2, 1, 3]


def test_a_window_closes_once_every_watermark_has_passed_its_end_even_before_its_end() -> None:
    feed = Feed()
    assert feed.send(*frames("left", range(10)), now_ns=at(0.96)) == []
    assert feed.send(*frames("right", range(9)), now_ns=at(0.96)) == []
    (pair,) = feed.send(*frames("right", [9]), now_ns=at(0.96))
    assert pair.complete
    assert (pair.start_ns, pair.end_ns, pair.closed_ns) == (at(0), at(1), at(0.96))


@pytest.mark.parametrize("fps", [0.5, 10.0, 25.0, 200.0])
def test_a_promise_closes_a_window_50_ms_before_its_end_at_most(fps: float) -> None:
    feed = Feed("left")
    feed.receive(frame(fps=fps, next_ns=at(5)), at(0.1))
    assert feed.tick(at(1) - 50 * MS - 1) == []
    (pair,) = feed.tick(at(1) - 50 * MS)
    assert pair.complete


def test_sources_that_all_have_promised_are_not_kept_for_half_a_period() -> None:
    feed = Feed()
    left, right = ([frame(side, seq, fps=25.0) for seq in range(25)] for side in ("left", "right"))
    assert feed.send(*left, *right[:-1], now_ns=at(0.961)) == []
    (pair,) = feed.send(right[-1], now_ns=at(0.962))
    assert (pair.complete, pair.closed_ns) == (True, at(0.962))


def test_a_fast_source_that_is_away_bounds_how_early_windows_close() -> None:
    """It may return at any moment: no more than half a frame of it can be late then."""
    feed = Feed(rules=Rules(idle_timeout_ns=500 * MS))
    feed.receive(frame("right", fps=100.0), at(0))
    feed.receive(frame("left", fps=1.0, next_ns=at(5)), at(0))
    assert feed.tick(at(1) - 5 * MS - 1) == []
    (pair,) = feed.tick(at(1) - 5 * MS)
    assert pair.clips["right"].missing == "offline"


def test_a_window_closes_before_its_end_if_the_next_frame_is_promised_for_later() -> None:
    feed = Feed("left")
    feed.receive(frame(captured_ns=at(0), next_ns=at(1.5)), at(0.1))
    assert feed.tick(at(0.94)) == []
    (pair,) = feed.tick(at(0.95))
    assert pair.complete
    assert pair.clips["left"].frames == 1


def test_a_promise_that_stops_just_before_the_end_does_not_close_a_window() -> None:
    feed = Feed("left")
    assert feed.send(frame(captured_ns=at(0), next_ns=at(1) - 1)) == []
    assert len(feed.send(frame(seq=1, captured_ns=at(1) - 1, next_ns=at(1)))) == 1


def test_a_source_that_is_behind_holds_a_window_back_no_longer_than_max_wait() -> None:
    feed = Feed(rules=Rules(max_wait_ns=300 * MS))
    feed.send(*in_order_of_capture(frames("left", range(12)), frames("right", range(5))))
    assert feed.tick(at(1.3) - 1) == []
    (pair,) = feed.tick(at(1.3))
    assert not pair.complete
    assert (pair.clips["left"].missing, pair.clips["right"].missing) == (None, "slow")
    assert (pair.clips["left"].frames, pair.clips["right"].frames) == (10, 5)


def test_a_clip_says_how_many_frames_it_should_have_and_when_the_newest_came() -> None:
    feed = Feed("left", Rules(window_ns=S // 2))
    (pair,) = feed.send(*frames("left", range(4)), now_ns=at(0.4)) + feed.send(*frames("left", [4]))
    clip = pair.clips["left"]
    assert (clip.expected, clip.received_ns) == (5, at(0.4) + DELAY_NS)


def test_the_newest_frame_need_not_come_last() -> None:
    feed = Feed("left")
    feed.receive(frame(), at(0.2))
    feed.receive(frame(seq=1, next_ns=at(1)), at(0.2) - 7)
    (pair,) = feed.windows.closed(at(0.99))
    assert pair.clips["left"].received_ns == at(0.2)


def test_late_frames_are_counted_and_not_delivered() -> None:
    feed = Feed()
    feed.send(*in_order_of_capture(frames("left", range(15)), frames("right", range(5))))
    feed.tick(at(1.5))
    delivered = len(feed.accepted)
    feed.send(*frames("right", range(5, 10)), now_ns=at(1.51))
    assert len(feed.accepted) == delivered
    assert feed.totals("right").late == 5
    (pair,) = feed.send(*frames("right", range(10, 20)), *frames("left", range(15, 20)))
    assert pair.clips["right"].late == 5
    assert pair.clips["right"].totals.late == 5


def test_a_duplicate_is_rejected_and_never_delivered_twice() -> None:
    feed = Feed("left")
    feed.send(*frames("left", [0, 1, 1, 2, 0]))
    assert [header.seq for header in feed.accepted] == [0, 1, 2]
    assert feed.totals().rejected == 2
    assert feed.totals().captured == 3


def test_a_duplicate_of_a_frame_that_was_paired_is_rejected() -> None:
    feed = Feed("left")
    feed.send(*frames("left", range(12)))
    feed.send(*frames("left", range(10)))
    assert (feed.totals().rejected, feed.totals().late) == (10, 0)


def test_a_pair_counts_its_own_frames_as_paired_in_the_totals_that_it_announces() -> None:
    feed = Feed("left")
    (pair,) = feed.send(*frames("left", range(10)))
    totals = pair.clips["left"].totals
    assert (totals.captured, totals.paired, totals.open) == (10, 10, 0)


@pytest.mark.parametrize("stop", [True, False])
def test_flush_closes_all_windows_that_hold_frames(stop: bool) -> None:
    feed = Feed()
    feed.send(*in_order_of_capture(frames("left", range(14)), frames("right", range(5))))
    pairs = feed.flush(stop=stop)
    assert [pair.window for pair in pairs] == [index_of(0), index_of(1)]
    assert [pair.partial for pair in pairs] == [True, True]
    assert [pair.clips["left"].missing for pair in pairs] == [None, "ended"]
    assert [pair.clips["right"].missing for pair in pairs] == ["ended", "ended"]


def test_flush_without_any_frame_has_nothing_to_say() -> None:
    assert Feed().flush() == []


@pytest.mark.parametrize(("stop", "frames_delivered"), [(True, 5), (False, 0)])
def test_frames_that_still_wait_for_the_first_window_are_counted_at_the_end(
    stop: bool, frames_delivered: int
) -> None:
    feed = Feed()
    feed.send(*frames("left", range(5)))
    pairs = feed.flush(stop=stop)
    assert sum(pair.clips["left"].frames for pair in pairs) == frames_delivered
    assert feed.totals().dropped.get("startup", 0) == 5 - frames_delivered


def test_a_long_pause_of_the_combiner_does_not_make_a_pair_for_every_second_of_it() -> None:
    feed = Feed()
    feed.send(*in_order_of_capture(frames("left", range(15)), frames("right", range(15))))
    hour = range(36000, 36015)
    both = in_order_of_capture(frames("left", hour), frames("right", hour))
    pairs = feed.send(*both, now_ns=at(3601.4))
    assert len(pairs) < 20
    assert feed.pairs[-1].window == index_of(3600)
    assert feed.totals("left").late == 0


def test_the_pause_is_skipped_after_what_was_received_before_it() -> None:
    feed = Feed("left")
    feed.send(*frames("left", range(15)))
    # All of this arrived while nobody looked at the clock.
    for header in frames("left", [*range(15, 20), *range(36000, 36010)]):
        feed.receive(header, at(3601.4))
    pairs = list(feed.windows.closed(at(3601.5)))
    assert len(pairs) < 20
    assert (pairs[0].window, pairs[-1].window) == (index_of(1), index_of(3600))
    assert pairs[0].clips["left"].frames == 10


def test_a_pause_is_not_skipped_before_its_windows_are_due() -> None:
    """A stream that is known to be 40 s behind: each window waits so long."""
    feed = Feed("left", Rules(max_wait_ns=60 * S))
    feed.send(*frames("left", range(10)), now_ns=at(40))
    feed.tick(at(40.5))
    feed.send(*frames("left", range(10, 400)), now_ns=at(41))
    feed.tick(at(41))
    assert [pair.window for pair in feed.pairs] == [index_of(second) for second in range(40)]
    assert feed.totals().late == 0
