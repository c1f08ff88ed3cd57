"""How long a source's frames take from their capture to the combiner, and how long it pauses."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field

S = 1_000_000_000
# Delays are remembered for so long. A stream in lumps has several of them in a minute.
REMEMBERED_S = 60
# One frame in so many may take longer than what is called the delay.
OUTLIERS = 1000
# Delays are counted in steps of an eighth to a sixteenth of a percent, and of a millisecond at the least.
STEP_NS, STEP_BITS = 1_000_000, 10
# Longer than this is not told apart: such stamps are of another clock.
MAX_DELAY_NS = 3600 * S
# A source is too slow if it was in each of the last so many seconds in which it delivered: after a pause of
# the combiner itself every source delivers what had queued up, once.
SLOW_SECONDS = 3


@dataclass(slots=True)
class _Second:
    """What arrived within one second."""

    number: int
    delays: Counter[int] = field(default_factory=Counter)
    pause_ns: int = 0


class Delays:
    """Measures a source's delays over the last minute.

    ``delay_ns``: of a thousand frames 999 took no longer. ``pause_ns``: the longest time between two arrivals.
    """

    def __init__(self) -> None:
        self._seconds: deque[_Second] = deque()
        self._delays: Counter[int] = Counter()
        self._received_ns: int | None = None
        self.delay_ns = 0
        self.pause_ns = 0

    def add(self, captured_ns: int, received_ns: int) -> None:
        """Add a frame."""
        second = self._second(received_ns // S)
        delay_ns = _step(min(max(0, received_ns - captured_ns), MAX_DELAY_NS))
        second.delays[delay_ns] += 1
        self._delays[delay_ns] += 1
        if delay_ns > self.delay_ns:
            self.delay_ns = self._percentile()
        if self._received_ns is not None:
            second.pause_ns = max(second.pause_ns, received_ns - self._received_ns)
            self.pause_ns = max(self.pause_ns, second.pause_ns)
        self._received_ns = received_ns

    def are_beyond(self, bound_ns: int) -> bool:
        """Return whether frames take longer than ``bound_ns``, and not only for a moment."""
        if self.delay_ns <= bound_ns or len(self._seconds) < SLOW_SECONDS:
            return False
        newest = (self._seconds[-1 - i] for i in range(SLOW_SECONDS))
        return all(max(second.delays) > bound_ns for second in newest)

    def _second(self, number: int) -> _Second:
        if self._seconds and self._seconds[-1].number >= number:
            return self._seconds[-1]
        self._seconds.append(_Second(number))
        while self._seconds[0].number <= number - REMEMBERED_S:
            self._delays -= self._seconds.popleft().delays
        self.delay_ns = self._percentile()
        self.pause_ns = max(second.pause_ns for second in self._seconds)
        return self._seconds[-1]

    def _percentile(self) -> int:
        longer, outliers = 0, self._delays.total() // OUTLIERS
        for delay_ns in sorted(self._delays, reverse=True):
            longer += self._delays[delay_ns]
            if longer > outliers:
                return delay_ns
        return 0


class NoDelays(Delays):
    """Measures nothing: in media time there is no delay."""

    def add(self, captured_ns: int, received_ns: int) -> None:
        """Ignore a frame."""


def _step(delay_ns: int) -> int:
    """Return a delay, rounded up, so that there are few different ones."""
    steps = -(-delay_ns // STEP_NS)
    shift = max(0, steps.bit_length() - STEP_BITS)
    return (-(-steps >> shift) << shift) * STEP_NS
