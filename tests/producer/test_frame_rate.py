"""How fast streams really send, and whether they are live at all: pure arithmetic of times."""

from __future__ import annotations

import itertools
import random

import pytest

from framepair.nodes.producer.sources.frame_rate import FrameRate
from framepair.nodes.producer.sources.served import Served
from tests.lib.units import MS, S


def measured(named: float, fps: float, count: int, *, lost: int = 0, jitter_ms: float = 0) -> float:
    chance = random.Random(1)
    rate = FrameRate(named, by_arrival=jitter_ms > 0)
    at_ns = 0
    for number in range(count):
        if lost and number % lost == 0:
            continue
        late_ns = round(chance.uniform(0, jitter_ms) * MS)
        at_ns = max(at_ns + 1, round(number / fps * S) + late_ns)
        rate.add_frame(at_ns)
    return rate.fps


@pytest.mark.parametrize(("named", "fps"), [(25, 5), (25, 50), (30, 12.5), (120, 25), (25, 0.5)])
def test_a_rate_that_is_not_right_is_replaced(named: float, fps: float) -> None:
    assert measured(named, fps, 120) == pytest.approx(fps, rel=0.001)


@pytest.mark.parametrize("fps", [24.5, 25.02, 26.9])
def test_a_rate_that_is_about_right_stays_as_it_is_named(fps: float) -> None:
    assert measured(25, fps, 200) == 25


def test_frames_that_are_lost_make_a_stream_no_slower() -> None:
    assert measured(25, 25, 400, lost=4) == 25


def test_a_burst_is_no_other_rate() -> None:
    rate = FrameRate(25)
    at_ns = 0
    for number in range(300):
        at_ns += 2 * MS if 100 <= number < 155 else 40 * MS
        rate.add_frame(at_ns)
        assert rate.fps == 25


def test_jitter_of_the_camera_s_own_does_not_count() -> None:
    chance = random.Random(3)
    rate = FrameRate(25)
    for number in range(1000):
        rate.add_frame(round((number + chance.uniform(-0.45, 0.45)) * 40 * MS))
        assert rate.fps == 25


def test_by_arrival_jitter_does_not_count() -> None:
    assert measured(25, 10, 200, jitter_ms=80) == pytest.approx(10, rel=0.1)


def test_media_time_that_begins_anew_is_no_gap() -> None:
    rate = FrameRate(25)
    for number in itertools.chain(range(40), range(40)):
        rate.add_frame(number * 40 * MS)
    assert (rate.fps, rate.least_gap_ns) == (25, 40 * MS)


def test_two_frames_tell_the_least_gap() -> None:
    rate = FrameRate(25)
    assert rate.least_gap_ns is None
    rate.add_frame(0)
    rate.add_frame(7 * MS)
    assert rate.least_gap_ns == 7 * MS


def served(seconds: float, taking_s: float, begins_with_s: float = 0) -> Served:
    """Return what came of a stream of ``seconds`` that took ``taking_s``, a lump of it at once."""
    found = Served(opened_ns=5 * S)
    count = int(seconds * 25)
    for number in range(count):
        pts_s = number / 25
        late_s = max(0.0, pts_s - begins_with_s) * taking_s / seconds
        found.add(round(pts_s * S), 5 * S + round(late_s * S))
    return found


def test_a_recording_comes_faster_than_it_plays() -> None:
    assert served(30, 1).is_ahead
    assert served(4, 0.5).was_recorded
    assert not served(4, 0.5).is_ahead


@pytest.mark.parametrize("begins_with_s", [0, 4])
def test_a_live_stream_does_not_even_if_it_begins_with_the_past(begins_with_s: float) -> None:
    found = served(60, 60, begins_with_s)
    assert not found.is_ahead
    assert not found.was_recorded


def test_a_word_or_two_is_no_recording() -> None:
    found = Served(0)
    found.add(None, MS)
    found.add(S, MS)
    found.add(S + S // 2, 2 * MS)
    assert not found.was_recorded
