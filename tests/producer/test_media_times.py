"""Times of frames by rule: the container's own, and what is made of those that can't be."""

from __future__ import annotations

import itertools
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framepair.nodes.producer.sources.media_times import MediaTimes
from tests.lib.units import MS

TICK = Fraction(1, 1000)


def placed(pts: list[int | None], *, discontinuous: bool = False, base_ns: int = 0) -> list[float]:
    """Return the times in milliseconds of frames at 25 fps whose container counts milliseconds."""
    times = MediaTimes(period_ns=40 * MS, tick=TICK, discontinuous=discontinuous, base_ns=base_ns)
    return [times.place(each) / MS for each in pts]


def test_own_times_are_kept() -> None:
    assert placed([0, 33, 69, 100, 3600_000]) == [0, 33, 69, 100, 3600_000]


def test_times_count_from_where_the_container_starts() -> None:
    times = MediaTimes(period_ns=40 * MS, tick=Fraction(1, 90000), start=Fraction(3, 10))
    assert [times.place(pts) for pts in (27000, 30600)] == [0, 40 * MS]
    late = MediaTimes(period_ns=40 * MS, tick=Fraction(1, 90000))
    assert late.place(180000) == 2000 * MS


def test_a_pass_begins_where_the_one_before_ended() -> None:
    assert placed([0, 40], base_ns=400 * MS) == [400, 440]


def test_missing_times_go_on_at_the_nominal_rate() -> None:
    assert placed([None, None, None]) == [0, 40, 80]
    assert placed([0, 40, None, 120]) == [0, 40, 80, 120]


def test_times_that_go_back_go_on_from_there() -> None:
    assert placed([0, 40, 80, 0, 50, 90]) == [0, 40, 80, 120, 170, 210]


@pytest.mark.parametrize(
    ("discontinuous", "expected"), [(True, [0, 40, 80, 120]), (False, [0, 40, 10_041, 10_081])]
)
def test_a_jump_counts_only_where_times_may_jump(
    discontinuous: bool, expected: list[float]
) -> None:
    assert placed([0, 40, 10_041, 10_081], discontinuous=discontinuous) == expected


def test_a_short_pause_is_kept_where_times_may_jump() -> None:
    assert placed([0, 40, 9000], discontinuous=True) == [0, 40, 9000]


def test_frames_within_one_tick_keep_their_order_and_their_time() -> None:
    found = placed([0, 0, 0, 1, 1, 2])
    assert found == sorted(set(found))
    assert all(abs(at - pts) < 1 for at, pts in zip(found, [0, 0, 0, 1, 1, 2], strict=True))


def test_what_is_wrong_is_said_once() -> None:
    said: list[str] = []
    times = MediaTimes(period_ns=40 * MS, tick=TICK, say=said.append)
    for pts in (0, 40, 0, None, 0):
        times.place(pts)
    assert said == ["has times that go back by 0.04 s: going on at 25 fps from there"]


@given(st.lists(st.none() | st.integers(-(10**7), 10**7)), st.booleans())
def test_times_increase_whatever_the_container_says(
    pts: list[int | None], discontinuous: bool
) -> None:
    found = placed(pts, discontinuous=discontinuous)
    assert all(late > early for early, late in itertools.pairwise(found))
    assert all(at >= 0 for at in found)


@given(st.sets(st.integers(0, 10**6), min_size=1))
def test_times_that_increase_are_never_touched(pts: set[int]) -> None:
    assert placed([*sorted(pts)]) == sorted(pts)
