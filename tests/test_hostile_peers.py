"""Peers that mean harm, beside good sources: the flow of those has no gap, and nothing grows."""

from __future__ import annotations

import contextlib
import itertools
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import zmq

from protocol import Pair, subscribe
from protocol.endpoint import Endpoints
from protocol.frame import MAX_FRAME_BYTES
from tests.pipeline import Pipeline, checked
from tests.processes import Running
from tests.shm import until

SOURCE = "synthetic://160x120@25"
MAX_GROWTH_BYTES = 50_000_000
IDLE = 200
# A ZMTP 3.1 greeting with the NULL mechanism, its READY, and the headers of frames: flags and length.
GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x01" + b"NULL".ljust(20, b"\0") + bytes(32)
READY = b"\x04\x1a\x05READY\x0bSocket-Type\x00\x00\x00\x04PUSH"
LONG, MORE_LONG, MORE = 0x02, 0x03, 0x01

Attack = Callable[[Endpoints, contextlib.ExitStack], object]


def port(address: str) -> int:
    return int(address.rpartition(":")[2])


def connected(endpoints: Endpoints, stack: contextlib.ExitStack) -> socket.socket:
    """Return a plain connection to where ``left`` pushes."""
    address = ("127.0.0.1", port(endpoints.pull["left"]))
    return stack.enter_context(socket.create_connection(address))


def raw(data: bytes) -> Attack:
    """Return what sends ``data`` to both of the combiner's sides, and stays."""

    def attack(endpoints: Endpoints, stack: contextlib.ExitStack) -> None:
        for target in (endpoints.pull["left"], endpoints.pub):
            connection = socket.create_connection(("127.0.0.1", port(target)))
            # It may be thrown out in the middle of what it sends.
            with contextlib.suppress(OSError):
                stack.enter_context(connection).sendall(data)

    return attack


def oversized(endpoints: Endpoints, stack: contextlib.ExitStack) -> None:
    context = stack.enter_context(zmq.Context())
    push = stack.enter_context(context.socket(zmq.PUSH))
    push.linger = 0
    push.connect(endpoints.pull["left"])
    push.send(bytes(MAX_FRAME_BYTES + 1), copy=False)


def malformed(endpoints: Endpoints, stack: contextlib.ExitStack) -> None:
    context = stack.enter_context(zmq.Context())
    push = stack.enter_context(context.socket(zmq.PUSH))
    push.linger = 0
    push.connect(endpoints.pull["left"])
    for i in range(1000):
        push.send_multipart([b"\xc1" * (i % 99)] * (1 + i % 5))


def idle(endpoints: Endpoints, stack: contextlib.ExitStack) -> None:
    for _ in range(IDLE):
        connected(endpoints, stack)


ATTACKS: dict[str, Attack] = {
    "garbage": raw(bytes(range(256)) * 4000),
    "http": raw(b"GET / HTTP/1.1\r\nHost: combiner\r\n\r\n"),
    "a part of 2 GiB is announced": raw(GREETING + READY + struct.pack(">BQ", LONG, 2 << 30)),
    "half a multipart message": raw(GREETING + READY + bytes([MORE, 5]) + b"hello"),
    "half a part": raw(GREETING + READY + struct.pack(">BQ", MORE_LONG, 1 << 20) + bytes(1000)),
    "half a greeting": raw(GREETING[:20]),
    "a part that is too large": oversized,
    "malformed messages": malformed,
    "connections that say nothing": idle,
}


def resident_bytes(node: Running) -> int:
    return int(Path(f"/proc/{node.process.pid}/statm").read_text().split()[1]) * 4096


def descriptors(node: Running) -> int:
    return sum(1 for _ in Path(f"/proc/{node.process.pid}/fd").iterdir())


@pytest.fixture(scope="module")
def flowing() -> Iterator[tuple[Pipeline, Running, Iterator[Pair]]]:
    """Run a pipeline over tcp for all attacks, one after another."""
    with Pipeline(["left", "right"], "tcp") as nodes, subscribe(nodes.pub, keep=1000) as pairs:
        combiner = nodes.combiner()
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
    seen = list(itertools.islice(stream, 2))
    before_bytes, before = resident_bytes(combiner), descriptors(combiner)
    with contextlib.ExitStack() as stack:
        ATTACKS[attack](nodes.endpoints, stack)
        seen += itertools.islice(stream, 10)
        assert resident_bytes(combiner) - before_bytes < MAX_GROWTH_BYTES
    seen += itertools.islice(stream, 3)
    assert all(pair.complete for pair in seen)
    assert set(np.diff([pair.index for pair in seen])) == {1}
    until(lambda: descriptors(combiner) <= before + 1)
    assert resident_bytes(combiner) - before_bytes < MAX_GROWTH_BYTES
