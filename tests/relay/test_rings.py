"""A relay's rings: the pixels that are put in come out, and each ring has a name of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from framepair.nodes.relay.rings import Rings
from framepair.protocol.memory import free_space, jpeg
from framepair.protocol.memory.free_space import NoRoom
from framepair.protocol.memory.ring import Pixels
from framepair.protocol.memory.shared_ring import Attached
from framepair.protocol.wire.frame import FrameHeader
from framepair.protocol.wire.header import ProtocolError
from tests.lib.shm import own_directory, rings
from tests.lib.stream import Stream, pixels

SHAPE = (48, 64, 3)


@pytest.fixture
def directory() -> Iterator[Path]:
    with own_directory() as path:
        yield path


@pytest.fixture
def placing(directory: Path) -> Iterator[Rings]:
    placing = Rings(directory, 1, 4.0)
    yield placing
    placing.close()


def image(header: FrameHeader, attached: Attached) -> Pixels:
    slot = attached.slot(header)
    image = slot.image.copy()
    assert slot.intact
    return image


def test_pixels_come_out_as_they_were_put_in(placing: Rings, directory: Path) -> None:
    stream, attached = Stream(shape=SHAPE), Attached(directory)
    # Often enough to go round.
    for header in [frame for window in range(30) for frame in stream.window(window)]:
        placed = placing.place(header, pixels(header))
        assert placed == header.placed(placed.location)  # type: ignore[arg-type]
        assert (placed.payload, placed.relayed, placed.message_bytes) == ("shm", True, 0)
        assert np.array_equal(image(placed, attached), pixels(header))
    assert len(rings(directory)) == 2
    placing.close()
    assert rings(directory) == []


def test_compressed_pixels_are_decoded(placing: Rings, directory: Path) -> None:
    grey = np.full(SHAPE, 90, np.uint8)
    file = jpeg.encode(grey, 90, "bgr8")
    header = replace(Stream(shape=SHAPE).frame("left", 0), payload="jpeg", packed_bytes=len(file))
    placed = placing.place(header, memoryview(file))
    assert placed.packed_bytes is None
    expected = np.empty(SHAPE, np.uint8)
    jpeg.decode(memoryview(file), expected, "bgr8")
    assert np.array_equal(image(placed, Attached(directory)), expected)


def test_a_damaged_frame_takes_no_slot(placing: Rings, directory: Path) -> None:
    stream = Stream(shape=SHAPE)
    first = placing.place(header := stream.frame("left", 0), pixels(header))
    bad = replace(stream.frame("left", 0), payload="jpeg", packed_bytes=3)
    with pytest.raises(ProtocolError):
        placing.place(bad, memoryview(b"bad"))
    third = placing.place(header := stream.frame("left", 0), pixels(header))
    assert first.location
    assert third.location
    assert third.location.slot == first.location.slot + 1
    assert np.array_equal(image(third, Attached(directory)), pixels(header))


def test_a_ring_holds_three_windows_at_the_least(placing: Rings, directory: Path) -> None:
    header = replace(Stream(shape=SHAPE).frame("left", 0), fps=10.0, window_ns=20_000_000_000)
    placing.place(header, pixels(header))
    (name,) = rings(directory)
    assert int(name.split(".")[-2]) >= 3 * 20 * 10


def test_a_source_that_comes_back_at_another_rate_has_another_ring(
    placing: Rings, directory: Path
) -> None:
    stream, attached, names = Stream(shape=SHAPE), Attached(directory), set()
    for fps in (5.0, 50.0, 5.0):
        header = replace(stream.frame("left", 0), fps=fps)
        placed = placing.place(header, pixels(header))
        assert placed.location
        names.add(placed.location.ring)
        assert rings(directory) == [placed.location.ring]
        assert np.array_equal(image(placed, attached), pixels(header))
    assert len(names) == 3


def test_a_ring_that_does_not_fit_is_said(
    placing: Rings, monkeypatch: pytest.MonkeyPatch, directory: Path
) -> None:
    monkeypatch.setattr(free_space, "free_memory", lambda: 1000)
    header = Stream(shape=SHAPE).frame("left", 0)
    with pytest.raises(NoRoom, match=r"a ring of .* is needed"):
        placing.place(header, pixels(header))
    assert rings(directory) == []
