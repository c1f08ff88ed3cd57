"""The thread that drains a consumer's SUB socket."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import zmq

from framepair.protocol.client.pair_queue import Now
from framepair.protocol.client.route import Route
from framepair.protocol.clocks.sync_client import SubscriberClock, SyncClient
from framepair.protocol.transport import endpoints, relays, sockets
from framepair.protocol.transport.connection_watch import Contact
from framepair.protocol.transport.keys import ClientKeys
from framepair.protocol.wire import published
from framepair.protocol.wire.frame import FrameHeader
from framepair.protocol.wire.header import ProtocolError
from framepair.protocol.wire.pair import PairHeader, StreamEnd
from framepair.protocol.wire.published import Frame

# After stop(): nothing is on its way any more after such a silence, or after so long in any case.
SILENCE_S = 0.5
STOP_DEADLINE_S = 2.0
JOIN_DEADLINE_S = 2.0
SYNC_INTERVAL_S = 0.5

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TimeSource:
    """Where the combiner tells the time."""

    address: str
    keys: ClientKeys | None


class Queue(Protocol):
    """Where messages go: ``PairQueue``, or another consumer's."""

    def add(self, received: Frame | PairHeader | StreamEnd, now: Now) -> None:
        """Add a message; raises ProtocolError if it makes no sense. ``now`` tells when it is here."""

    def reject(self, error: ProtocolError) -> None:
        """Count a malformed message."""

    def wait_for_room(self, over: Callable[[], bool]) -> None:
        """Return as soon as more may come in, or when ``over`` says so."""

    def finish(self, error: Exception | None) -> None:
        """End: nothing more comes in, because of ``error`` if there is one."""

    @property
    def stream_end(self) -> StreamEnd | None:
        """The combiner's last word, unless it has announced pairs since."""


