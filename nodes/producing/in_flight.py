"""Which frames are on their way to the combiner, so that none is sent that would come too late.

A queue whose length is bounded in bytes still holds frames back for as long as a slow link takes to carry
them, and the kernel has queues of its own. What bounds the delay is to know how many frames are on their way,
how old the oldest is, and how fast they get through.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from protocol.sync_client import Answer

# No frame is sent if frames would be on their way for longer than this, beside what the way takes anyway: less
# than the combiner waits for a source (max_wait). Before anything got through, more caution is in place.
MAX_AGE_S, FIRST_AGE_S = 0.3, 0.1
# Frames that were sent since the newest answer was asked for may or may not be through: with those, no more
# than that. A combiner that pauses doesn't answer either, and takes them afterwards.
MAX_UNKNOWN_S = 0.4
# After so long without an answer nothing is known any more, and queues have their own bounds.
SILENCE_S = 1.0
# The rate is that of so long ago until the newest answer, and of so many frames at least.
RATE_S, RATE_FRAMES = 1.0, 4
# What was lost on its way is never acknowledged: one frame is sent after so long, to see if it gets through.
PROBE_S = 0.75
MAX_SENT = 1000


@dataclass(slots=True)
class InFlight:
    """The frames of one producer's run that the combiner has not acknowledged; times are monotonic seconds."""

    _sent: deque[tuple[int, float]] = field(default_factory=lambda: deque(maxlen=MAX_SENT))
    _through: deque[float] = field(default_factory=lambda: deque(maxlen=MAX_SENT))
    """When each frame was known to be through, of late."""
    _newest: Answer | None = None
    _busy_s: float = 0.0
    """Since when there is always a frame on its way."""
    _moved_s: float = 0.0
    """When something was sent or got through."""

    def acknowledge(self, answer: Answer) -> None:
        """Take note of how far the combiner is; what a former one had not taken is lost."""
        if answer is self._newest:
            return
        if self._newest is None or answer.pong.combiner != self._newest.pong.combiner:
            self._sent.clear()
            self._through.clear()
        self._newest = answer
        while self._sent and self._sent[0][0] < answer.pong.taken:
            self._sent.popleft()
            self._through.append(answer.came_s)
            self._moved_s = answer.came_s
        while len(self._through) > RATE_FRAMES and self._through[0] < answer.came_s - RATE_S:
            self._through.popleft()

    def has_room(self, now_s: float, least_delay_s: float) -> bool:
        """Tell whether a frame that is sent now will be there in time, or should be sent to find out."""
        newest = self._newest
        if not self._sent or newest is None or now_s > newest.came_s + SILENCE_S:
            return True
        if now_s >= self._moved_s + PROBE_S:
            return True
        if not self._through:
            return now_s - self._sent[0][1] <= FIRST_AGE_S + least_delay_s
        each_s = self._each_s(newest, least_delay_s)
        known = sum(sent_s <= newest.asked_s for _, sent_s in self._sent)
        oldest_s = max(0.0, newest.asked_s - self._sent[0][1])
        in_time = max(oldest_s, known * each_s) <= MAX_AGE_S + least_delay_s
        return in_time and len(self._sent) * each_s <= MAX_UNKNOWN_S + least_delay_s

    def sent(self, seq: int, now_s: float) -> None:
        """Say that frame ``seq`` was sent."""
        if self._newest is None:
            return
        if not self._sent:
            self._busy_s = now_s
        self._sent.append((seq, now_s))
        self._moved_s = now_s

    def _each_s(self, newest: Answer, least_delay_s: float) -> float:
        """Return how long the link takes for a frame; 0 if it was idle, so that nobody knows."""
        counted = sum(at_s >= self._busy_s for at_s in self._through)
        if not counted:
            return 0.0
        # Nothing can be known to be through before the first of these.
        began_s = max(self._busy_s + least_delay_s, min(newest.came_s - RATE_S, self._through[0]))
        return max(0.0, newest.came_s - began_s) / counted
