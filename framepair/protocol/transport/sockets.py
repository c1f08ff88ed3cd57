"""The sockets of a pipeline: the only place that sets ZeroMQ options.

Every socket is opened, used and closed by one thread, but for a producer's PUSH: two threads use that, under a
lock, and the one that opened it closes it. Every receive and every send has a time-out, so that a flag set by a
signal handler is always seen (pyzmq #746).
"""

from __future__ import annotations

import contextlib
import errno
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager

import zmq

from framepair.protocol.transport import authenticator, endpoints
from framepair.protocol.transport.authenticator import Authenticator
from framepair.protocol.transport.connection_guard import ConnectionGuard
from framepair.protocol.transport.endpoints import EndpointError
from framepair.protocol.transport.keys import ClientKeys, ServerKeys
from framepair.protocol.wire import sync
from framepair.protocol.wire.limits import MAX_FRAME_BYTES

Socket = zmq.Socket[bytes]
Context = zmq.Context[Socket]
Opening = AbstractContextManager[Socket]

POLL_MS = 200
# A socket whose connections are guarded looks at them this often, also when nothing comes.
GUARDED_POLL_MS = 50
# A publisher receives nothing but subscriptions, of 72 bytes at most; a handshake with keys takes 300 or so.
MAX_SUBSCRIPTION_BYTES = 1024
SUBSCRIPTIONS_QUEUED = 64
# The receiving threads empty their sockets at once; queues belong where the oldest frame can be dropped.
DRAINED_HWM = 2
# How long a node that stops may take to hand its last messages to the kernel.
LINGER_MS = 1000
# A listener that is closed is so within microseconds, if the thread that does it gets to run.
REBIND_S, REBIND_POLL_S = 5.0, 0.001
HEARTBEAT_MS, HEARTBEAT_TIMEOUT_MS = 1000, 4000
CONNECT_TIMEOUT_MS = 1000
# Peers that do not finish the handshake within this time are dropped; libzmq's default is 30 s.
HANDSHAKE_TIMEOUT_MS = 5000
# How long until a connection is tried again, at first and at most. At a path an attempt costs 0.1 ms, and at
# the start a producer may be there before the combiner is.
RECONNECT_MS, RECONNECT_MAX_MS = 100, 1000
RECONNECT_IPC_MS, RECONNECT_IPC_MAX_MS = 10, 50
# What may queue at each link unless told otherwise: windows, and as long as a busy machine pauses a process.
WINDOWS_QUEUED, MIN_QUEUED_S = 2, 0.4
# Until the publisher knows its sources: two windows of two sources at 25 frames a second.
INITIAL_PUB_HWM = 100
# Of libzmq, for the combiner: more take descriptors and do not make it faster.
MAX_IO_THREADS = 16
MIN_ZMQ = (4, 3, 5)


def new_context(io_threads: int = 1) -> Context:
    """Return the process's one context; raises RuntimeError if libzmq is older than 4.3.5.

    It has ``io_threads``, MAX_IO_THREADS at most.
    """
    if zmq.zmq_version_info() < MIN_ZMQ:
        raise RuntimeError(f"libzmq {zmq.zmq_version()} has known holes; 4.3.5 or newer is needed")
    return zmq.Context(io_threads=min(io_threads, MAX_IO_THREADS))


