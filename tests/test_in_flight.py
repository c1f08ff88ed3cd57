"""Which frames are sent over a link that may be slow, cut or mended: pure logic with a clock of the test's."""

from __future__ import annotations

import itertools

from nodes.in_flight import MAX_AGE_S, MAX_SENT, PROBE_S, InFlight
from protocol.sync import Pong


def taken(count: int, combiner: int = 1) -> Pong:
    return Pong(0, 0, 0, combiner, count)


class SlowLink:
    """Carries ``rate`` frames a second, one after another, and answers every 50 ms; 25 fps are captured."""

    def __init__(self, rate: float, delay_s: float = 0.0) -> None:
        self.rate, self.delay_s = rate, delay_s
        self.delays: list[float] = []
        self.sent = self.dropped = 0
        self._free_s = 0.0
        self._arrivals: list[tuple[float, int]] = []

    def run(self, seconds: float) -> None:
        flight = InFlight()
        flight.acknowledge(taken(0), 0.0)
        for seq in range(round(25 * seconds)):
            now_s = seq / 25
            there_s = now_s - self.delay_s
            known = [number for at_s, number in self._arrivals if at_s <= there_s]
            flight.acknowledge(taken(max(known, default=-1) + 1), now_s)
            if not flight.has_room(now_s, 2 * self.delay_s):
                self.dropped += 1
                continue
            flight.sent(seq, now_s)
            self.sent += 1
            self._free_s = max(self._free_s, now_s) + 1 / self.rate
            self._arrivals.append((self._free_s + self.delay_s, seq))
            self.delays.append(self._arrivals[-1][0] - now_s)


def test_a_link_that_is_fast_enough_loses_nothing() -> None:
    for delay_s in (0.0, 0.02, 0.1):
        link = SlowLink(rate=100, delay_s=delay_s)
        link.run(20)
        assert link.dropped == 0


def test_half_of_what_is_captured_gets_through_and_no_delay_builds_up() -> None:
    link = SlowLink(rate=12.5)
    link.run(60)
    assert 12 * 60 < link.sent < 13.5 * 60
    assert max(link.delays) < 0.5


def test_a_very_slow_link_gets_a_frame_now_and_then() -> None:
    link = SlowLink(rate=2)
    link.run(60)
    assert 1.5 * 60 < link.sent < 2.2 * 60
    assert max(link.delays) < 1.5


def test_without_answers_nothing_is_held_back() -> None:
    flight = InFlight()
    for seq in range(10 * MAX_SENT):
        assert flight.has_room(seq / 25, 0.0)
        flight.sent(seq, seq / 25)


def test_what_was_lost_does_not_hold_back_the_rest_for_long() -> None:
    flight = InFlight()
    flight.acknowledge(taken(0), 0.0)
    assert flight.has_room(0.0, 0.0)
    flight.sent(0, 0.0)
    # It never arrives. Until something does, a frame is sent now and then.
    sent = []
    for seq in range(1, 25 * 60):
        if flight.has_room(seq / 25, 0.0):
            flight.sent(seq, seq / 25)
            sent.append(seq / 25)
    late = [at_s for at_s in sent if at_s > MAX_AGE_S]
    assert late[0] < 2 * PROBE_S
    assert {round(b - a, 2) for a, b in itertools.pairwise(late)} == {0.76}
    # One of those gets through, and all is as before.
    flight.acknowledge(taken(25 * 60), 60.0)
    assert flight.has_room(60.0, 0.0)


def test_another_combiner_has_none_of_what_was_on_its_way() -> None:
    flight = InFlight()
    flight.acknowledge(taken(0), 0.0)
    flight.sent(0, 0.0)
    flight.acknowledge(taken(0, combiner=2), 10 * MAX_AGE_S)
    assert flight.has_room(10 * MAX_AGE_S, 0.0)
    flight.sent(1, 10 * MAX_AGE_S)
    assert flight.has_room(10 * MAX_AGE_S, 0.0)


def test_a_long_way_is_no_slow_link() -> None:
    flight = InFlight()
    flight.acknowledge(taken(0), 0.0)
    flight.sent(0, 0.0)
    assert not flight.has_room(0.4, 0.0)
    assert flight.has_room(0.4, 0.2)
