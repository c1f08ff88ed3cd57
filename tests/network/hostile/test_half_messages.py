"""The first part of a message, and never the next one."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from tests.network.hostile.peers import COMMAND, HEADER, MORE, OPEN, SMALL, Flow

PING_COMMAND, PONG_COMMAND = b"\x04PING\x00\x00" + b"half", b"\x04PONG" + b"half"
LARGE = {**SMALL, b"PUSH": bytes(HEADER.nbytes)}


def send_halves(flow: Flow, stack: ExitStack, parts: dict[bytes, bytes], *, closed: bool) -> None:
    """Send each port a first part, by kind of peer, and stay connected unless ``closed``."""
    with ExitStack() as until_it_is_there:
        for door in flow.doors:
            peer = door.enter(until_it_is_there if closed else stack)
            peer.send(MORE, parts[door.peer])
            # The answer comes after all before it was received.
            peer.send(COMMAND, PING_COMMAND)
            peer.wait_for(PONG_COMMAND)


@OPEN
@pytest.mark.parametrize("closed", [False, True], ids=["stays", "leaves"])
@pytest.mark.parametrize("parts", [SMALL, LARGE], ids=["header", "pixels"])
def test_half_a_message(flow: Flow, parts: dict[bytes, bytes], closed: bool) -> None:
    flow.goes_on_beside(lambda stack: send_halves(flow, stack, parts, closed=closed))


@OPEN
def test_a_half_is_nothing_until_it_is_whole(flow: Flow) -> None:
    rejected = next(flow.stream)["left"].header.totals.rejected
    with ExitStack() as stack:
        send_halves(flow, stack, SMALL, closed=True)
        # The same by hand, but whole: it gets as far as to be refused, for its pixels are too few.
        door = flow.door(flow.push_address)
        peer = door.enter(stack)
        peer.send(MORE, SMALL[door.peer])
        peer.send(0, b"pixels")
        counts = (pair["left"].header.totals.rejected - rejected for pair in flow.stream)
        assert next(count for count in counts if count) == 1
