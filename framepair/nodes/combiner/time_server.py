"""The combiner's thread that tells others what time it is, and producers how far their frames have come."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Mapping
from concurrent.futures import Future

import zmq

from framepair.protocol.clocks import clock
from framepair.protocol.transport import sockets
from framepair.protocol.transport.keys import ServerKeys
from framepair.protocol.transport.rate_limited_log import RateLimitedLog
from framepair.protocol.wire.header import ProtocolError
from framepair.protocol.wire.sync import Pong, decode_ping

log = logging.getLogger(__name__)

# What was taken of each source: of which run, and how many frames of it, those that were lost included.
Taken = Mapping[str, tuple[int, int]]


class TimeServer(threading.Thread):
    """Answers pings at ``address`` for the combiner of ``run``, from ``taken`` as it is at the moment."""

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        address: str,
        run: int,
        taken: Taken,
        keys: ServerKeys | None = None,
    ) -> None:
        super().__init__(name="time server")
        self.bound: Future[None] = Future()
        self._context = context
        self._address = address
        self._run = run
        self._taken = taken
        self._keys = keys
        self._over = threading.Event()
        self._failure: BaseException | None = None
        self._peer_log = RateLimitedLog(log)

    def __enter__(self) -> TimeServer:
        self.start()
        self.bound.result()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()

    def run(self) -> None:
        """Answer until told to stop; the socket belongs to this thread."""
        try:
            with sockets.answer(self._context, self._address, keys=self._keys) as router:
                self.bound.set_result(None)
                while not self._over.is_set():
                    self._answer(router)
        except BaseException as error:  # noqa: BLE001 - the main thread raises it again
            if self.bound.done():
                self._failure = error
            else:
                self.bound.set_exception(error)

    def check(self) -> None:
        """Raise what ended the thread, if it failed."""
        if self._failure:
            raise self._failure

    def _answer(self, router: zmq.Socket[bytes]) -> None:
        try:
            peer, *parts = router.recv_multipart()
        except zmq.Again:
            return
        received_ns = clock.now_ns()
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
        # Who doesn't read is not waited for.
        try:
            router.send_multipart([peer, pong.encode()])
        except zmq.Again:
            return


def telling_time(
    context: zmq.Context[zmq.Socket[bytes]],
    address: str | None,
    run: int,
    taken: Taken,
    keys: ServerKeys | None,
) -> contextlib.AbstractContextManager[TimeServer | None]:
    """Tell the time at ``address``, if there is one; raises EndpointError if it can't be used."""
    if address is None:
        return contextlib.nullcontext()
    return TimeServer(context, address, run, taken, keys)
