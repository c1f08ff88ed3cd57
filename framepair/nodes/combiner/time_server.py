"""The combiner's thread that tells others what time it is, and producers how far their frames have come."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Mapping

import zmq

from framepair.nodes.combiner.listening_thread import ListeningThread
from framepair.protocol.clocks import clock
from framepair.protocol.transport import sockets
from framepair.protocol.transport.connection_guard import ConnectionGuard
from framepair.protocol.transport.keys import ServerKeys
from framepair.protocol.transport.rate_limited_log import RateLimitedLog
from framepair.protocol.wire.header import ProtocolError
from framepair.protocol.wire.sync import Pong, decode_ping

log = logging.getLogger(__name__)

# What was taken of each source: of which run, and how many frames of it, those that were lost included.
Taken = Mapping[str, tuple[int, int]]


class TimeServer:
    """Answers pings at ``address`` for the combiner of ``run``, from ``taken`` as it is at the moment."""

    def __init__(
        self,
        context: sockets.Context,
        address: str,
        run: int,
        taken: Taken,
        keys: ServerKeys | None = None,
    ) -> None:
        self._run = run
        self._taken = taken
        self._over = threading.Event()
        self._peer_log = RateLimitedLog(log)
        self._guard = ConnectionGuard(address)
        opening = sockets.answer(context, address, keys=keys, guard=self._guard)
        self._thread = ListeningThread("time server", opening, self._answer_all)

    def __enter__(self) -> TimeServer:
        """Begin to listen, in a thread of its own; raises EndpointError if the address can't be used."""
        self._thread.start()
        self._thread.wait_until_bound()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def check(self) -> None:
        """Raise what ended the thread, if it failed."""
        self._thread.check()

    def _answer_all(self, router: sockets.Socket) -> None:
        while not self._over.is_set():
            self._guard.look()
            self._answer(router)

    def _answer(self, router: sockets.Socket) -> None:
        try:
            question = router.recv_multipart(copy=False)
        except zmq.Again:
            return
        received_ns = clock.now_ns()
        self._guard.count_message(question)
        peer, *parts = (part.bytes for part in question)
        try:
            if len(parts) != 1:
                raise ProtocolError(f"a ping of {len(parts)} parts")
            ping = decode_ping(parts[0])
        except ProtocolError as error:
            self._peer_log.warn("ping", f"refused a question for the time: {error}")
            return
        run, taken = self._taken.get(ping.source or "", (None, 0))
        pong = Pong(
            ping.sent_ns, received_ns, clock.now_ns(), self._run, taken if run == ping.run else 0
        )
        # Never block on a slow client.
        try:
            router.send_multipart([peer, pong.encode()])
        except zmq.Again:
            return


def telling_time(
    context: sockets.Context,
    address: str | None,
    run: int,
    taken: Taken,
    keys: ServerKeys | None,
) -> contextlib.AbstractContextManager[TimeServer | None]:
    """Tell the time at ``address``, if there is one; raises EndpointError if it can't be used."""
    if address is None:
        return contextlib.nullcontext()
    return TimeServer(context, address, run, taken, keys)
