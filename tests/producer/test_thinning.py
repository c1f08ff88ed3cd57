"""Which frames are taken when fewer a second are wanted."""

from __future__ import annotations

import random
from collections.abc import Iterable

import numpy as np
import pytest
from numpy.typing import NDArray

from framepair.nodes.producer.sources.source import Format, Position
from framepair.nodes.producer.sources.thinning import Thinned, Thinning

MS = 1_000_000
# 20 July 2025, in the middle of a second.
BEGAN_NS = 1_753_000_000_123_456_789


def taken(fps: float, own_fps: float, times_ns: Iterable[int]) -> list[int]:
    thinning = Thinning(fps, own_fps)
    found = []
    for at_ns in times_ns:
        earliest_ns = thinning.earliest_ns
        if thinning.takes(at_ns):
            assert at_ns >= earliest_ns
            found.append(at_ns)
    return found


def steady(fps: float, count: int, began_ns: int = 0, jitter_ms: float = 0) -> list[int]:
    chance = random.Random(1)
    period_ns = 1e9 / fps
    return [
        began_ns + round(n * period_ns + chance.uniform(-1, 1) * jitter_ms * MS)
        for n in range(count)
    ]


def test_of_a_file_each_nth_frame_is_taken_from_the_first_on() -> None:
    assert taken(5, 25, steady(25, 100)) == steady(25, 100)[::5]
    assert taken(10, 30, steady(30, 90)) == steady(30, 90)[::3]


@pytest.mark.parametrize("fps", [1, 5, 7, 12.5, 20, 24, 29])
@pytest.mark.parametrize("began_ns", [0, BEGAN_NS])
def test_the_rate_is_held_in_the_mean(fps: float, began_ns: int) -> None:
    found = taken(fps, 30, steady(30, 3000, began_ns))
    assert len(found) == pytest.approx(100 * fps, abs=2)
    gaps_ns = np.diff(found)[2:]
    own_ns = 1e9 / 30
    assert gaps_ns.min() >= 1e9 / fps - 1.001 * own_ns
    assert gaps_ns.max() <= 1e9 / fps + 1.001 * own_ns


@pytest.mark.parametrize("fps", [25, 25.1, 30, 240])
@pytest.mark.parametrize("jitter_ms", [0, 15, 19])
@pytest.mark.parametrize("began_ns", [0, 20 * MS, BEGAN_NS])
def test_a_source_that_is_slower_keeps_all_frames(
    fps: float, jitter_ms: float, began_ns: int
) -> None:
    times_ns = steady(25, 1000, began_ns + 100 * MS, jitter_ms)
    assert taken(fps, 25, times_ns) == times_ns


def test_sources_with_the_same_clock_keep_frames_of_the_same_moments() -> None:
    left = taken(5, 25, steady(25, 1000, BEGAN_NS))
    right = taken(5, 30, steady(30, 1200, BEGAN_NS + 11 * MS))
    apart_ns = [abs(a - b) for a, b in zip(left[1:], right[1:], strict=False)]
    assert max(apart_ns) <= (40 + 34) / 2 * MS


def test_after_a_pause_the_next_frame_is_taken() -> None:
    times_ns = [*steady(25, 10), *steady(25, 10, 3_600_000 * MS + 10 * MS)]
    found = taken(5, 25, times_ns)
    assert found[:2] == times_ns[:10:5]
    assert found[2] == times_ns[10]


def test_times_that_go_back_do_not_stop_it() -> None:
    thinning = Thinning(5, 25)
    found = [thinning.takes(at_ns) for at_ns in [*steady(25, 10, BEGAN_NS), *steady(25, 100)]]
    assert sum(found) == pytest.approx(22, abs=1)


class Numbered:
    """A capture of ``count`` frames at 25 frames a second."""

    format = Format((36, 64, 1), "mono8", 25.0, total=100)
    reopened, skipped = 3, 0

    def __init__(self, count: int) -> None:
        self.left, self.number = count, -1

    @property
    def position(self) -> Position | None:
        return Position(self.number * 40 * MS, (self.number + 1) * 40 * MS)

    def grab(self) -> bool:
        self.number += 1
        return self.number < self.left

    def retrieve(self, out: NDArray[np.uint8], seq: int, captured_ns: int) -> NDArray[np.uint8]:
        out[:] = self.number
        return out

    def close(self) -> None:
        self.left = 0


def test_a_thinned_capture_counts_what_it_leaves_out() -> None:
    beats: list[None] = []
    thinned = Thinned(Numbered(100), 5, beat=lambda: beats.append(None))
    assert (thinned.format.fps, thinned.format.total, thinned.reopened) == (5, 0, 3)
    for n in range(20):
        assert thinned.grab()
        assert thinned.position is not None
        assert thinned.position.at_ns == n * 200 * MS
        assert thinned.skipped == 4 * n
        # Not sooner: a pair's window may close before that.
        assert thinned.position.next_ns == (n + 1) * 200 * MS - 20 * MS
        assert thinned.retrieve(np.zeros((36, 64, 1), np.uint8), 0, 0).max() == 5 * n
    assert not thinned.grab()
    assert thinned.skipped == 80
    assert len(beats) == 80


def test_a_capture_that_is_slower_is_as_it_was() -> None:
    thinned = Thinned(Numbered(100), 30)
    assert thinned.format == Numbered.format
    assert sum(iter(thinned.grab, False)) == 100
    assert thinned.skipped == 0


def test_leaving_out_can_be_stopped() -> None:
    source = Numbered(10**9)
    thinned = Thinned(source, 0.001, stopped=lambda: source.number >= 50)
    assert thinned.grab()
    assert not thinned.grab()
    assert thinned.skipped == 50


class Untimed(Numbered):
    """The same, of frames that bear no time."""

    @property
    def position(self) -> None:
        return None


def test_frames_without_a_time_of_their_own_are_taken_by_the_clock() -> None:
    times_ns = iter(steady(25, 101, BEGAN_NS))
    thinned = Thinned(Untimed(100), 5, now_ns=lambda: next(times_ns))
    assert sum(iter(thinned.grab, False)) == pytest.approx(20, abs=1)
    assert thinned.position is None
