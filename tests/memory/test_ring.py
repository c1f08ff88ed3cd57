"""Slots in memory: runs that wrap, slots that are overwritten, and memory that goes when it should."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import numpy as np
import pytest

from framepair.protocol.memory import ring
from framepair.protocol.memory.ring import Ring, Slot

SHAPE = (16, 64, 4)  # one page


def fill(ring: Ring, index: int, value: int) -> Slot:
    ring.reserve(index)[:] = value
    return ring.commit(index, seq=value)


def mapped_bytes() -> int:
    """Return how much of this process's address space is mapped for frames."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    ranges = [line.split()[0].split("-") for line in lines if "memfd:framepair" in line]
    return sum(int(end, 16) - int(start, 16) for start, end in ranges)


def open_descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def resident_bytes() -> int:
    rows = Path("/proc/self/status").read_text().splitlines()
    return next(int(row.split()[1]) * 1024 for row in rows if row.startswith("RssShmem"))


def test_a_run_that_wraps_is_one_array() -> None:
    ring = Ring(5, SHAPE)
    for index in range(5):
        fill(ring, index, 10 + index)
    run = ring.view(3, 4)
    assert run.shape == (4, *SHAPE)
    assert run.flags.c_contiguous
    assert run[:, 7, 7, 2].tolist() == [13, 14, 10, 11]
    fill(ring, 0, 99)
    assert (run[2] == 99).all(), "the second mapping shows what was written through the first"


@pytest.mark.parametrize(
    "shape", [(1, 1, 1), (3, 5, 1), (7, 11, 3), (37, 53, 3), (48, 64, 3), (90, 160, 3), (64, 64, 1)]
)
def test_any_size_of_frame_works(shape: tuple[int, int, int]) -> None:
    ring = Ring(3, shape)
    assert ring.slots >= 3
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (ring.slots, *shape), np.uint8)
    for index, image in enumerate(images):
        ring.reserve(index)[:] = image
        ring.commit(index, seq=index)
    for first in range(0, ring.slots, max(1, ring.slots // 5)):
        assert np.array_equal(ring.view(first, ring.slots), np.roll(images, -first, axis=0))


@pytest.mark.parametrize(
    "shape", [(1080, 1920, 3), (2160, 3840, 3), (720, 1280, 3), (480, 854, 3), (480, 640, 1)]
)
def test_a_clip_of_usual_size_is_contiguous_and_takes_few_extra_slots(
    shape: tuple[int, int, int],
) -> None:
    ring = Ring(26, shape)
    assert ring.view(1, 25).flags.c_contiguous
    assert ring.slots <= 64


def test_views_cannot_be_written_to() -> None:
    run = Ring(2, SHAPE).view(0, 2)
    with pytest.raises(ValueError, match="read-only"):
        run[0, 0, 0, 0] = 1
    with pytest.raises(ValueError, match="WRITEABLE"):
        run.flags.writeable = True


def test_a_slot_tells_whether_it_was_overwritten() -> None:
    ring = Ring(2, SHAPE)
    first, other = fill(ring, 0, 1), fill(ring, 1, 2)
    assert first.intact
    assert (ring.seq(0), ring.seq(1)) == (1, 2)
    ring.reserve(0)
    assert not first.intact, "it is being written"
    second = ring.commit(0, seq=1)
    assert not first.intact, "the same seq again, perhaps of another run, is another frame"
    assert second.intact
    assert other.intact


@pytest.mark.parametrize(("first", "count"), [(-1, 1), (4, 1), (0, 5), (0, -1)])
def test_only_runs_of_the_ring_can_be_viewed(first: int, count: int) -> None:
    ring = Ring(4, SHAPE)
    with pytest.raises(ValueError, match="no run of"):
        ring.view(first, count)


def test_memory_lives_as_long_as_any_view_and_no_longer() -> None:
    before = mapped_bytes()
    descriptors = open_descriptors()
    ring = Ring(8, SHAPE)
    slot = fill(ring, 6, 5)
    assert mapped_bytes() > before
    assert open_descriptors() == descriptors, "a mapping needs no descriptor"
    corner = ring.view(6, 4)[0, 2:, 2:]
    del ring, slot
    assert (corner == 5).all()
    assert mapped_bytes() > before
    del corner
    gc.collect()
    assert mapped_bytes() == before


def test_only_slots_that_were_written_take_memory() -> None:
    before = resident_bytes()
    ring = Ring(10_000, (1080, 1920, 3))
    fill(ring, 9_999, 1)
    assert resident_bytes() - before < 2 * ring.slot_bytes


def test_too_large_a_ring_is_an_error_and_leaves_nothing() -> None:
    before = mapped_bytes()
    descriptors = open_descriptors()
    with pytest.raises(OSError, match=r"cannot map|too large|Invalid argument"):
        Ring(2**36, (1080, 1920, 3))
    assert mapped_bytes() == before
    assert open_descriptors() == descriptors


def test_a_mapping_that_fails_halfway_is_undone(monkeypatch: pytest.MonkeyPatch) -> None:
    real = ring._mmap
    mapped: list[int] = []

    def fails_third(
        address: int | None, nbytes: int, access: int, flags: int, descriptor: int, offset: int
    ) -> int:
        if len(mapped) == 2:
            raise OSError("no more mappings")
        mapped.append(real(address, nbytes, access, flags, descriptor, offset))
        return mapped[-1]

    before = mapped_bytes()
    monkeypatch.setattr(ring, "_mmap", fails_third)
    with pytest.raises(OSError, match="no more mappings"):
        Ring(1000, SHAPE)
    assert mapped_bytes() == before
    assert f"{mapped[0]:x}-" not in Path("/proc/self/maps").read_text()


def test_a_temporary_file_does_where_there_is_no_memfd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "memfd_create")
    descriptors = open_descriptors()
    ring = Ring(3, SHAPE)
    fill(ring, 2, 8)
    fill(ring, 0, 9)
    assert ring.view(2, 2)[:, 0, 0, 0].tolist() == [8, 9]
    assert open_descriptors() == descriptors
