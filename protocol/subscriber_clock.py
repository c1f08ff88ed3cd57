"""The combiner's time, as far as a consumer knows it."""

from __future__ import annotations

from protocol import clock
from protocol.sync import Steering
from protocol.sync_client import SyncClient


class SubscriberClock:
    """Tells the combiner's time: from ``sync``, or because its clock is the ``same``, or not at all."""

    def __init__(self, sync: SyncClient | None, *, same: bool) -> None:
        self._sync = sync
        self._same = same
        self._steering = Steering()

    def now(self) -> tuple[int, int | None]:
        """Return the time, in nanoseconds of UTC, and by how much that may be wrong; None: nobody knows."""
        now_ns = clock.now_ns()
        found = self._sync.offset() if self._sync else None
        if found is None:
            return now_ns, 0 if self._same else None
        offset = self._steering.follow(found, now_ns)
        return now_ns + offset.ns, offset.uncertainty_ns
