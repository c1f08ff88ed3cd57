"""Peers that mean harm, beside good sources: the flow of those has no gap, and nothing grows."""

from __future__ import annotations

import contextlib
import itertools
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import zmq

from framepair import Pair, subscribe
from framepair.protocol.transport.sockets import ask, new_context
from framepair.protocol.wire.frame import MAX_FRAME_BYTES, FrameHeader
from framepair.protocol.wire.sync import Ping, decode_pong
from tests.lib.pipeline import Pipeline, checked
from tests.lib.processes import PATIENCE_S, Running, memory_bytes
from tests.lib.shm import until

SOURCE = "synthetic://160x120@25"
MAX_GROWTH_BYTES = 50_000_000
IDLE = 200
# A ZMTP 3.1 greeting with the NULL mechanism, and the flags of frames.
GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x01" + b"NULL".ljust(20, b"\0") + bytes(32)
MORE, LONG, COMMAND = 0x01, 0x02, 0x04
PING_COMMAND, PONG_COMMAND = b"\x04PING\x00\x00" + b"half", b"\x04PONG" + b"half"
LARGE_SHAPE = (1080, 1920, 3)


@dataclass(frozen=True)
class Door:
    """A port of the combiner, and which kind of socket belongs at the other end."""

    port: int
    peer: bytes

    def connect(self, stack: ExitStack) -> socket.socket:
        """Return a plain connection."""
        return stack.enter_context(
            socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_S)
        )

    def enter(self, stack: ExitStack) -> Peer:
        """Return a connection after a whole handshake, as a socket of ZeroMQ would make it."""
        connection = self.connect(stack)
        connection.sendall(GREETING)
        peer = Peer(connection)
        assert peer.read(len(GREETING)).startswith(b"\xff")
        peer.send(
            COMMAND, b"\x05READY\x0bSocket-Type" + struct.pack(">L", len(self.peer)) + self.peer
        )
        peer.wait_for(b"\x05READY")
        return peer


class Peer:
    """Frames of ZMTP, one by one, over a connection that is past its greeting."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection

    def send(self, flags: int, body: bytes) -> None:
        self.connection.sendall(struct.pack(">BQ", flags | LONG, len(body)) + body)

    def wait_for(self, beginning: bytes) -> None:
        """Wait for a frame that begins so; those before it don't matter."""
        while True:
            flags = self.read(1)[0]
            (length,) = struct.unpack(">Q", self.read(8)) if flags & LONG else self.read(1)
            if self.read(length).startswith(beginning):
                return

    def read(self, length: int) -> bytes:
        data = b""
        while len(data) < length:
            more = self.connection.recv(length - len(data))
            assert more, "the combiner has closed the connection"
            data += more
        return data


@dataclass(frozen=True)
class Target:
    """The combiner under attack: all of its doors, and how to see what it has taken in."""

    nodes: Pipeline
    combiner: Running
    stack: ExitStack

    @property
    def push_address(self) -> str:
        return self.nodes.endpoints.pull["left"]

    @property
    def doors(self) -> list[Door]:
        """Where both sources push, where pairs are published and where the time is told."""
        endpoints = self.nodes.endpoints
        assert endpoints.sync
        kinds = {endpoints.pub: b"SUB", endpoints.sync: b"DEALER"}
        kinds |= dict.fromkeys(endpoints.pull.values(), b"PUSH")
        return [Door(int(at.rpartition(":")[2]), peer) for at, peer in kinds.items()]


Attack = Callable[[Target], object]


def raw(data: bytes) -> Attack:
    """Return what sends ``data`` to each of the combiner's doors, and stays."""

    def attack(target: Target) -> None:
        for door in target.doors:
            connection = door.connect(target.stack)
            # It may be thrown out in the middle of what it sends.
            with contextlib.suppress(OSError):
                connection.sendall(data)

    return attack


def unfinished(data: bytes) -> Attack:
    """Return what sends ``data`` to each door after a whole handshake, and stays."""

    def attack(target: Target) -> None:
        for door in target.doors:
            door.enter(target.stack).connection.sendall(data)

    return attack


def half_a_message(parts: dict[bytes, bytes], *, closed: bool) -> Attack:
    """Return what sends each door the first part of a message, by kind of peer, and never the next one."""

    def attack(target: Target) -> None:
        with ExitStack() as until_it_is_there:
            for door in target.doors:
                peer = door.enter(until_it_is_there if closed else target.stack)
                peer.send(MORE, parts[door.peer])
                # Who answers this has taken in all that came before.
                peer.send(COMMAND, PING_COMMAND)
                peer.wait_for(PONG_COMMAND)

    return attack


def oversized(target: Target) -> None:
    context = target.stack.enter_context(zmq.Context())
    push = target.stack.enter_context(context.socket(zmq.PUSH))
    push.linger = 0
    push.connect(target.push_address)
    push.send(bytes(MAX_FRAME_BYTES + 1), copy=False)


