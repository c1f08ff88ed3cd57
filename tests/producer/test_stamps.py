"""When a paced video is decoded: late enough not to disturb the frame before, early enough to be in time."""

from __future__ import annotations

import pytest

from framepair.nodes.common.runtime import Stop
from framepair.nodes.producer.stamps import PacedStamps

PERIOD_NS = 40_000_000
START_NS = 1_000_000_000


class Clock(Stop):
    """A clock that only moves while somebody waits, or as told."""

    def __init__(self) -> None:
        super().__init__()
        self.now = START_NS - 10 * PERIOD_NS

    def now_ns(self) -> int:
        return self.now

    def wait(self, timeout_s: float) -> bool:
        self.now += round(timeout_s * 1e9)
        return False


@pytest.fixture
def clock() -> Clock:
    return Clock()


def play(stamps: PacedStamps, clock: Clock, decoding_ns: int) -> tuple[int, int, int]:
    """Play one frame; return when decoding began, when the frame was due, and when it went."""
    stamps.rest(clock)
    began_ns = clock.now
    stamp = stamps.stamp()
    clock.now += decoding_ns
    stamps.wait(stamp, clock)
    return began_ns, stamp.captured_ns, clock.now


def test_decoding_begins_half_a_period_before_a_frame_is_due(clock: Clock) -> None:
    stamps = PacedStamps(25, START_NS, clock.now_ns)
    began_ns, due_ns, went_ns = play(stamps, clock, PERIOD_NS // 10)
    assert (began_ns, due_ns, went_ns) == (START_NS - 10 * PERIOD_NS, START_NS, START_NS)
    for number in range(1, 50):
        began_ns, due_ns, went_ns = play(stamps, clock, PERIOD_NS // 10)
        assert due_ns == went_ns == START_NS + number * PERIOD_NS
        assert began_ns == due_ns - PERIOD_NS // 2


def test_slow_decoding_begins_sooner(clock: Clock) -> None:
    stamps = PacedStamps(25, START_NS, clock.now_ns)
    play(stamps, clock, PERIOD_NS // 4)
    for _ in range(50):
        began_ns, due_ns, went_ns = play(stamps, clock, PERIOD_NS // 4)
        assert went_ns == due_ns
        assert due_ns - PERIOD_NS < began_ns <= due_ns - PERIOD_NS // 2 - 1_000_000


@pytest.mark.parametrize("needs", [0.4, 0.6, 0.9, 1.0])
def test_decoding_that_takes_most_of_the_time_gets_all_of_it(clock: Clock, needs: float) -> None:
    stamps = PacedStamps(25, START_NS, clock.now_ns)
    for _ in range(50):
        _, due_ns, went_ns = play(stamps, clock, round(needs * PERIOD_NS))
        assert went_ns == due_ns


def test_one_slow_frame_is_forgotten_in_time(clock: Clock) -> None:
    stamps = PacedStamps(25, START_NS, clock.now_ns)
    play(stamps, clock, PERIOD_NS // 3)
    for _ in range(200):
        began_ns, due_ns, _ = play(stamps, clock, PERIOD_NS // 20)
    assert began_ns == due_ns - PERIOD_NS // 2


def test_a_player_that_is_behind_does_not_rest(clock: Clock) -> None:
    stamps = PacedStamps(25, START_NS, clock.now_ns)
    play(stamps, clock, 0)
    clock.now = START_NS + 5 * PERIOD_NS
    for number in range(1, 5):
        began_ns, due_ns, went_ns = play(stamps, clock, 0)
        assert (began_ns, went_ns) == (clock.now, clock.now)
        assert due_ns == START_NS + number * PERIOD_NS