def queue_frames(max_bytes: int, frame_bytes: int) -> int:
    """Return the high-water mark, in frames, that keeps a queue within ``max_bytes``: 1 at least."""
    return max(1, max_bytes // max(1, frame_bytes))


def queued_s(window_s: float) -> float:
    """Return how many seconds of frames may queue unless told otherwise: two windows, 0.4 s at the least."""
    return max(WINDOWS_QUEUED * window_s, MIN_QUEUED_S)


def window_bytes(frame_bytes: int, fps: float, window_s: float) -> int:
    """Return how many bytes may queue unless told otherwise."""
    return max(1, round(fps * queued_s(window_s))) * frame_bytes


def publisher_queue(
    sources: Collection[tuple[float, int]],
    most_sources: int,
    window_s: float,
    max_bytes: int | None,
) -> int:
    """Return the high-water mark, in messages, of a subscriber's queue, for each source's fps and frame bytes.

    It holds ``queued_s`` of each of ``sources``, and as much for each further one up to ``most_sources`` as for
    the one with the most frames; or ``max_bytes`` of what they send in the same time.
    """
    frames = [max(1, round(fps * queued_s(window_s))) for fps, _ in sources]
    total = sum(frames) + max(0, most_sources - len(frames)) * max(frames)
    if max_bytes is not None:
        nbytes = sum(count * size for count, (_, size) in zip(frames, sources, strict=True))
        total = queue_frames(max_bytes, round(nbytes / sum(frames)))
    # The announcements of pairs are messages too.
    return total + max(WINDOWS_QUEUED, round(queued_s(window_s) / window_s))


def push(
    context: Context, address: str, *, hwm: int, lossless: bool, keys: ClientKeys | None = None
) -> Opening:
    """Connect a producer's PUSH socket. Unless ``lossless``, a send never waits: it raises zmq.Again."""
    return _connecting(
        context,
        zmq.PUSH,
        address,
        keys,
        sndhwm=hwm,
        # Without IMMEDIATE, frames queue up for a combiner that isn't there and come first, stale, once it is.
        immediate=1,
        sndtimeo=POLL_MS if lossless else 0,
        linger=LINGER_MS,
    )


def pull(
    context: Context,
    address: str,
    *,
    source: str = "",
    keys: ServerKeys | None = None,
    guard: ConnectionGuard | None = None,
) -> Opening:
    """Bind a combiner's PULL socket for ``source``, which only keys that may send it get through to."""
    return _listening(
        context,
        zmq.PULL,
        address,
        keys,
        guard,
        domain=authenticator.domain(source),
        rcvhwm=DRAINED_HWM,
        rcvtimeo=GUARDED_POLL_MS if guard else POLL_MS,
        linger=0,
        maxmsgsize=MAX_FRAME_BYTES,
    )


def publish(
    context: Context,
    address: str,
    *,
    hwm: int = INITIAL_PUB_HWM,
    lossless: bool = False,
    keys: ServerKeys | None = None,
    guard: ConnectionGuard | None = None,
) -> Opening:
    """Bind the combiner's XPUB socket, from which each subscription can be received.

    ``lossless``: a full queue makes a send wait, instead of losing the message for that subscriber.
    """
    return _listening(
        context,
        zmq.XPUB,
        address,
        keys,
        guard,
        sndhwm=hwm,
        sndtimeo=POLL_MS,
        linger=LINGER_MS,
        maxmsgsize=MAX_SUBSCRIPTION_BYTES,
        # Subscriptions that are not received yet: beyond these libzmq stops reading from the subscriber.
        rcvhwm=SUBSCRIPTIONS_QUEUED,
        # Also those that an earlier subscriber has made already: each new subscriber has to be known.
        xpub_verboser=1,
        xpub_nodrop=int(lossless),
    )


def answer(
    context: Context,
    address: str,
    *,
    keys: ServerKeys | None = None,
    guard: ConnectionGuard | None = None,
) -> Opening:
    """Bind the combiner's ROUTER socket, which tells the time."""
    return _listening(
        context,
        zmq.ROUTER,
        address,
        keys,
        guard,
        rcvtimeo=GUARDED_POLL_MS if guard else POLL_MS,
        sndtimeo=0,
        linger=0,
        maxmsgsize=sync.MAX_BYTES,
    )


def ask(context: Context, address: str, *, keys: ClientKeys | None = None) -> Opening:
    """Connect the DEALER socket of a node that asks for the time."""
    return _connecting(
        context,
        zmq.DEALER,
        address,
        keys,
        # A question that waits is worth nothing.
        sndhwm=DRAINED_HWM,
        rcvhwm=DRAINED_HWM,
        immediate=1,
        sndtimeo=0,
        rcvtimeo=POLL_MS,
        linger=0,
        maxmsgsize=sync.MAX_BYTES,
    )


@contextlib.contextmanager
def subscribe(
    context: Context, address: str, topics: list[bytes], *, keys: ClientKeys | None = None
) -> Iterator[Socket]:
    """Connect a consumer's SUB socket, which receives ``topics``."""
    with _connecting(
        context,
        zmq.SUB,
        address,
        keys,
        rcvhwm=DRAINED_HWM,
        rcvtimeo=POLL_MS,
        linger=0,
        maxmsgsize=MAX_FRAME_BYTES,
    ) as socket:
        for topic in topics:
            socket.subscribe(topic)
        yield socket


@contextlib.contextmanager
def accepting(context: Context, keys: ServerKeys | None) -> Iterator[Authenticator | None]:
    """While entered, sockets of ``context`` that listen with ``keys`` let in the clients that those list.

    To be entered before they listen: until then they would let in any client that has keys of its own. Without
    ``keys`` there is nothing to check, and None.
    """
    if keys is None:
        yield None
        return
    with Authenticator(context, keys.clients, keys.reread) as letting_in:
        yield letting_in


def set_queue(publisher: Socket, hwm: int) -> None:
    """Give every subscriber of an XPUB socket, present and future, a queue of ``hwm`` messages.

    It ends all connections, and the subscribers connect again: a connection has the mark of when its listener
    was bound. Call it once, before anything is sent, and while no connection is ending. A subscriber whose
    queue is full when its mark changes may get nothing for good, as libzmq waits for an acknowledgement that
    its other end, which counts in steps of half the new mark, has no reason to send (pipe.cpp, set_hwms). And
    libzmq tells the other end of each connection, also of one that is gone already, and crashes (pipe.cpp,
    send_hwms_to_peer).
    """
    publisher.sndhwm = hwm
    address = publisher.get_string(zmq.LAST_ENDPOINT)
    publisher.unbind(address)
    deadline_s = time.monotonic() + REBIND_S
    while True:
        try:
            publisher.bind(address)
        except zmq.ZMQError as error:
            # The former listener is closed by another thread.
            if error.errno != errno.EADDRINUSE or time.monotonic() > deadline_s:
                raise
            time.sleep(REBIND_POLL_S)
        else:
            return


def send_tracked(
    socket: Socket, message: Sequence[bytes], timeout_s: float = POLL_MS / 1000
) -> zmq.MessageTracker | None:
    """Send a small message; return what tells when the kernel has it, None if no room came in time."""
    former = socket.sndtimeo, socket.copy_threshold
    # pyzmq tracks only what it doesn't copy, and it copies small messages unless told otherwise.
    socket.sndtimeo, socket.copy_threshold = round(timeout_s * 1000), 0
    try:
        return socket.send_multipart(message, copy=False, track=True)
    except zmq.Again:
        return None
    finally:
        socket.sndtimeo, socket.copy_threshold = former


@contextlib.contextmanager
def _listening(
    context: Context,
    kind: int,
    address: str,
    keys: ServerKeys | None,
    guard: ConnectionGuard | None,
    *,
    domain: str = authenticator.DOMAIN,
    **options: int,
) -> Iterator[Socket]:
    with endpoints.reserved(address), contextlib.ExitStack() as opened:
        try:
            socket = opened.enter_context(_socket(context, kind, address, options))
            # A path below a directory of ours needs no keys: the kernel lets in this user alone.
            if keys is not None and address.startswith("tcp://"):
                socket.curve_publickey, socket.curve_secretkey = keys.public, keys.secret
                socket.curve_server = True
                socket.zap_domain = domain.encode()
            if guard:
                opened.enter_context(guard.watching(socket))
            socket.bind(address)
        except zmq.ZMQError as error:
            why = endpoints.reason(error.errno, error.strerror)
            raise EndpointError(f"cannot listen on {address}: {why}") from None
        yield socket


@contextlib.contextmanager
def _connecting(
    context: Context, kind: int, address: str, keys: ClientKeys | None, **options: int
) -> Iterator[Socket]:
    endpoints.ipc_path(address)
    with _socket(context, kind, address, options) as socket:
        if keys is not None:
            socket.curve_publickey, socket.curve_secretkey = keys.public, keys.secret
            # Only the combiner with this key is talked to.
            socket.curve_serverkey = keys.server
        try:
            socket.connect(address)
        except zmq.ZMQError as error:
            raise EndpointError(f"cannot connect to {address}: {error.strerror}") from None
        yield socket


@contextlib.contextmanager
def _socket(context: Context, kind: int, address: str, options: dict[str, int]) -> Iterator[Socket]:
    with context.socket(kind) as socket:
        if address.startswith("tcp://"):
            # A peer that was unplugged says nothing; without heartbeats its connection stays for ever.
            socket.heartbeat_ivl = HEARTBEAT_MS
            socket.heartbeat_timeout = HEARTBEAT_TIMEOUT_MS
            # A connection attempt into a cable that is cut must be repeated soon after it is mended.
            socket.connect_timeout = CONNECT_TIMEOUT_MS
            socket.ipv6 = "[" in address
            socket.reconnect_ivl, socket.reconnect_ivl_max = RECONNECT_MS, RECONNECT_MAX_MS
        else:
            socket.reconnect_ivl, socket.reconnect_ivl_max = RECONNECT_IPC_MS, RECONNECT_IPC_MAX_MS
        socket.handshake_ivl = HANDSHAKE_TIMEOUT_MS
        for name, value in options.items():
            setattr(socket, name, value)
        yield socket
