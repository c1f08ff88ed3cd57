"""Which frames are on their way to the combiner, so that none is sent that would come too late.

A queue whose length is bounded in bytes still holds frames back for as long as a slow link takes to carry
them, and the kernel has queues of its own. What bounds the delay is to know how many frames are on their way,
how old the oldest is, and how fast they get through.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from protocol.sync import Pong

# No frame is sent that would be on its way for longer than this, beside what the way takes anyway: less than
# the combiner waits for a source (max_wait). Before anything got through, more caution is in place.
MAX_AGE_S, FIRST_AGE_S = 0.3, 0.1
ROUND_TRIPS = 1.5
# The rate is that of so long ago until now.
RATE_S = 1.0
# What was lost on its way is never acknowledged: one frame is sent after so long, to see if it gets through.
PROBE_S = 0.75
MAX_SENT = 1000


@dataclass(slots=True)
class InFlight:
    """The frames of one producer's run that the combiner has not acknowledged; times are monotonic seconds."""

    _sent: deque[tuple[int, float]] = field(default_factory=lambda: deque(maxlen=MAX_SENT))
    _through: deque[float] = field(default_factory=lambda: deque(maxlen=MAX_SENT))
    """When each frame got through, of late."""
    _combiner: int | None = None
    _busy_s: float = 0.0
    """Since when there is always a frame on its way."""
    _moved_s: float = 0.0
    """When something was sent or got through."""

    def acknowledge(self, pong: Pong, now_s: float) -> None:
        """Take note of how far the combiner is; what a former one had not taken is lost."""
        if pong.combiner != self._combiner:
            self._combiner = pong.combiner
            self._sent.clear()
            self._through.clear()
        while self._sent and self._sent[0][0] < pong.taken:
            self._sent.popleft()
            self._through.append(now_s)
            self._moved_s = now_s
        while self._through and self._through[0] < now_s - RATE_S:
            self._through.popleft()

    def has_room(self, now_s: float, least_delay_s: float) -> bool:
        """Tell whether a frame that is sent now will be there in time, or should be sent to find out."""
        if not self._sent or now_s >= self._moved_s + PROBE_S:
            return True
        most_s = (MAX_AGE_S if self._through else FIRST_AGE_S) + ROUND_TRIPS * least_delay_s
        return self._age_s(now_s, least_delay_s) <= most_s

    def sent(self, seq: int, now_s: float) -> None:
        """Say that frame ``seq`` was sent."""
        if self._combiner is None:
            return
        if not self._sent:
            self._busy_s = now_s
        self._sent.append((seq, now_s))
        self._moved_s = now_s

    def _age_s(self, now_s: float, least_delay_s: float) -> float:
        """Return how old the oldest frame on its way is, or the newest will be, whatever is more."""
        oldest_s = now_s - self._sent[0][1]
        # Nothing can be known to be through before that.
        measured_s = now_s - max(self._busy_s + least_delay_s, now_s - RATE_S)
        # Of a link that was idle in between it isn't known how fast it is; nor does it matter.
        counted = sum(at_s >= self._busy_s for at_s in self._through)
        return max(oldest_s, len(self._sent) * measured_s / counted if counted else 0.0)
