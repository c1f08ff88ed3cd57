"""Pairs in a relay's memory: views for a program that is quick, copies for one that is not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from framepair import Pair
from framepair.nodes.relay.rings import Rings
from framepair.protocol.client.assembly import Assembly
from framepair.protocol.client.loans import QUICK_PAIRS
from framepair.protocol.memory.shared_ring import Attached
from framepair.protocol.wire.frame import FrameHeader
from tests.lib.shm import own_directory
from tests.lib.stream import Stream, pixels

SHAPE = (48, 64, 3)


class Relayed:
    """An assembly whose frames are in a relay's rings."""

    def __init__(self, directory: Path) -> None:
        self.rings = Rings(directory, 1, 1.0)
        self.assembly = Assembly(2, 10**9)
        self._attached = Attached(directory)
        self._stream = Stream(shape=SHAPE)

    def add_pair(self) -> None:
        for message in self._stream.next():
            if isinstance(message, FrameHeader):
                placed = self.rings.place(message, pixels(message))
                self.assembly.add_placed_frame(placed, self._attached.slot(placed), 0)
            else:
                self.assembly.add_pair(message, 0)

    def take(self) -> Pair:
        pair = self.assembly.take()
        assert pair is not None
        return pair


@pytest.fixture
def relayed() -> Iterator[Relayed]:
    with own_directory() as directory:
        relayed = Relayed(directory)
        yield relayed
        relayed.rings.close()


def is_copy(pair: Pair) -> bool:
    return all(clip.array.base is None or clip.array.flags.writeable for clip in pair.values())


def check(pair: Pair) -> None:
    for clip in pair.values():
        for header, image in zip(clip.frames, clip.images, strict=True):
            assert np.array_equal(image, pixels(header))


def taken(relayed: Relayed, *, waiting: int = 1) -> Pair:
    """Return the next pair of a program that asks when so many wait."""
    while relayed.assembly.queued < waiting:
        relayed.add_pair()
    pair = relayed.take()
    check(pair)
    return pair


def test_a_quick_program_gets_views(relayed: Relayed) -> None:
    copies = [is_copy(taken(relayed)) for _ in range(QUICK_PAIRS + 5)]
    assert copies == [True] * (QUICK_PAIRS - 1) + [False] * 6


def test_a_program_that_falls_behind_gets_copies_until_it_is_quick_again(relayed: Relayed) -> None:
    for _ in range(QUICK_PAIRS):
        taken(relayed)
    late = taken(relayed, waiting=2)
    assert is_copy(late)
    for _ in range(20):
        relayed.add_pair()
    # The relay's rings have gone round since.
    check(late)
    assert late.intact
    copies = [is_copy(taken(relayed, waiting=1)) for _ in range(QUICK_PAIRS + 2)]
    assert copies[0]
    assert not copies[-1]
