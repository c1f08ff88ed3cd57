"""Peers that speak ZMTP by hand, and a pipeline with two good sources that they attack."""

from __future__ import annotations

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

from framepair import Pair
from framepair.protocol.clocks import clock
from framepair.protocol.transport import keys
from framepair.protocol.transport.sockets import ask, new_context
from framepair.protocol.wire.frame import FrameHeader
from framepair.protocol.wire.sync import Ping, decode_pong
from tests.lib.busy import allowed
from tests.lib.pipeline import Pipeline
from tests.lib.processes import PATIENCE_S, Running, memory_bytes
from tests.lib.shm import until

SOURCE = "synthetic://160x120@25"
MAX_GROWTH_BYTES = 50_000_000
FRESH_NS = 10**9
# After an attack that took all cores, a whole pair begins within this time.
RECOVERY_NS = 5 * 10**9
# For peers that have to get past a handshake by hand.
OPEN = pytest.mark.parametrize("flow", ["open"], indirect=True)
MECHANISMS = {False: b"NULL", True: b"CURVE"}
# The flags of frames.
MORE, LONG, COMMAND = 0x01, 0x02, 0x04
HEADER = FrameHeader(
    source="left", run=1, seq=0, captured_ns=10**18, next_ns=10**18 + 1, sent_ns=10**18,
    shape=(1080, 1920, 3), fps=25,
)  # fmt: skip
# A first part that each kind of socket might send.
SMALL = {b"PUSH": HEADER.encode(), b"SUB": b"\x01pair", b"DEALER": Ping(1, "left", 1).encode()}


def greeting(mechanism: bytes) -> bytes:
    """Return the greeting of ZMTP 3.1."""
    return b"\xff" + bytes(8) + b"\x7f\x03\x01" + mechanism.ljust(20, b"\0") + bytes(32)


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

    def greet(self, stack: ExitStack, mechanism: bytes) -> Peer:
        """Return a connection that is past its greeting."""
        peer = Peer(self.connect(stack))
        peer.connection.sendall(greeting(mechanism))
        assert peer.read(64).startswith(b"\xff")
        return peer

    def enter(self, stack: ExitStack) -> Peer:
        """Return a connection after a whole handshake without keys, as a socket of ZeroMQ would make it."""
        peer = self.greet(stack, b"NULL")
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
class Flow:
    """A pipeline of two good sources whose pairs are read, with keys or without."""

    nodes: Pipeline
    combiner: Running
    stream: Iterator[Pair]
    made: Path | None

    @property
    def mechanism(self) -> bytes:
        return MECHANISMS[self.made is not None]

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

    def door(self, address: str) -> Door:
        (found,) = (door for door in self.doors if address.endswith(f":{door.port}"))
        return found

    def socket(self, stack: ExitStack, kind: int, address: str) -> zmq.Socket[bytes]:
        """Return a socket of a listed client."""
        context = stack.enter_context(zmq.Context())
        connected = stack.enter_context(context.socket(kind))
        connected.linger = 0
        client = keys.client(self.made, address, insecure=True)
        if client is not None:
            connected.curve_publickey, connected.curve_secretkey = client.public, client.secret
            connected.curve_serverkey = client.server
        connected.connect(address)
        return connected

    def goes_on_beside(
        self,
        attack: Callable[[ExitStack], object],
        growth_bytes: int = MAX_GROWTH_BYTES,
        *,
        takes_all_cores: bool = False,
    ) -> None:
        """Attack, and see that no source has a gap, the time is told, and nothing grows or stays.

        An attack that ``takes_all_cores`` of this machine may cost frames; not one longer than it lasts.
        """
        # Pairs of before this test may have been dropped while nothing read them.
        seen = [next(pair for pair in self.stream if clock.now_ns() - pair.end_ns < FRESH_NS)]
        before_bytes = memory_bytes(self.combiner.process.pid, "VmRSS")
        Path(f"/proc/{self.combiner.process.pid}/clear_refs").write_text("5")
        before = self.descriptors()
        with ExitStack() as stack:
            attack(stack)
            seen += itertools.islice(self.stream, 6)
            assert self._tells_the_time()
        if takes_all_cores:
            # Frames that wait for a core are dropped; then all is as before.
            ended_ns = clock.now_ns()
            later = (pair for pair in self.stream if pair.start_ns > ended_ns)
            seen = [next(pair for pair in later if pair.complete)]
            assert seen[0].start_ns < ended_ns + allowed(RECOVERY_NS)
        seen += itertools.islice(self.stream, 2)
        assert all(pair.complete for pair in seen)
        assert set(np.diff([pair.index for pair in seen])) == {1}
        for source in self.nodes.sources:
            assert set(np.diff(np.concatenate([pair[source].seq for pair in seen]))) == {1}
        grown = memory_bytes(self.combiner.process.pid, "VmHWM") - before_bytes
        print(f"grew by {grown / 1e6:.0f} MB at most")
        assert grown < growth_bytes
        until(lambda: self.descriptors() <= before + 1)

    def descriptors(self) -> int:
        return sum(1 for _ in Path(f"/proc/{self.combiner.process.pid}/fd").iterdir())

    def _tells_the_time(self) -> bool:
        """Ask the combiner's clock as a node of another machine does."""
        address = str(self.nodes.endpoints.sync)
        client = keys.client(self.made, address, insecure=True)
        with new_context() as context, ask(context, address, keys=client) as dealer:
            dealer.sndtimeo = dealer.rcvtimeo = round(PATIENCE_S * 1000)
            dealer.send(Ping(123).encode())
            return decode_pong(dealer.recv()).ping_ns == 123
