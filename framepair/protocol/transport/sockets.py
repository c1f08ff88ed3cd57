"""The sockets of a pipeline: the only place that sets ZeroMQ options.

Every socket is closed by the thread that opened it; every receive and every send has a time-out, so that a
flag set by a signal handler is always seen (pyzmq #746).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import zmq
from zmq.auth.thread import ThreadAuthenticator

from framepair.protocol.transport import endpoints
from framepair.protocol.transport.endpoints import EndpointError
from framepair.protocol.transport.keys import ClientKeys, ServerKeys
from framepair.protocol.wire import sync
from framepair.protocol.wire.frame import MAX_FRAME_BYTES

POLL_MS = 200
# A subscription is the only thing that a publisher receives, an end or a frame what the others do.
MAX_SUBSCRIPTION_BYTES = 1024
# The receiving threads empty their sockets at once; queues belong where the oldest frame can be dropped.
DRAINED_HWM = 2
# How long a node that stops may take to hand its last messages to the kernel.
LINGER_MS = 1000
HEARTBEAT_MS, HEARTBEAT_TIMEOUT_MS = 1000, 4000
CONNECT_TIMEOUT_MS = 1000
HANDSHAKE_TIMEOUT_MS = 5000
WINDOWS_QUEUED = 2
ZAP_DOMAIN = "framepair"
# Two windows of two 1080p sources at 25 frames a second, until the publisher knows its sources.
INITIAL_PUB_HWM = 100
MIN_ZMQ = (4, 3, 5)


def new_context(io_threads: int = 1) -> zmq.Context[zmq.Socket[bytes]]:
    """Return the process's one context; raises RuntimeError if libzmq is older than 4.3.5."""
    if zmq.zmq_version_info() < MIN_ZMQ:
        raise RuntimeError(f"libzmq {zmq.zmq_version()} has known holes; 4.3.5 or newer is needed")
    return zmq.Context(io_threads=io_threads)


