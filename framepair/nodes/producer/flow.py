"""What a producer knows of its link to a combiner elsewhere: the clock there, and what gets through."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

import zmq

from framepair.protocol.clocks.clock import Clock
from framepair.protocol.clocks.comparison import Offset, Steering
from framepair.protocol.clocks.sync_client import Answer, SyncClient
from framepair.protocol.transport.keys import ClientKeys

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


# How often the combiner is asked: about once a frame, since it also says which frames it has.
INTERVAL_S = 0.05


class Link:
    """The answers of ``sync`` as an outbox needs them."""

    def __init__(self, sync: SyncClient) -> None:
        self._sync = sync
        self._steering = Steering()
        self._in_flight = InFlight()

    def wait(self, timeout_s: float) -> bool:
        """Wait until the combiner's clock is known; return whether it is."""
        return self._sync.wait(timeout_s)

    def offset(self, captured_ns: int) -> Offset | None:
        """Return what to add to a stamp for the combiner's time; None if its clock is not known yet."""
        found = self._sync.offset()
        return None if found is None else self._steering.follow(found, captured_ns)

    def has_room(self) -> bool:
        """Tell whether a frame that is sent now would be there in time."""
        answer = self._sync.newest
        if answer is not None:
            self._in_flight.acknowledge(answer)
        return self._in_flight.has_room(time.monotonic(), self._sync.least_delay_ns / 1e9)

    def sent(self, seq: int) -> None:
        """Say that frame ``seq`` was sent."""
        self._in_flight.sent(seq, time.monotonic())

    def begin_run(self, run: int) -> None:
        """Ask from now on how far the combiner is with the frames of ``run``, of which none was sent."""
        self._sync.begin_run(run)
        self._in_flight = InFlight()


@contextlib.contextmanager
def linked(
    context: zmq.Context[zmq.Socket[bytes]],
    address: str,
    source: str,
    run: int,
    keys: ClientKeys | None,
    now_ns: Clock,
) -> Iterator[Link]:
    """Compare ``now_ns`` with the clock of the combiner that tells the time at ``address``."""
    with SyncClient(
        context, address, interval_s=INTERVAL_S, source=source, run=run, keys=keys, now_ns=now_ns
    ) as sync:
        yield Link(sync)
