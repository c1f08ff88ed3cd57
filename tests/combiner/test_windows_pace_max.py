"""Offline: media time, nothing dropped, no clock, the same pairs at every run."""

from __future__ import annotations

import random
from itertools import groupby

import pytest

from framepair.nodes.combiner.pace import Rules
from framepair.protocol.wire.frame import FrameHeader
from framepair.protocol.wire.pair import PairHeader
from tests.lib.feed import Feed, frame, seqs
from tests.lib.units import S

MAX = Rules(pace="max")


def media(source: str, count: int, *, fps: float = 10.0, begin_ns: int = 0) -> list[FrameHeader]:
    """Return a whole video."""
    return [
        frame(
            source,
            seq,
            fps=fps,
            captured_ns=begin_ns + round(seq * 1e9 / fps),
            next_ns=begin_ns + round((seq + 1) * 1e9 / fps),
        )
        for seq in range(count)
    ]


def interleaved(videos: list[list[FrameHeader]], seed: int) -> list[FrameHeader]:
    """Return the frames of several videos in some order that keeps the order of each."""
    chance = random.Random(seed)
    left = [list(reversed(video)) for video in videos]
    merged = []
    while any(left):
        merged.append(chance.choice([video for video in left if video]).pop())
    return merged


def play(videos: list[list[FrameHeader]], seed: int) -> Feed:
    """Send whole videos, each with its end, and with a clock that makes no sense."""
    feed = Feed(" ".join(video[0].source for video in videos), MAX)
    clock = random.Random(-seed)
    for header in interleaved(videos, seed):
        feed.send(header, now_ns=clock.randrange(2**62))
        if header.seq == len(videos[0]) - 1 and header.source == videos[0][0].source:
            feed.end(header.source, header.seq + 1)
    for video in videos[1:]:
        feed.end(video[0].source, len(video))
    return feed


def contents(pair: PairHeader) -> object:
    """Return what must be the same at every run: all but times and counters."""
    clips = {
        source: (clip.spans, clip.expected, clip.gaps, clip.missing)
        for source, clip in pair.clips.items()
    }
    return pair.seq, pair.window, pair.complete, pair.partial, clips


VIDEOS = [
    media("left", 95),
    media("right", 300, fps=29.97),
    media("top", 31, begin_ns=2500_000_000),
]


@pytest.mark.parametrize("seed", range(20))
def test_the_same_videos_give_the_same_pairs_whatever_the_clock_says(seed: int) -> None:
    feed = play(VIDEOS, seed)
    assert [contents(pair) for pair in feed.pairs] == [
        contents(pair) for pair in play(VIDEOS, 0).pairs
    ]


