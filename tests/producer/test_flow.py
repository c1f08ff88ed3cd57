"""Which frames are sent over a link that may be slow, cut or mended: pure logic with a clock of the test's."""

from __future__ import annotations

import itertools
from statistics import median

from framepair.nodes.producer.flow import MAX_AGE_S, MAX_SENT, PROBE_S, SILENCE_S, InFlight
from framepair.protocol.clocks.sync_client import Answer
from framepair.protocol.wire.sync import Pong

ASK_S = 0.05


def answer(taken: int, asked_s: float, came_s: float | None = None, combiner: int = 1) -> Answer:
    came_s = asked_s if came_s is None else came_s
    return Answer(Pong(0, 0, 0, combiner, taken), asked_s, came_s)


class SlowLink:
    """Carries ``rate`` frames a second, one after another, each way in ``delay_s``; 25 a second are captured.

    Questions wait behind the frames on their way, if they are ``behind`` them.
    """

    def __init__(self, rate: float, delay_s: float = 0.0, *, behind: bool = False) -> None:
        self.rate, self.delay_s, self.behind = rate, delay_s, behind
        self.delays: list[float] = []
        self.sent = self.dropped = 0
        self._free_s = 0.0
        self._stores: list[tuple[float, int]] = []
        self._answers: list[Answer] = []

    def run(self, seconds: float) -> None:
        flight = InFlight()
        flight.acknowledge(answer(0, 0.0))
        for tick in range(round(seconds * 100)):
            now_s = tick / 100
            if tick % 5 == 0:
                self._ask(now_s)
            for known in [known for known in self._answers if known.came_s <= now_s]:
                self._answers.remove(known)
                flight.acknowledge(known)
            if tick % 4 == 0:
                self._capture(flight, tick // 4, now_s)

    def _ask(self, now_s: float) -> None:
        there_s = max(now_s, self._free_s if self.behind else 0.0) + self.delay_s
        taken = max((n + 1 for at_s, n in self._stores if at_s <= there_s), default=0)
        self._answers.append(answer(taken, now_s, there_s + self.delay_s))

    def _capture(self, flight: InFlight, seq: int, now_s: float) -> None:
        if not flight.has_room(now_s, 2 * self.delay_s):
            self.dropped += 1
            return
        flight.sent(seq, now_s)
        self.sent += 1
        self._free_s = max(self._free_s, now_s) + 1 / self.rate
        self._stores.append((self._free_s + self.delay_s, seq))
        self.delays.append(self._stores[-1][0] - now_s)


def test_a_link_that_is_fast_enough_loses_nothing() -> None:
    for delay_s in (0.0, 0.02, 0.1):
        for behind in (False, True):
            link = SlowLink(rate=100, delay_s=delay_s, behind=behind)
            link.run(20)
            assert link.dropped == 0, (delay_s, behind)


def test_no_delay_builds_up_whatever_a_link_carries() -> None:
    for share in (0.3, 0.5, 0.7, 0.8, 0.9, 0.95):
        for behind in (False, True):
            link = SlowLink(rate=25 * share, behind=behind)
            link.run(60)
            assert max(link.delays) < 0.7, (share, behind)
            assert median(link.delays) < 0.55, (share, behind)
            # And the link is put to use.
            assert link.sent > 0.85 * 25 * share * 60, (share, behind)


def test_a_very_slow_link_gets_a_frame_now_and_then() -> None:
    link = SlowLink(rate=2)
    link.run(60)
    assert 1.2 * 60 < link.sent < 2.2 * 60
    # Five frames at such a rate: what it takes until the rate is known.
    assert median(link.delays) < 2.5


def test_without_answers_nothing_is_held_back() -> None:
    flight = InFlight()
    for seq in range(10 * MAX_SENT):
        assert flight.has_room(seq / 25, 0.0)
        flight.sent(seq, seq / 25)


def test_when_answers_stop_nothing_is_held_back_for_long() -> None:
    flight = InFlight()
    flight.acknowledge(answer(0, 0.0))
    held_back = [seq / 25 for seq in range(1, 25 * 20) if not sent_if_room(flight, seq)]
    assert all(at_s <= SILENCE_S for at_s in held_back)


def sent_if_room(flight: InFlight, seq: int) -> bool:
    """Send a frame if there is room; return whether there was."""
    if not flight.has_room(seq / 25, 0.0):
        return False
    flight.sent(seq, seq / 25)
    return True


def test_a_combiner_that_pauses_gets_what_was_captured_meanwhile() -> None:
    flight = InFlight()
    for seq in range(100):
        flight.acknowledge(answer(seq, seq / 25))
        assert sent_if_room(flight, seq)
    # For a while no answer comes.
    assert all(sent_if_room(flight, seq) for seq in range(100, 109))


def test_what_was_lost_does_not_hold_back_the_rest_for_long() -> None:
    flight = InFlight()
    sent = []
    # Nothing ever arrives, and the combiner says so: a frame is sent now and then.
    for seq in range(25 * 60):
        flight.acknowledge(answer(0, seq / 25))
        if sent_if_room(flight, seq):
            sent.append(seq / 25)
    late = [at_s for at_s in sent if at_s > MAX_AGE_S]
    assert late[0] < 2 * PROBE_S
    assert {round(b - a, 2) for a, b in itertools.pairwise(late)} == {0.76}
    # One of those gets through, and all is as before.
    flight.acknowledge(answer(25 * 60, 60.0))
    assert flight.has_room(60.0, 0.0)


def test_another_combiner_has_none_of_what_was_on_its_way() -> None:
    flight = InFlight()
    flight.acknowledge(answer(0, 0.0))
    flight.sent(0, 0.0)
    flight.acknowledge(answer(0, 0.6))
    assert not flight.has_room(0.6, 0.0)
    flight.acknowledge(answer(0, 0.65, combiner=2))
    assert flight.has_room(0.65, 0.0)


def test_a_long_way_is_no_slow_link() -> None:
    flight = InFlight()
    flight.acknowledge(answer(0, 0.0))
    flight.sent(0, 0.0)
    flight.acknowledge(answer(0, 0.25))
    assert not flight.has_room(0.3, 0.0)
    assert flight.has_room(0.3, 0.2)
