"""What a producer knows of its link to a combiner elsewhere: the clock there, and what gets through."""

from __future__ import annotations

import time

from nodes.in_flight import InFlight
from protocol.sync import Offset, Steering
from protocol.sync_client import SyncClient

# How often the combiner is asked: about once a frame, since it also says which frames it has.
INTERVAL_S = 0.05


class Link:
    """The answers of ``sync`` as an outbox needs them."""

    def __init__(self, sync: SyncClient) -> None:
        self._sync = sync
        self._steering = Steering()
        self._in_flight = InFlight()

    def wait(self, timeout_s: float) -> None:
        """Wait until the combiner's clock is known, but not for long: it may be started later."""
        self._sync.wait(timeout_s)

    def offset(self, captured_ns: int) -> Offset | None:
        """Return what to add to a stamp for the combiner's time; None if its clock is not known yet."""
        found = self._sync.offset()
        return None if found is None else self._steering.follow(found, captured_ns)

    def has_room(self) -> bool:
        """Tell whether a frame that is sent now would be there in time."""
        pong, now_s = self._sync.newest, time.monotonic()
        if pong is not None:
            self._in_flight.acknowledge(pong, now_s)
        return self._in_flight.has_room(now_s, self._sync.least_delay_ns / 1e9)

    def sent(self, seq: int) -> None:
        """Say that frame ``seq`` was sent."""
        self._in_flight.sent(seq, time.monotonic())
