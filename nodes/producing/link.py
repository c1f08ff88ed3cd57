"""What a producer knows of its link to a combiner elsewhere: the clock there, and what gets through."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import zmq

from nodes.producing.in_flight import InFlight
from protocol.keys import ClientKeys
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


@contextlib.contextmanager
def linked(
    context: zmq.Context[zmq.Socket[bytes]],
    address: str,
    source: str,
    run: int,
    keys: ClientKeys | None,
) -> Iterator[Link]:
    """Compare clocks with the combiner that tells the time at ``address``."""
    with SyncClient(
        context, address, interval_s=INTERVAL_S, source=source, run=run, keys=keys
    ) as sync:
        yield Link(sync)
