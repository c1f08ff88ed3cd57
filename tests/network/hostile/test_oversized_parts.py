"""Parts larger than any frame, parts that end half way, and messages that are no frames."""

from __future__ import annotations

import contextlib
import struct
from contextlib import ExitStack

import pytest
import zmq

from framepair.protocol.wire.limits import MAX_FRAME_BYTES
from tests.network.hostile.peers import LONG, MORE, OPEN, Flow

UNFINISHED = {
    "2 GiB are announced": struct.pack(">BQ", LONG, 2 << 30),
    "half a part": struct.pack(">BQ", MORE | LONG, 400) + bytes(100),
}


@OPEN
@pytest.mark.parametrize("kind", UNFINISHED)
def test_an_unfinished_part(flow: Flow, kind: str) -> None:
    def attack(stack: ExitStack) -> None:
        for door in flow.doors:
            peer = door.enter(stack)
            with contextlib.suppress(OSError):
                peer.connection.sendall(UNFINISHED[kind])

    flow.goes_on_beside(attack)


def test_a_part_that_is_too_large(flow: Flow) -> None:
    def attack(stack: ExitStack) -> None:
        push = flow.socket(stack, zmq.PUSH, flow.push_address)
        push.send(bytes(MAX_FRAME_BYTES + 1), copy=False)

    flow.goes_on_beside(attack)


def test_messages_that_are_no_frames(flow: Flow) -> None:
    def attack(stack: ExitStack) -> None:
        push = flow.socket(stack, zmq.PUSH, flow.push_address)
        for i in range(1000):
            push.send_multipart([b"\xc1" * (i % 99)] * (1 + i % 5))

    flow.goes_on_beside(attack)
