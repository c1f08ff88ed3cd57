"""Disconnects peers that send much and say nothing: libzmq bounds a single part of a message, and no more.

A listening socket of libzmq takes MAXMSGSIZE bytes from each connection before its handshake is over, and any
number of parts before a message is whole; neither is seen by what receives from the socket. The kernel
counts the bytes of each connection (TCP_INFO), the socket's monitor tells their descriptors, and messages
tell which connection they came over. So a connection has an allowance of bytes without a whole message.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import zmq

from framepair.protocol.transport import monitor_events
from framepair.protocol.transport.rate_limited_log import RateLimitedLog

log = logging.getLogger(__name__)

LOOK_S = 0.05
# Connections that have sent no whole message, each of which takes a descriptor; the oldest is dropped.
MAX_SILENT = 64
# Of a socket that receives small messages only.
SMALL_ALLOWANCE_BYTES = 64 * 1024
# Messages that may be on their way to the receiving thread, beside the one that is coming in.
MESSAGES_BETWEEN = 3
# Heartbeats are no messages: in each direction one a second, and its answer, of 60 bytes with keys.
HEARTBEATS_BYTES_S = 256
# Where struct tcp_info of linux/tcp.h has tcpi_bytes_received, since Linux 4.1.
BYTES_RECEIVED = slice(128, 136)

ENDS = zmq.EVENT_DISCONNECTED | zmq.EVENT_CLOSED
EVENTS = zmq.EVENT_ACCEPTED | ENDS
# libzmq's two ends of a connection that has ended take leave of each other in microseconds, if they get to run.
SETTLED_S = 0.5


@dataclass(slots=True)
class _Connection:
    """A connection: since when, and at how many bytes, it has sent no whole message."""

    accepted_s: float
    since_s: float
    at_bytes: int = 0
    largest_bytes: int = 0
    has_spoken: bool = False
    spoke_now: bool = False


class ConnectionGuard:
    """Watches the connections of one listening socket, for the thread that the socket belongs to.

    A connection may send ``allowance_bytes`` before its first message is whole, and those that have sent none
    may do so together; later as much more as its largest messages take. Of connections over ipc, which are of
    this user, only the end is noticed.
    """

    def __init__(self, address: str, allowance_bytes: int = SMALL_ALLOWANCE_BYTES) -> None:
        self._address = address
        self._allowance_bytes = allowance_bytes
        self._connections: dict[int, _Connection] = {}
        self._monitor: zmq.Socket[bytes] | None = None
        self._next_look_s = 0.0
        self._guarded = address.startswith("tcp://")
        self._ended_s = -math.inf
        self._peer_log = RateLimitedLog(log)

    @contextlib.contextmanager
    def watching(self, listener: zmq.Socket[bytes]) -> Iterator[None]:
        """Watch ``listener``; to be entered before it is bound, and left before it is closed."""
        self._monitor = listener.get_monitor_socket(EVENTS if self._guarded else ENDS)
        try:
            yield
        finally:
            listener.disable_monitor()
            self._monitor.close(linger=0)
            self._monitor = None

    def count_message(self, parts: Sequence[zmq.Frame]) -> None:
        """Count a whole message, by the connection that it came over."""
        if not self._guarded:
            return
        connection = self._connections.get(peer_descriptor(parts[-1]))
        if connection is not None:
            connection.has_spoken = connection.spoke_now = True
            nbytes = sum(len(part) for part in parts)
            connection.largest_bytes = max(connection.largest_bytes, nbytes)

    def look(self) -> None:
        """Disconnect what has exceeded its allowance; to be called 20 times a second, and cheap otherwise."""
        now_s = time.monotonic()
        if self._monitor is None or not self._guarded or now_s < self._next_look_s:
            return
        self._next_look_s = now_s + LOOK_S
        self._read_events(self._monitor, now_s)
        unfinished = {
            number: self._unfinished_bytes(number, connection, now_s)
            for number, connection in self._connections.items()
        }
        for number, nbytes in unfinished.items():
            if nbytes > self._allowance(self._connections[number]):
                self._disconnect(number, f"it sent {nbytes} bytes that are no whole message")
        self._bound_silent(unfinished)

    def is_settled(self) -> bool:
        """Return whether no connection has ended of late, as libzmq said before its socket heard of it."""
        now_s = time.monotonic()
        if self._monitor is not None:
            self._read_events(self._monitor, now_s)
        return now_s > self._ended_s + SETTLED_S

    def _read_events(self, monitor: zmq.Socket[bytes], now_s: float) -> None:
        for event, number in monitor_events.waiting(monitor):
            if event == zmq.EVENT_ACCEPTED:
                self._connections[number] = _Connection(now_s, now_s)
            else:
                self._connections.pop(number, None)
                self._ended_s = now_s

    def _unfinished_bytes(self, number: int, connection: _Connection, now_s: float) -> int:
        """Return how many bytes came since the last whole message, but for heartbeats."""
        received = _received_bytes(number)
        if connection.spoke_now:
            connection.spoke_now = False
            connection.at_bytes, connection.since_s = received, now_s
        heartbeats = round(HEARTBEATS_BYTES_S * (now_s - connection.since_s))
        return max(0, received - connection.at_bytes - heartbeats)

    def _allowance(self, connection: _Connection) -> int:
        return self._allowance_bytes + MESSAGES_BETWEEN * connection.largest_bytes

    def _bound_silent(self, unfinished: dict[int, int]) -> None:
        """Bound the number and the bytes of connections that have sent no whole message."""
        silent = [
            number for number, connection in self._connections.items() if not connection.has_spoken
        ]
        silent.sort(key=lambda number: self._connections[number].accepted_s)
        for number in silent[: max(0, len(silent) - MAX_SILENT)]:
            self._disconnect(number, f"more than {MAX_SILENT} have sent no message")
        left = sorted(silent[-MAX_SILENT:], key=lambda number: unfinished[number])
        total = sum(unfinished[number] for number in left)
        while left and total > self._allowance_bytes:
            number = left.pop()
            total -= unfinished[number]
            self._disconnect(number, "it and others sent too many bytes that are no whole message")

    def _disconnect(self, number: int, why: str) -> None:
        if disconnect(number, self._address):
            self._peer_log.warn(self._address, f"disconnected a peer of {self._address}: {why}")
        self._connections.pop(number, None)


def peer_descriptor(part: zmq.Frame) -> int:
    """Return the descriptor of the connection that a message came over, -1 if that isn't known."""
    try:
        return int(part.get(zmq.SRCFD))
    except zmq.ZMQError:
        return -1