def test_every_frame_is_paired_by_media_time() -> None:
    feed = play(VIDEOS, 1)
    assert feed.windows.finished
    assert [pair.window for pair in feed.pairs] == list(range(10))
    for video in VIDEOS:
        source = video[0].source
        expected = {k: len(list(v)) for k, v in groupby(video, lambda h: h.captured_ns // S)}
        assert {p.window: p.clips[source].frames for p in feed.pairs} == {
            k: expected.get(k, 0) for k in range(10)
        }
        totals = feed.totals(source)
        assert (totals.captured, totals.paired, totals.dropped) == (len(video), len(video), {})


def test_the_last_window_of_a_video_is_partial() -> None:
    feed = play([media("left", 25), media("right", 30)], 1)
    assert [pair.partial for pair in feed.pairs] == [False, False, True]
    assert [pair.clips["left"].missing for pair in feed.pairs] == [None, None, "ended"]
    assert [pair.complete for pair in feed.pairs] == [True, True, False]


def test_windows_close_by_watermark_only() -> None:
    feed = Feed(rules=MAX)
    feed.send(*media("left", 50), media("right", 1)[0], now_ns=0)
    assert feed.tick(2**62) == []
    assert len(feed.send(*media("right", 10)[1:], now_ns=0)) == 1


def test_nothing_is_dropped_while_a_source_has_not_begun() -> None:
    feed = Feed(rules=MAX)
    feed.send(*media("left", 50), now_ns=10**18)
    assert feed.totals("left").open == 50
    feed.send(*media("right", 50), now_ns=10**18)
    assert [pair.complete for pair in feed.pairs] == [True] * 5


def test_a_source_that_has_no_frame_at_all_is_not_waited_for() -> None:
    feed = Feed(rules=MAX)
    feed.send(*media("left", 10), now_ns=0)
    assert feed.pairs == []
    (pair,) = feed.end("right", 0)
    assert pair.clips["right"].missing == "ended"


def test_a_first_frame_in_the_middle_of_a_window_is_no_reason_to_drop_it() -> None:
    feed = Feed("left", MAX)
    feed.send(*media("left", 20, begin_ns=500_000_000), now_ns=0)
    assert [pair.clips["left"].frames for pair in feed.pairs] == [5, 10]
    assert [pair.clips["left"].missing for pair in feed.pairs] == ["not_started", None]


def test_empty_windows_between_others_are_announced_too() -> None:
    feed = Feed("left", MAX)
    feed.send(*media("left", 10), frame(seq=10, captured_ns=9 * S, next_ns=10 * S), now_ns=0)
    assert [pair.window for pair in feed.pairs] == list(range(10))


@pytest.mark.parametrize("seed", range(5))
def test_of_an_hour_without_any_frame_only_the_beginning_is_announced(seed: int) -> None:
    late_ns = 3000 * S
    left = [*media("left", 30), frame(seq=30, captured_ns=late_ns)]
    right = [*media("right", 25), frame("right", seq=25, captured_ns=late_ns + 5 * S)]
    feed = play([left, right], seed)
    assert [pair.window for pair in feed.pairs] == [*range(13), *range(3000, 3006)]


def test_no_window_is_passed_over_that_a_slower_source_has_not_reached() -> None:
    feed = Feed(rules=MAX)
    feed.send(frame(captured_ns=0), frame(seq=1, captured_ns=3000 * S), now_ns=0)
    feed.send(frame("right", captured_ns=0, next_ns=20 * S), now_ns=0)
    feed.send(frame("right", seq=1, captured_ns=50 * S, next_ns=3001 * S), now_ns=0)
    assert [pair.window for pair in feed.pairs] == [*range(11), *range(50, 61), 3000][
        : len(feed.pairs)
    ]
    assert feed.totals("right").paired == 2


def test_a_jump_beyond_all_reason_is_dropped() -> None:
    feed = Feed("left", MAX)
    feed.send(*media("left", 10), frame(seq=10, captured_ns=2**62), now_ns=0)
    assert feed.totals().dropped == {"future": 1}
    assert len(feed.pairs) == 1


def test_losses_are_counted_in_any_pace() -> None:
    feed = Feed("left", MAX)
    video = media("left", 30)
    feed.send(*video[:12], *video[15:], now_ns=0)
    assert [pair.clips["left"].gaps for pair in feed.pairs] == [0, 3, 0]


def test_flush_closes_what_a_stopped_run_had_read() -> None:
    feed = Feed(rules=MAX)
    feed.send(*media("left", 35), *media("right", 12), now_ns=0)
    assert len(feed.pairs) == 1
    pairs = feed.flush()
    assert [pair.clips["left"].frames for pair in pairs] == [10, 10, 5]
    assert [pair.clips["right"].frames for pair in pairs] == [2, 0, 0]


def test_a_video_in_media_time_may_begin_anywhere_within_an_hour() -> None:
    feed = Feed("left", MAX)
    feed.send(*media("left", 10, begin_ns=3600 * S), now_ns=0)
    assert [pair.window for pair in feed.pairs] == [3600]


def test_frames_of_a_source_are_in_order_in_its_clips() -> None:
    feed = play(VIDEOS, 3)
    got = [seq for pair in feed.pairs for seq in seqs(pair.clips["right"])]
    assert got == list(range(300))
