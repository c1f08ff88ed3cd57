"""One source's way into the combiner: a thread that does nothing but receive into a deque."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass

import zmq

from framepair.protocol.clocks import clock
from framepair.protocol.transport import sockets
from framepair.protocol.transport.keys import ServerKeys

# How long a receiver that stops still waits for what is on its way.
DRAIN_S = 0.5
# Two windows of 1080p at 25 frames a second; the combiner sets the true figure with the first frame.
INITIAL_MAX_BYTES = 50 * 1920 * 1080 * 3


@dataclass(frozen=True, slots=True)
class Received:
    """The parts of a message, and when the last of them was there."""

    received_ns: int
    parts: list[zmq.Frame]

    @property
    def nbytes(self) -> int:
        """How many bytes the message holds."""
        return sum(len(part) for part in self.parts)


class Inbox(threading.Thread):
    """Receives one source's messages. Real time: beyond its limit of bytes the oldest are dropped.

    ``bell`` is set for every message. With ``lossless`` the thread stops receiving instead of dropping,
    so that the producer has to wait.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        source: str,
        address: str,
        *,
        bell: threading.Event,
        lossless: bool,
        keys: ServerKeys | None = None,
    ) -> None:
        super().__init__(name=f"receive {source}")
        self.source = source
        self._max_bytes = INITIAL_MAX_BYTES
        self.bound: Future[None] = Future()
        self._context = context
        self._address = address
        self._keys = keys
        self._bell = bell
        self._changed = threading.Condition()
        self._lossless = lossless
        self._waiting: deque[Received] = deque()
        self._waiting_bytes = 0
        self._overflowed = 0
        self._stop_at_ns: int | None = None
        self._failure: BaseException | None = None

    def run(self) -> None:
        """Receive until told to stop; the socket belongs to this thread."""
        try:
            with sockets.pull(self._context, self._address, keys=self._keys) as pull:
                self.bound.set_result(None)
                while self._receive(pull):
                    pass
        except BaseException as error:  # noqa: BLE001 - the main thread raises it again
            if self.bound.done():
                self._failure = error
                self._bell.set()
            else:
                self.bound.set_exception(error)

    def stop(self) -> None:
        """Have the thread end once nothing more comes, or after DRAIN_S."""
        self._stop_at_ns = clock.now_ns() + round(DRAIN_S * 1e9)
        with self._changed:
            self._changed.notify_all()

    def limit(self, max_bytes: int) -> None:
        """Set how many bytes may wait here."""
        self._max_bytes = max_bytes

    def take(self) -> Received | None:
        """Return the oldest message, None if none is waiting; raises what ended the thread, if it failed."""
        if self._failure:
            raise self._failure
        with self._changed:
            if not self._waiting:
                return None
            message = self._waiting.popleft()
            self._waiting_bytes -= message.nbytes
            if self._lossless:
                self._changed.notify_all()
            return message

    def take_overflowed(self) -> int:
        """Return how many messages were dropped since the last call."""
        with self._changed:
            count, self._overflowed = self._overflowed, 0
            return count

    def _receive(self, pull: zmq.Socket[bytes]) -> bool:
        """Take one message off the socket; return whether to go on."""
        stopping = self._stop_at_ns is not None
        try:
            parts = pull.recv_multipart(copy=False)
        except zmq.Again:
            return not stopping
        self._put(Received(clock.now_ns(), parts))
        return self._stop_at_ns is None or clock.now_ns() < self._stop_at_ns

    def _put(self, message: Received) -> None:
        with self._changed:
            if self._lossless:
                self._changed.wait_for(lambda: self._has_room() or self._stop_at_ns is not None)
            self._waiting.append(message)
            self._waiting_bytes += message.nbytes
            while (
                self._waiting_bytes > self._max_bytes
                and len(self._waiting) > 1
                and not self._lossless
            ):
                self._waiting_bytes -= self._waiting.popleft().nbytes
                self._overflowed += 1
        self._bell.set()

    def _has_room(self) -> bool:
        return self._waiting_bytes < self._max_bytes


@contextlib.contextmanager
def receiving(
    context: zmq.Context[zmq.Socket[bytes]],
    addresses: dict[str, str],
    bell: threading.Event,
    *,
    lossless: bool,
    keys: ServerKeys | None,
) -> Iterator[dict[str, Inbox]]:
    """Run an inbox for each source; raises EndpointError if one of them cannot listen."""
    inboxes = {
        source: Inbox(context, source, address, bell=bell, lossless=lossless, keys=keys)
        for source, address in addresses.items()
    }
    try:
        for inbox in inboxes.values():
            inbox.start()
        for inbox in inboxes.values():
            inbox.bound.result()
        yield inboxes
    finally:
        for inbox in inboxes.values():
            inbox.stop()
        for inbox in inboxes.values():
            inbox.join()
