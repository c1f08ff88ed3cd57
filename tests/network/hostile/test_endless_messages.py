"""A message of parts that never ends: libzmq bounds single parts, and whole messages."""

from __future__ import annotations

import contextlib
from contextlib import ExitStack

import pytest

from framepair.protocol.wire.limits import MAX_FRAME_BYTES
from tests.network.hostile.peers import MORE, OPEN, SMALL, Flow

# What one connection may take, and what comes in between two looks.
GROWTH_BYTES = 3 * MAX_FRAME_BYTES
LARGE = bytes(1 << 20)
LARGE_PARTS = 2000
SMALL_BYTES = 20_000_000


def send_parts(flow: Flow, stack: ExitStack, address: str, part: bytes, count: int) -> None:
    """Send parts of one message until the combiner disconnects; a socket of libzmq sends whole ones only."""
    peer = flow.door(address).enter(stack)
    with contextlib.suppress(OSError):
        for _ in range(count):
            peer.send(MORE, part)
        pytest.fail("it was not disconnected")


@OPEN
def test_of_large_parts(flow: Flow) -> None:
    address = flow.push_address
    flow.goes_on_beside(
        lambda stack: send_parts(flow, stack, address, LARGE, LARGE_PARTS),
        GROWTH_BYTES,
        takes_all_cores=True,
    )


@OPEN
@pytest.mark.parametrize("port", ["pub", "sync"])
def test_of_small_parts(flow: Flow, port: str) -> None:
    address = getattr(flow.nodes.endpoints, port)
    part = SMALL[flow.door(address).peer]
    flow.goes_on_beside(
        lambda stack: send_parts(flow, stack, address, part, SMALL_BYTES // len(part))
    )
