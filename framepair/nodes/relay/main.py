"""The relay: receives pairs once for all consumers of its host, and puts their frames into shared memory."""

from __future__ import annotations

import contextlib
import functools
import logging
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Final, NoReturn

import zmq

from framepair.nodes.common import runtime
from framepair.nodes.common.options import Relaying, node_app
from framepair.nodes.common.subscriptions import Subscriptions
from framepair.nodes.relay.rings import Rings
from framepair.nodes.relay.work import OrderedWork
from framepair.protocol.client.receiver import SILENCE_S, STOP_DEADLINE_S
from framepair.protocol.clocks import clock
from framepair.protocol.memory import shared_ring
from framepair.protocol.memory.free_space import NoRoom
from framepair.protocol.memory.payloads import PAYLOADS
from framepair.protocol.memory.ring import Pixels
from framepair.protocol.transport import endpoints, keys, relays, sockets
from framepair.protocol.transport.connection_guard import ConnectionGuard
from framepair.protocol.transport.connection_watch import Contact
from framepair.protocol.transport.heartbeat import Heartbeat
from framepair.protocol.transport.rate_limited_log import RateLimitedLog
from framepair.protocol.transport.sockets import Socket
from framepair.protocol.wire import published
from framepair.protocol.wire.frame import MAX_HEADER_BYTES, FrameHeader
from framepair.protocol.wire.header import ProtocolError
from framepair.protocol.wire.pair import PairHeader, StreamEnd

log = logging.getLogger(__name__)

# What may queue for a consumer that does not receive: headers, as pixels stay in shared memory.
QUEUED_BYTES: Final = 64 * 1024 * 1024
# At a time: what consumers subscribe to is read in between.
MESSAGES_AT_A_TIME: Final = 32
# What a frame becomes that can't be decoded: no consumer can decode this either, and each counts it as damaged.
DAMAGED: Final = b"\0"

Message = Sequence[bytes]
# A task's result that is not sent.
NOTHING: Final[Message] = ()

app = node_app("relay", __doc__)


@dataclass(frozen=True, kw_only=True)
class Options(Relaying):
    """What a relay can be told."""

    sub: str | None = None
    """Address that the combiner publishes at: ipc:///ABSOLUTE/PATH or tcp://HOST:PORT. [default: this user's
    pipeline on this machine]"""


@app.default
def relay(options: Options) -> None:
    """Relay pairs until the end of the stream, or until SIGINT or SIGTERM."""
    heartbeat = runtime.heartbeat()
    stop = runtime.stop_on_signals(heartbeat)
    runtime.keep_buffers()
    sub = options.sub or endpoints.claim_default_sub()
    address = relays.address_of(sub)
    relays.make_directory(address)
    client = keys.client(options.keys, sub, insecure=options.insecure)
    guard = ConnectionGuard(address)
    directory = options.shm_dir or shared_ring.default_directory()
    with (
        sockets.new_context() as context,
        sockets.publish(
            context, address, hwm=QUEUED_BYTES // MAX_HEADER_BYTES, guard=guard
        ) as xpub,
        sockets.subscribe(context, sub, [published.END, published.PAIR], keys=client) as upstream,
        closing(Rings(directory, clock.now_ns(), options.history)) as rings,
        closing(Contact(upstream, sub, "where it publishes")) as contact,
    ):
        runtime.ready(f"{sub} -> {address}", heartbeat)
        subscriptions = Subscriptions(xpub, address, guard)
        relayed = Relay(upstream, xpub, subscriptions, rings, heartbeat)
        with closing(relayed):
            relayed.run(stop, contact)
        heartbeat.tell("done")