class Receiver:
    """Receives until the stream is finished, or ``stop`` or ``close`` is called.

    Those two only set attributes, which the thread looks at several times a second: a signal handler or a
    finalizer can't wait for a lock, since the code that it interrupts may hold it.

    On Linux the thread, and those of its sockets, run with ``niceness``, from 0 to 19: what reads slower is
    written slower, so that where processors are busy the publisher and other consumers come first.
    """

    def __init__(
        self,
        address: str,
        pairs: Queue,
        topics: list[bytes],
        keys: ClientKeys | None = None,
        time_source: TimeSource | None = None,
        route: Route | None = None,
        niceness: int = 0,
    ) -> None:
        self._address = address
        self._niceness = niceness
        self._route = route or Route(address)
        self._time_source = time_source
        self._keys = keys
        self._pairs = pairs
        self._topics = list(topics)
        self._wants_newest = False
        self._wanted_frames: list[bytes] | None = None
        self._connected = threading.Event()
        self._error: Exception | None = None
        self._stopping = False
        self._closing = False
        self._heard_s: float | None = None
        self._stop_seen_s: float | None = None
        # A daemon, as the interpreter waits for all others before it runs finalizers.
        self._thread = threading.Thread(target=self._run, name="framepair-subscriber", daemon=True)

    def start(self) -> None:
        """Connect and begin to receive; raises EndpointError if that can't be done."""
        self._thread.start()
        self._connected.wait()
        if self._error is not None:
            raise self._error

    def want_newest(self) -> None:
        """Make frames come at once, from the next message on."""
        self._wants_newest = True

    def want_frames(self, topics: list[bytes]) -> None:
        """Receive frames of these topics instead of those until now, from the next message on.

        To be called by the queue when a message is added to it.
        """
        self._wanted_frames = topics

    def stop(self) -> None:
        """Make the thread end once it has received what is on its way."""
        self._stopping = True

    def close(self) -> None:
        """Make the thread end, and wait for that under a deadline."""
        self._closing = True
        # A finalizer may run in any thread, this one included.
        if self._thread is not threading.current_thread():
            self._thread.join(JOIN_DEADLINE_S)
            if self._thread.is_alive():
                log.warning("the thread that receives from %s does not end", self._address)

    def _run(self) -> None:
        self._yield()
        with sockets.new_context() as context:
            try:
                self._receive_all(context)
            except Exception as error:  # noqa: BLE001 - the consumer gets it
                self._error = error
            finally:
                self._pairs.finish(self._error)
                self._connected.set()

    def _yield(self) -> None:
        """Have this thread, and those that its sockets start, yield the processor as they were told to."""
        if not self._niceness or sys.platform != "linux":
            return
        # A container may forbid it, and then it goes without. 0 is this thread.
        with contextlib.suppress(OSError):
            niceness = max(self._niceness, os.getpriority(os.PRIO_PROCESS, 0))
            os.setpriority(os.PRIO_PROCESS, 0, niceness)

    def _receive_all(self, context: zmq.Context[zmq.Socket[bytes]]) -> None:
        with self._comparing(context) as sync:
            clock = SubscriberClock(sync, same=endpoints.is_on_this_machine(self._address))
            while not self._over():
                self._receive_by(self._route.address, context, clock)

    def _receive_by(
        self, address: str, context: zmq.Context[zmq.Socket[bytes]], clock: SubscriberClock
    ) -> None:
        """Receive until all is over, or until the way is another."""
        keys = None if self._route.is_relayed else self._keys
        with sockets.subscribe(context, address, self._topics, keys=keys) as sub:
            contact = Contact(sub, address, "where it publishes")
            self._connected.set()
            try:
                while not self._over() and self._route.address == address:
                    contact.look()
                    if self._wants_newest:
                        self._ask_for(sub, published.NEWEST)
                    if self._wanted_frames is not None:
                        self._ask_for_frames(sub, self._wanted_frames)
                    self._pairs.wait_for_room(lambda: self._closing)
                    self._receive(sub, clock)
                    self._look_at_route()
            finally:
                contact.close()

    def _look_at_route(self) -> None:
        if self._route.changes(time.monotonic(), self._heard_s):
            log.info("%s: receives from %s now", self._address, self._route.address)

    def _comparing(
        self, context: zmq.Context[zmq.Socket[bytes]]
    ) -> contextlib.AbstractContextManager[SyncClient | None]:
        """Compare clocks with the combiner, if there is a clock to compare."""
        if self._time_source is None:
            return contextlib.nullcontext()
        asked = self._time_source
        return SyncClient(context, asked.address, interval_s=SYNC_INTERVAL_S, keys=asked.keys)

    def _receive(self, sub: zmq.Socket[bytes], clock: SubscriberClock) -> None:
        """Add a message to the pairs, if one comes in time."""
        try:
            parts = sub.recv_multipart(copy=False)
        except zmq.Again:
            return
        self._heard_s = time.monotonic()
        try:
            received = published.decode([part.buffer for part in parts])
            if isinstance(received, tuple):
                if self._is_out_of_sight(received[0]):
                    return
                if received[0].pace == "realtime":
                    # They say which sources have been removed. With pace max none is, and a subscriber to pairs
                    # would be waited for.
                    self._ask_for(sub, published.PAIR)
            self._pairs.add(received, clock.now)
        except ProtocolError as error:
            self._pairs.reject(error)

    def _is_out_of_sight(self, header: FrameHeader) -> bool:
        """Return whether a relay has put a frame where this process can't see it: then the way is direct."""
        if not (header.relayed and header.location) or not self._route.leads_nowhere(
            header.location
        ):
            return False
        log.warning(
            "%s has its frames in shared memory that this process cannot see: name its directory (--shm-dir,"
            " shm_dir); until then frames come from the combiner",
            relays.address_of(self._address),
        )
        return True

    def _ask_for(self, sub: zmq.Socket[bytes], topic: bytes) -> None:
        """Subscribe to ``topic``, also by the ways that are taken later."""
        if topic not in self._topics:
            self._topics.append(topic)
            sub.subscribe(topic)

    def _ask_for_frames(self, sub: zmq.Socket[bytes], topics: list[bytes]) -> None:
        """Subscribe to ``topics``, and to no other frames."""
        self._wanted_frames = None
        for topic in topics:
            self._ask_for(sub, topic)
        former = [topic for topic in self._topics if topic.startswith(published.FRAMES)]
        for topic in (topic for topic in former if topic not in topics):
            self._topics.remove(topic)
            sub.unsubscribe(topic)

    def _over(self) -> bool:
        end = self._pairs.stream_end
        if self._closing or (end is not None and end.reason == "finished"):
            return True
        return self._stopping and (end is not None or self._drained())

    def _drained(self) -> bool:
        """Return whether what was on its way when ``stop`` was called is here."""
        now_s = time.monotonic()
        if self._stop_seen_s is None:
            self._stop_seen_s = now_s
        since_s = max(self._heard_s or self._stop_seen_s, self._stop_seen_s)
        return now_s > since_s + SILENCE_S or now_s > self._stop_seen_s + STOP_DEADLINE_S
