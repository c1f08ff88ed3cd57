"""One source's way into the combiner: a thread that does nothing but receive into a deque."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import zmq

from framepair.nodes.combiner.listening_thread import ListeningThread
from framepair.protocol.clocks import clock
from framepair.protocol.transport import sockets
from framepair.protocol.transport.connection_guard import LOOK_S, ConnectionGuard
from framepair.protocol.transport.endpoints import EndpointError
from framepair.protocol.transport.keys import ServerKeys
from framepair.protocol.wire.limits import MAX_FRAME_BYTES

# How long a receiver that stops still waits for what is on its way.
DRAIN_S = 0.5
# Two windows of 1080p at 25 frames a second; the combiner sets the true figure with the first frame.
INITIAL_MAX_BYTES = 50 * 1920 * 1080 * 3
# A header, what encryption adds, and what the kernel has received that the thread has not.
FRAME_OVERHEAD_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Received:
    """The parts of a message, and when the last of them was there."""

    received_ns: int
    parts: list[zmq.Frame]

    @property
    def nbytes(self) -> int:
        """How many bytes the message holds."""
        return sum(len(part) for part in self.parts)


class Inbox:
    """Receives one source's messages. Real time: the oldest is dropped when too many bytes are waiting.

    ``bell`` is set for every message. With ``lossless`` the thread stops receiving instead of dropping,
    so that the producer has to wait.
    """

    def __init__(
        self,
        context: sockets.Context,
        source: str,
        address: str,
        *,
        bell: threading.Event,
        lossless: bool,
        keys: ServerKeys | None = None,
    ) -> None:
        self.source = source
        self.address = address
        self._max_bytes = INITIAL_MAX_BYTES
        self._bell = bell
        self._changed = threading.Condition()
        self._lossless = lossless
        self._waiting: deque[Received] = deque()
        self._waiting_bytes = 0
        self._overflowed = 0
        self._stop_at_ns: int | None = None
        self._guard = ConnectionGuard(address, MAX_FRAME_BYTES + FRAME_OVERHEAD_BYTES)
        opening = sockets.pull(context, address, source=source, keys=keys, guard=self._guard)
        self._thread = ListeningThread(
            f"receive {source}", opening, self._receive_all, failed=bell.set
        )

    def start(self) -> None:
        """Begin to listen, in a thread of its own; raises EndpointError if it can't have one."""
        try:
            self._thread.start()
        except RuntimeError as error:
            raise EndpointError(
                f"cannot receive {self.source}: {error}: use fewer sources, or allow more processes (ulimit -u)"
            ) from None

    def wait_until_bound(self) -> None:
        """Return once the address is listened at; raises EndpointError if it can't be."""
        self._thread.wait_until_bound()

    def stop(self) -> None:
        """Make the thread end once nothing more comes, or after DRAIN_S."""
        self._stop_at_ns = clock.now_ns() + round(DRAIN_S * 1e9)
        with self._changed:
            self._changed.notify_all()

    def join(self) -> None:
        """Wait for the end of the thread."""
        self._thread.join()

    @property
    def is_over(self) -> bool:
        """Whether nothing more comes in, and nothing waits."""
        return not self._thread.is_alive() and not self._waiting

    def limit(self, max_bytes: int) -> None:
        """Set how many bytes may wait here; without a call INITIAL_MAX_BYTES."""
        self._max_bytes = max_bytes

    def take(self) -> Received | None:
        """Return the oldest message, None if none is waiting; raises what ended the thread, if it failed."""
        self._thread.check()
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

    def _receive_all(self, pull: sockets.Socket) -> None:
        while self._receive(pull):
            self._guard.look()

    def _receive(self, pull: sockets.Socket) -> bool:
        """Take one message off the socket; return whether to go on."""
        stopping = self._stop_at_ns is not None
        try:
            parts = pull.recv_multipart(copy=False)
        except zmq.Again:
            return not stopping
        received_ns = clock.now_ns()
        self._guard.count_message(parts)
        self._put(Received(received_ns, parts))
        return self._stop_at_ns is None or clock.now_ns() < self._stop_at_ns

    def _put(self, message: Received) -> None:
        with self._changed:
            while self._lossless and not self._has_room() and self._stop_at_ns is None:
                self._changed.wait(LOOK_S)
                self._guard.look()
            self._waiting.append(message)
            self._waiting_bytes += message.nbytes
            if not self._lossless:
                self._drop_oldest()
        self._bell.set()

    def _drop_oldest(self) -> None:
        while self._waiting_bytes > self._max_bytes and len(self._waiting) > 1:
            self._waiting_bytes -= self._waiting.popleft().nbytes
            self._overflowed += 1

    def _has_room(self) -> bool:
        return self._waiting_bytes < self._max_bytes


class Inboxes:
    """An inbox for each source, by name; sources may come and go."""

    def __init__(
        self,
        context: sockets.Context,
        bell: threading.Event,
        *,
        lossless: bool,
        keys: ServerKeys | None,
    ) -> None:
        self._context = context
        self._bell = bell
        self._lossless = lossless
        self._keys = keys
        self._inboxes: dict[str, Inbox] = {}

    def __getitem__(self, source: str) -> Inbox:
        return self._inboxes[source]

    @property
    def addresses(self) -> dict[str, str]:
        """Where each source is received."""
        return {source: inbox.address for source, inbox in self._inboxes.items()}

    def values(self) -> list[Inbox]:
        """Return the inboxes of all sources."""
        return list(self._inboxes.values())

    def open(self, addresses: Mapping[str, str]) -> dict[str, Inbox]:
        """Listen for more sources, all of them or none; return their inboxes.

        Raises EndpointError if one of them cannot listen, or has no thread.
        """
        inboxes = {
            source: Inbox(
                self._context,
                source,
                address,
                bell=self._bell,
                lossless=self._lossless,
                keys=self._keys,
            )
            for source, address in addresses.items()
        }
        started: dict[str, Inbox] = {}
        try:
            for source, inbox in inboxes.items():
                inbox.start()
                started[source] = inbox
            for inbox in inboxes.values():
                inbox.wait_until_bound()
        except BaseException:
            self.abandon(started)
            raise
        self._inboxes.update(inboxes)
        return inboxes

    def abandon(self, inboxes: Mapping[str, Inbox]) -> None:
        """Receive nothing more in ``inboxes``."""
        for source, inbox in inboxes.items():
            self._inboxes.pop(source, None)
            inbox.stop()
        for inbox in inboxes.values():
            inbox.join()

    def remove(self, source: str) -> None:
        """Forget the inbox of ``source``, which is over."""
        self._inboxes.pop(source).join()

    def close(self) -> None:
        """Receive nothing more."""
        for inbox in self._inboxes.values():
            inbox.stop()
        for inbox in self._inboxes.values():
            inbox.join()


@contextlib.contextmanager
def receiving(
    context: sockets.Context,
    addresses: Mapping[str, str],
    bell: threading.Event,
    *,
    lossless: bool,
    keys: ServerKeys | None,
) -> Iterator[Inboxes]:
    """Run an inbox for each source; raises EndpointError if one of them cannot listen, or has no thread."""
    inboxes = Inboxes(context, bell, lossless=lossless, keys=keys)
    try:
        inboxes.open(addresses)
        yield inboxes
    finally:
        inboxes.close()