def disconnect(number: int, address: str) -> bool:
    """End the connection ``number`` of what listens at ``address``; return whether it was one.

    libzmq closes it then, and gives back all memory that it took.
    """
    with contextlib.suppress(OSError), _borrowed(number) as connection:
        # libzmq may have closed it in this moment, and the number may be something else's now.
        if _is_at(connection, address):
            connection.shutdown(socket.SHUT_RDWR)
            return True
    return False


def _is_at(connection: socket.socket, address: str) -> bool:
    name = connection.getsockname()
    if isinstance(name, tuple):
        return address.endswith(f":{name[1]}")
    return address == f"ipc://{name}"


def _received_bytes(number: int) -> int:
    """Return how many bytes the connection ``number`` has received, 0 if it is none any more."""
    with contextlib.suppress(OSError), _borrowed(number) as connection:
        information = connection.getsockopt(
            socket.IPPROTO_TCP, socket.TCP_INFO, BYTES_RECEIVED.stop
        )
        return int.from_bytes(information[BYTES_RECEIVED], "little")
    return 0


@contextlib.contextmanager
def _borrowed(number: int) -> Iterator[socket.socket]:
    """Yield the socket ``number``, which libzmq has; raises OSError if it isn't one."""
    with socket.socket(fileno=os.dup(number)) as connection:
        yield connection
