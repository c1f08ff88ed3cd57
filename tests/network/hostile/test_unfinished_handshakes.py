"""Peers without a key that send much before their handshake is over: MAXMSGSIZE holds then already."""

from __future__ import annotations

import contextlib
import struct
import threading
from contextlib import ExitStack

import pytest

from framepair.protocol.wire.limits import MAX_FRAME_BYTES
from tests.network.hostile.peers import LONG, Door, Flow, Peer

# What all of them together may take: one largest frame, and what comes in between two looks.
GROWTH_BYTES = 3 * MAX_FRAME_BYTES


# Each may take a largest frame: more than the bound, unless they are bounded together.
@pytest.mark.parametrize("connections", [8, pytest.param(32, marks=pytest.mark.slow)])
def test_many_large_first_frames(flow: Flow, connections: int) -> None:
    door = flow.door(flow.push_address)
    greeted: list[Peer] = []

    def attack(stack: ExitStack) -> None:
        threads = [
            threading.Thread(target=send, args=(door, stack, flow.mechanism, greeted))
            for _ in range(connections)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    flow.goes_on_beside(attack, GROWTH_BYTES, takes_all_cores=True)
    assert greeted, "the combiner greeted none of them: that was no attack"


def send(door: Door, stack: ExitStack, mechanism: bytes, greeted: list[Peer]) -> None:
    # The combiner may close the connection at any moment.
    with contextlib.suppress(OSError, AssertionError):
        peer = door.greet(stack, mechanism)
        greeted.append(peer)
        peer.connection.sendall(struct.pack(">BQ", LONG, MAX_FRAME_BYTES))
        for _ in range(MAX_FRAME_BYTES // (1 << 20) - 1):
            peer.connection.sendall(bytes(1 << 20))
