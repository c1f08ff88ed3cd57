"""A producer's memory for frames: raw, and in rings that wrap, that change their shape and that end."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from framepair.protocol.memory.payload import Place, history_s
from framepair.protocol.memory.raw import RawWriter
from framepair.protocol.memory.ring import Ring
from framepair.protocol.memory.shared_ring import attach
from framepair.protocol.memory.shm import SPARE_SLOTS, RingWriter
from framepair.protocol.wire.frame import Location
from tests.lib.shm import mapped, open_descriptors, own_directory, rings

SHAPE, OTHER, THIRD = (16, 64, 4), (32, 64, 4), (16, 128, 4)
RUN = 0x1A


@pytest.fixture
def directory() -> Iterator[Path]:
    with own_directory() as path:
        yield path


def writer(directory: Path, fps: float = 4.0, history_s: float = 1.0) -> RingWriter:
    return RingWriter(Place("left", RUN, fps, history_s, directory))


@pytest.fixture
def shared(directory: Path) -> Iterator[RingWriter]:
    payload = writer(directory)
    yield payload
    payload.close()


def send(payload: RingWriter, seq: int, shape: tuple[int, int, int] = SHAPE) -> Location:
    payload.reserve(shape)[:] = seq
    packed = payload.pack(seq, "bgr8")
    assert packed.data == b""
    assert packed.location is not None
    return packed.location


def test_raw_frames_each_have_their_own_memory() -> None:
    payload = RawWriter()
    frames = []
    for seq in range(3):
        frame = payload.reserve(SHAPE)
        frame[:] = seq
        packed = payload.pack(seq, "bgr8")
        assert packed.location is None
        assert np.shares_memory(np.frombuffer(packed.data, np.uint8), frame)
        frames.append(packed.data)
    assert [np.frombuffer(data, np.uint8).max() for data in frames] == [0, 1, 2]
    payload.close()


def test_each_frame_goes_to_the_next_slot_and_says_which(
    shared: RingWriter, directory: Path
) -> None:
    locations = [send(shared, seq) for seq in range(8)]
    slots = 4 + SPARE_SLOTS
    assert {location.ring for location in locations} == {f"left.1a.0.{slots}.ring"}
    assert [location.slot for location in locations] == [0, 1, 2, 3, 4, 5, 0, 1]
    assert [location.generation for location in locations] == list(range(1, 9))
    ring = attach(directory, locations[0].ring, SHAPE)
    assert ring.view(2, 6)[:, 0, 0, 0].tolist() == [2, 3, 4, 5, 6, 7]
    assert [ring.seq(index) for index in range(slots)] == [6, 7, 2, 3, 4, 5]


def test_a_reserved_slot_is_marked_until_it_is_packed(shared: RingWriter, directory: Path) -> None:
    ring = attach(directory, send(shared, 0).ring, SHAPE)
    assert ring.generation(1) == 0
    for seq in range(1, ring.slots):
        send(shared, seq)
    assert ring.generation(0) == 1
    # A frame that could not be decoded: the next one takes its place.
    shared.reserve(SHAPE)
    assert ring.generation(0) == 0
    assert send(shared, ring.slots).slot == 0


def test_another_shape_begins_another_ring_and_the_former_goes_later(
    shared: RingWriter, directory: Path
) -> None:
    first = attach(directory, send(shared, 0).ring, SHAPE)
    # The size is only known once the frame is decoded.
    shared.reserve(SHAPE)
    former, location = rings(directory)[0], send(shared, 1, OTHER)
    assert location.slot == 0
    assert rings(directory) == sorted([former, location.ring])
    ring = attach(directory, location.ring, OTHER)
    for seq in range(2, ring.slots + 1):
        assert send(shared, seq, OTHER).ring == location.ring
    assert former in rings(directory)
    send(shared, 99, OTHER)
    assert rings(directory) == [location.ring]
    assert (first.view(0, 1) == 0).all()


def test_changing_shape_all_the_time_does_not_fill_the_memory(
    shared: RingWriter, directory: Path
) -> None:
    descriptors = open_descriptors()
    for seq in range(50):
        send(shared, seq, (SHAPE, OTHER, THIRD)[seq % 3])
        assert len(rings(directory)) <= 2
    assert open_descriptors() <= descriptors + 2
    assert mapped(directory) <= 4


@pytest.mark.parametrize(
    ("fps", "seconds", "frames"),
    [(25.0, 4.0, 100), (29.97, 2.0, 60), (0.5, 1.0, 1), (1e4, 0.01, 100)],
)
def test_the_depth_is_a_time(directory: Path, fps: float, seconds: float, frames: int) -> None:
    payload = writer(directory, fps, seconds)
    payload.reserve(SHAPE)
    (name,) = rings(directory)
    assert int(name.split(".")[3]) == frames + SPARE_SLOTS
    payload.close()


@pytest.mark.parametrize(
    ("asked_s", "window_s", "max_wait_s", "expected_s"),
    [
        (4.0, 1.0, 0.5, 4.0),
        (4.0, 10.0, 0.5, 20.0),
        # Else frames are overwritten before the pair that waited for another source is delivered.
        (0.1, 1.0, 0.5, 2.5),
        (4.0, 1.0, 5.0, 7.0),
    ],
)
def test_a_ring_holds_two_windows_and_as_long_as_a_pair_may_wait(
    asked_s: float, window_s: float, max_wait_s: float, expected_s: float
) -> None:
    assert math.isclose(history_s(asked_s, window_s, max_wait_s), expected_s)


def test_closing_removes_everything_but_what_is_read(directory: Path) -> None:
    descriptors = open_descriptors()
    payload = writer(directory)
    location = send(payload, 7)
    ring: Ring | None = attach(directory, location.ring, SHAPE)
    send(payload, 8, OTHER)
    payload.close()
    assert not directory.exists()
    assert open_descriptors() == descriptors
    assert ring is not None
    assert (ring.view(0, 1) == 7).all()
    payload.close()
    del payload, ring
    assert mapped(directory) == 0


def test_a_payload_that_was_never_used_closes(directory: Path) -> None:
    writer(directory).close()
    assert not directory.exists()