class Relay:
    """Carries messages from ``upstream`` to ``xpub``: pixels into ``rings``, all else as it is."""

    def __init__(
        self,
        upstream: Socket,
        xpub: Socket,
        subscriptions: Subscriptions,
        rings: Rings,
        heartbeat: Heartbeat,
    ) -> None:
        self._upstream = upstream
        self._xpub = xpub
        self._subscriptions = subscriptions
        self._rings = rings
        self._heartbeat = heartbeat
        self._work: OrderedWork[Message] = OrderedWork()
        self._windows: dict[str, int] = {}
        """Of the sources that have a ring: the window of the newest frame."""
        self._asked: set[bytes] = set()
        self._heard_s = time.monotonic()
        self._end: StreamEnd | None = None
        self._peer_log = RateLimitedLog(log)

    def run(self, stop: runtime.Stop, contact: Contact) -> None:
        """Relay until the stream is finished or, once ``stop`` is set, what is on its way already.

        Also until there is no room for a ring: consumers then receive from the combiner, as without a relay.
        """
        stopped_s: float | None = None
        try:
            while not self._is_over(stopped_s):
                stop.extend_deadline()
                if stop.is_set() and stopped_s is None:
                    stopped_s = time.monotonic()
                self._heartbeat.beat()
                contact.look()
                self._subscriptions.read()
                self._ask()
                self._pass_on()
            while self._publish_next(wait=True):
                self._heartbeat.beat()
        except NoRoom as error:
            log.warning("consumers receive from the combiner, without a relay: %s", error)

    def close(self) -> None:
        """End all threads."""
        self._work.close()

    def _is_over(self, stopped_s: float | None) -> bool:
        if self._end is not None and (self._end.reason == "finished" or stopped_s is not None):
            return True
        if stopped_s is None:
            return False
        now_s = time.monotonic()
        return now_s > min(max(self._heard_s, stopped_s) + SILENCE_S, stopped_s + STOP_DEADLINE_S)

    def _ask(self) -> None:
        """Ask the combiner for what consumers ask for: what none wants need not come here."""
        topics = self._subscriptions.topics
        wanted = {
            topic
            for topic in topics
            if topic.startswith((published.FRAMES, published.NEWEST))
            or published.FRAMES.startswith(topic)
        }
        for topic in wanted - self._asked:
            self._upstream.subscribe(topic)
        for topic in self._asked - wanted:
            self._upstream.unsubscribe(topic)
        self._asked = wanted

    def _pass_on(self) -> None:
        """Take what has come, and publish what is ready of it; wait for either if there is nothing."""
        for _ in range(MESSAGES_AT_A_TIME):
            parts = self._receive()
            if parts is None:
                # While nothing comes, there is time to wait for what is being decoded.
                if not self._publish_next(wait=True):
                    zmq.select([self._upstream, self._xpub], [], [], sockets.POLL_MS / 1e3)
                return
            self._take(parts)
            while self._publish_next(wait=False):
                pass

    def _receive(self) -> list[zmq.Frame] | None:
        try:
            parts = self._upstream.recv_multipart(zmq.NOBLOCK, copy=False)
        except zmq.Again:
            return None
        self._heard_s = time.monotonic()
        return parts

    def _publish_next(self, *, wait: bool) -> bool:
        """Publish the next message that is ready; return whether there was one."""
        message = self._work.take(wait=wait)
        if message is None:
            return False
        if message:
            # A consumer whose queue is full loses it, and no other.
            with contextlib.suppress(zmq.Again):
                self._xpub.send_multipart(message, zmq.NOBLOCK)
        return True

    def _take(self, parts: list[zmq.Frame]) -> None:
        try:
            received = published.decode([part.buffer for part in parts])
        except ProtocolError as error:
            self._peer_log.warn("malformed", f"dropped a malformed message: {error}")
            return
        if isinstance(received, tuple):
            self._take_frame(*received, parts)
            return
        self._end = received if isinstance(received, StreamEnd) else None
        if isinstance(received, PairHeader):
            self._remove_rings(received)
        self._work.add_result([part.bytes for part in parts])

    def _take_frame(
        self, header: FrameHeader, pixels: Pixels | memoryview | None, parts: list[zmq.Frame]
    ) -> None:
        if header.pace == "max":
            raise runtime.Refused(
                "--pace max waits for consumers, which a relay cannot: let them receive from the combiner"
            )
        self._heartbeat.count_frames()
        self._heartbeat.tell("flowing")
        if pixels is None:
            # It is in a producer's ring on this machine already.
            self._work.add_result([part.bytes for part in parts])
            return
        slow = PAYLOADS[header.payload].slow
        self._windows[header.source] = header.window or 0
        self._work.add(header.source, lambda: self._placed(header, pixels), slow=slow)

    def _remove_rings(self, header: PairHeader) -> None:
        """Remove the rings of the sources that a pair lacks."""
        # Those of the pair before are still being mapped by consumers that have just come.
        for source, window in list(self._windows.items()):
            if source not in header.clips and window < header.window:
                del self._windows[source]
                # Behind the frames of the source that are being decoded.
                self._work.add(source, functools.partial(self._remove_ring, source), slow=False)

    def _remove_ring(self, source: str) -> Message:
        self._rings.remove(source)
        return NOTHING

    def _placed(self, header: FrameHeader, pixels: Pixels | memoryview) -> Message:
        """Return the message for a frame whose pixels are in a ring from now on; raises NoRoom."""
        data = b""
        try:
            header = self._rings.place(header, pixels)
        except ProtocolError as error:
            self._peer_log.warn(f"damaged {header.source}", f"{header.source}: {error}")
            header, data = header.damaged(len(DAMAGED)), DAMAGED
        return [published.topic_of(header), header.encode(), data]


def main() -> NoReturn:
    """Run the relay as a process."""
    runtime.run(app, "relay", usage="framepair relay --sub ADDRESS")