def malformed(target: Target) -> None:
    context = target.stack.enter_context(zmq.Context())
    push = target.stack.enter_context(context.socket(zmq.PUSH))
    push.linger = 0
    push.connect(target.push_address)
    for i in range(1000):
        push.send_multipart([b"\xc1" * (i % 99)] * (1 + i % 5))


def idle(target: Target) -> None:
    before = descriptors(target.combiner)
    for door in itertools.islice(itertools.cycle(target.doors), IDLE):
        door.connect(target.stack)
    # All of them were let in.
    until(lambda: descriptors(target.combiner) >= before + IDLE)


HEADER = FrameHeader("left", 1, 0, 10**18, 10**18 + 1, 10**18, LARGE_SHAPE, fps=25)
SMALL = {b"PUSH": HEADER.encode(), b"SUB": b"\x01pair", b"DEALER": Ping(1, "left", 1).encode()}
LARGE = {**SMALL, b"PUSH": bytes(HEADER.nbytes)}
ATTACKS: dict[str, Attack] = {
    "garbage": raw(bytes(range(256)) * 4000),
    "http": raw(b"GET / HTTP/1.1\r\nHost: combiner\r\n\r\n"),
    "half a greeting": raw(GREETING[:20]),
    "a part of 2 GiB is announced": unfinished(struct.pack(">BQ", LONG, 2 << 30)),
    "half a part": unfinished(struct.pack(">BQ", MORE | LONG, 400) + bytes(100)),
    "a header without pixels": half_a_message(SMALL, closed=False),
    "a header without pixels, and away": half_a_message(SMALL, closed=True),
    "pixels without an end": half_a_message(LARGE, closed=False),
    "pixels without an end, and away": half_a_message(LARGE, closed=True),
    "a part that is too large": oversized,
    "malformed messages": malformed,
    "connections that say nothing": idle,
}


def descriptors(node: Running) -> int:
    return sum(1 for _ in Path(f"/proc/{node.process.pid}/fd").iterdir())


def tells_the_time(address: str) -> bool:
    """Ask the combiner's clock as a node of another machine does."""
    with new_context() as context, ask(context, address) as dealer:
        dealer.sndtimeo = dealer.rcvtimeo = round(PATIENCE_S * 1000)
        dealer.send(Ping(123).encode())
        return decode_pong(dealer.recv()).ping_ns == 123


@pytest.fixture(scope="module")
def flowing() -> Iterator[tuple[Pipeline, Running, Iterator[Pair]]]:
    """Run a pipeline over tcp for all attacks, one after another."""
    with Pipeline(["left", "right"], "tcp") as nodes, subscribe(nodes.pub, keep=1000) as pairs:
        combiner = nodes.combiner("--sync", str(nodes.endpoints.sync))
        for name in nodes.sources:
            nodes.producer(name, SOURCE)
        stream = checked(pairs)
        assert next(stream).complete
        yield nodes, combiner, stream


@pytest.mark.parametrize("attack", ATTACKS)
def test_good_sources_go_on_beside(
    flowing: tuple[Pipeline, Running, Iterator[Pair]], attack: str
) -> None:
    nodes, combiner, stream = flowing
    seen = [next(stream)]
    before_bytes, before = memory_bytes(combiner.process.pid, "VmRSS"), descriptors(combiner)
    with ExitStack() as stack:
        ATTACKS[attack](Target(nodes, combiner, stack))
        seen += itertools.islice(stream, 6)
        assert tells_the_time(str(nodes.endpoints.sync))
    seen += itertools.islice(stream, 2)
    assert all(pair.complete for pair in seen)
    assert set(np.diff([pair.index for pair in seen])) == {1}
    for source in nodes.sources:
        assert set(np.diff(np.concatenate([pair[source].seq for pair in seen]))) == {1}
    assert memory_bytes(combiner.process.pid, "VmHWM") - before_bytes < MAX_GROWTH_BYTES
    until(lambda: descriptors(combiner) <= before + 1)


def test_a_half_is_nothing_until_it_is_whole(
    flowing: tuple[Pipeline, Running, Iterator[Pair]],
) -> None:
    nodes, combiner, stream = flowing
    rejected = next(stream)["left"].header.totals.rejected
    with ExitStack() as stack:
        target = Target(nodes, combiner, stack)
        half_a_message(SMALL, closed=True)(target)
        (door,) = (door for door in target.doors if target.push_address.endswith(f":{door.port}"))
        # The same by hand, but whole: it gets as far as to be refused, for its pixels are too few.
        peer = door.enter(stack)
        peer.send(MORE, SMALL[door.peer])
        peer.send(0, b"pixels")
        counts = (pair["left"].header.totals.rejected - rejected for pair in stream)
        assert next(count for count in counts if count) == 1
