"""Bytes that are no ZMTP, on each of the combiner's ports."""

from __future__ import annotations

import contextlib
from contextlib import ExitStack

import pytest

from tests.network.hostile.peers import Flow, greeting

GARBAGE = {
    "garbage": bytes(range(256)) * 4000,
    "http": b"GET / HTTP/1.1\r\nHost: combiner\r\n\r\n",
    "half a greeting": greeting(b"NULL")[:20],
}


@pytest.mark.parametrize("kind", GARBAGE)
def test_garbage(flow: Flow, kind: str) -> None:
    def attack(stack: ExitStack) -> None:
        for door in flow.doors:
            connection = door.connect(stack)
            # It may be disconnected in the middle of what it sends.
            with contextlib.suppress(OSError):
                connection.sendall(GARBAGE[kind])

    flow.goes_on_beside(attack)
