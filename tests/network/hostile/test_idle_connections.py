"""Connections that say nothing, each of which takes a descriptor of the combiner."""

from __future__ import annotations

import itertools
from contextlib import ExitStack

import pytest

from framepair.protocol.transport.connection_guard import MAX_SILENT
from tests.lib.shm import until
from tests.network.hostile.peers import OPEN, Flow

IDLE = 200


def test_some(flow: Flow) -> None:
    before = flow.descriptors()

    def attack(stack: ExitStack) -> None:
        for door in itertools.islice(itertools.cycle(flow.doors), IDLE):
            door.connect(stack)
        # All of them were let in.
        until(lambda: flow.descriptors() >= before + IDLE)

    flow.goes_on_beside(attack)


# It takes both cores for as long as it lasts.
@pytest.mark.slow
@OPEN
def test_more_than_may_be_silent(flow: Flow) -> None:
    before = flow.descriptors()
    doors = [flow.door(address) for address in flow.nodes.endpoints.listening()]

    def attack(stack: ExitStack) -> None:
        for door in doors:
            for _ in range(2 * MAX_SILENT):
                door.enter(stack)
        # The handshake is done: no time-out of libzmq ends them.
        until(lambda: flow.descriptors() <= before + len(doors) * MAX_SILENT)

    flow.goes_on_beside(attack)