def queue_frames(max_bytes: int, frame_bytes: int) -> int:
    """Return the high-water mark, in frames, that keeps a queue within ``max_bytes``: 1 at least."""
    return max(1, max_bytes // max(1, frame_bytes))


def window_bytes(frame_bytes: int, fps: float, window_s: float) -> int:
    """Return how many bytes may queue unless told otherwise: two windows of frames."""
    return max(1, round(WINDOWS_QUEUED * fps * window_s)) * frame_bytes


@contextlib.contextmanager
def push(
    context: zmq.Context[zmq.Socket[bytes]],
    address: str,
    *,
    hwm: int,
    lossless: bool,
    keys: ClientKeys | None = None,
) -> Iterator[zmq.Socket[bytes]]:
    """Connect a producer's PUSH socket. Unless ``lossless``, a send never waits: it raises zmq.Again."""
    endpoints.ipc_path(address)
    with _socket(context, zmq.PUSH, address) as socket:
        socket.sndhwm = hwm
        # Without IMMEDIATE, frames queue up for a combiner that isn't there and come first, stale, once it is.
        socket.immediate = True
        socket.sndtimeo = POLL_MS if lossless else 0
        socket.linger = LINGER_MS
        _authenticate(socket, keys)
        _connect(socket, address)
        yield socket


@contextlib.contextmanager
def accepting(context: zmq.Context[zmq.Socket[bytes]], keys: ServerKeys | None) -> Iterator[None]:
    """While entered, sockets of ``context`` that listen with keys accept the listed clients only.

    To be entered before they listen: until then they would accept everybody who has any keys.
    """
    if keys is None:
        yield
        return
    authenticator = ThreadAuthenticator(context)
    authenticator.start()
    try:
        authenticator.configure_curve(domain=ZAP_DOMAIN, location=keys.clients)
        yield
    finally:
        authenticator.stop()


@contextlib.contextmanager
def pull(
    context: zmq.Context[zmq.Socket[bytes]], address: str, *, keys: ServerKeys | None = None
) -> Iterator[zmq.Socket[bytes]]:
    """Bind a combiner's PULL socket for one source."""
    with endpoints.reserved(address), _socket(context, zmq.PULL, address) as socket:
        socket.rcvhwm = DRAINED_HWM
        socket.rcvtimeo = POLL_MS
        socket.linger = 0
        socket.maxmsgsize = MAX_FRAME_BYTES
        _demand(socket, address, keys)
        _bind(socket, address)
        yield socket


@contextlib.contextmanager
def publish(
    context: zmq.Context[zmq.Socket[bytes]],
    address: str,
    *,
    hwm: int = INITIAL_PUB_HWM,
    keys: ServerKeys | None = None,
) -> Iterator[zmq.Socket[bytes]]:
    """Bind the combiner's XPUB socket: a PUB that also tells who subscribes, and can be made to wait."""
    with endpoints.reserved(address), _socket(context, zmq.XPUB, address) as socket:
        socket.sndhwm = hwm
        socket.sndtimeo = POLL_MS
        socket.linger = LINGER_MS
        socket.maxmsgsize = MAX_SUBSCRIPTION_BYTES
        _demand(socket, address, keys)
        _bind(socket, address)
        yield socket


@contextlib.contextmanager
def answer(
    context: zmq.Context[zmq.Socket[bytes]], address: str, *, keys: ServerKeys | None = None
) -> Iterator[zmq.Socket[bytes]]:
    """Bind the combiner's ROUTER socket, which tells the time."""
    with endpoints.reserved(address), _socket(context, zmq.ROUTER, address) as socket:
        socket.rcvtimeo = POLL_MS
        socket.sndtimeo = 0
        socket.linger = 0
        socket.maxmsgsize = sync.MAX_BYTES
        _demand(socket, address, keys)
        _bind(socket, address)
        yield socket


@contextlib.contextmanager
def ask(
    context: zmq.Context[zmq.Socket[bytes]], address: str, *, keys: ClientKeys | None = None
) -> Iterator[zmq.Socket[bytes]]:
    """Connect the DEALER socket of a node that asks for the time."""
    endpoints.ipc_path(address)
    with _socket(context, zmq.DEALER, address) as socket:
        # A question that waits is worth nothing.
        socket.sndhwm = socket.rcvhwm = DRAINED_HWM
        socket.immediate = True
        socket.sndtimeo = 0
        socket.rcvtimeo = POLL_MS
        socket.linger = 0
        socket.maxmsgsize = sync.MAX_BYTES
        _authenticate(socket, keys)
        _connect(socket, address)
        yield socket


@contextlib.contextmanager
def subscribe(
    context: zmq.Context[zmq.Socket[bytes]],
    address: str,
    topics: list[bytes],
    *,
    keys: ClientKeys | None = None,
) -> Iterator[zmq.Socket[bytes]]:
    """Connect a consumer's SUB socket."""
    endpoints.ipc_path(address)
    with _socket(context, zmq.SUB, address) as socket:
        socket.rcvhwm = DRAINED_HWM
        socket.rcvtimeo = POLL_MS
        socket.linger = 0
        socket.maxmsgsize = MAX_FRAME_BYTES
        _authenticate(socket, keys)
        _connect(socket, address)
        for topic in topics:
            socket.subscribe(topic)
        yield socket


@contextlib.contextmanager
def _socket(
    context: zmq.Context[zmq.Socket[bytes]], kind: int, address: str
) -> Iterator[zmq.Socket[bytes]]:
    with context.socket(kind) as socket:
        if address.startswith("tcp://"):
            # A peer that was unplugged says nothing; without heartbeats its connection stays for ever.
            socket.heartbeat_ivl = HEARTBEAT_MS
            socket.heartbeat_timeout = HEARTBEAT_TIMEOUT_MS
            # Who connects into a cable that is cut must try again soon after it is mended.
            socket.connect_timeout = CONNECT_TIMEOUT_MS
            socket.ipv6 = "[" in address
        # Who connects and says nothing is not kept for half a minute.
        socket.handshake_ivl = HANDSHAKE_TIMEOUT_MS
        socket.reconnect_ivl = 100
        socket.reconnect_ivl_max = 1000
        yield socket


def _authenticate(socket: zmq.Socket[bytes], keys: ClientKeys | None) -> None:
    """Have a socket that connects encrypt, show who we are, and insist on the combiner's key."""
    if keys is not None:
        socket.curve_publickey, socket.curve_secretkey = keys.public, keys.secret
        socket.curve_serverkey = keys.server


def _demand(socket: zmq.Socket[bytes], address: str, keys: ServerKeys | None) -> None:
    """Have a socket that listens on a network encrypt, and accept nobody without keys."""
    if keys is not None and address.startswith("tcp://"):
        socket.curve_publickey, socket.curve_secretkey = keys.public, keys.secret
        socket.curve_server = True
        socket.zap_domain = ZAP_DOMAIN.encode()


def _connect(socket: zmq.Socket[bytes], address: str) -> None:
    try:
        socket.connect(address)
    except zmq.ZMQError as error:
        raise EndpointError(f"cannot connect to {address}: {error.strerror}") from None


def _bind(socket: zmq.Socket[bytes], address: str) -> None:
    try:
        socket.bind(address)
    except zmq.ZMQError as error:
        raise EndpointError(f"cannot listen on {address}: {error.strerror}") from None
