"""A writer at full speed and a slow reader: what is called intact is never half of another frame."""

from __future__ import annotations

import contextlib
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from framepair import Overwritten, Pair
from framepair.protocol.client.assembly import Assembly
from framepair.protocol.memory.ring import Pixels, Ring, Slot
from framepair.protocol.memory.shared_ring import Attached, attach, remove_stale
from framepair.protocol.wire.frame import FrameHeader, Location
from tests.lib.examples import examples
from tests.lib.processes import PATIENCE_S, Running, python
from tests.lib.shm import own_directory
from tests.lib.stream import Stream

SHAPE = (128, 256, 3)
# The second is a lap of a millisecond or so: some clips are put together in less, some are not.
FRAME_SLOTS, CLIP_SLOTS = 8, 64
FRAMES, CLIPS, CLIP_FRAMES = examples(2000), examples(500), 3
# Every eight bytes of a frame are its number: no two frames have any of them in common.
WRITER = f"""
import itertools, sys
from pathlib import Path
import numpy as np
from framepair.protocol.memory.payload import Place
from framepair.protocol.memory.shm import SPARE_SLOTS, RingWriter
slots = int(sys.argv[2])
payload = RingWriter(Place("left", 1, slots - SPARE_SLOTS, 1.0, Path(sys.argv[1])))
for seq in itertools.count():
    payload.reserve({SHAPE}).reshape(-1).view(np.uint64)[:] = seq
    location = payload.pack(seq, "bgr8").location
    if seq == slots:
        print("READY", location.ring, flush=True)
"""


@pytest.fixture
def directory() -> Iterator[Path]:
    with own_directory() as path:
        yield path
        remove_stale(path)


@contextlib.contextmanager
def writing(directory: Path, slots: int) -> Iterator[Location]:
    """Have a process write to a ring of so many slots, as fast as it can."""
    with Running(python("-c", WRITER, directory, str(slots))) as writer:
        yield Location(writer.wait_for(r"READY (\S+)").group(1), 0, 1)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline_s
        os.sched_yield()


def numbers(pixels: Pixels) -> set[int]:
    """Return the numbers of all frames that these pixels are of."""
    found = np.ascontiguousarray(pixels).reshape(-1).view(np.uint64)
    return {int(found[0])} if (found == found[0]).all() else set(np.unique(found).tolist())


def copied(slot: Slot, *, slowly: bool) -> Pixels:
    copy = np.empty(SHAPE, np.uint8)
    half = SHAPE[0] // 2
    copy[:half] = slot.image[:half]
    if slowly:
        # Until the writer has come by, and has gone on.
        generation = slot.ring.generation(slot.index)
        wait_until(lambda: slot.ring.generation(slot.index) not in (0, generation))
    copy[half:] = slot.image[half:]
    return copy


def test_no_frame_that_is_called_intact_is_torn(directory: Path) -> None:
    with writing(directory, FRAME_SLOTS) as location:
        ring = attach(directory, location.ring, SHAPE)
        assert ring.slots == FRAME_SLOTS
        seen = look_at_frames(ring)
    # Enough of all kinds for this test to have been able to fail.
    assert seen["intact"] > FRAMES / 20, seen
    assert seen["overwritten"] >= FRAMES / 10, seen
    assert seen["torn"] > FRAMES / 20, seen
    assert max(ring.seq(index) for index in range(ring.slots)) > FRAMES


def look_at_frames(ring: Ring) -> Counter[str]:
    seen: Counter[str] = Counter()
    for count in range(FRAMES):
        slot = finished(ring, count)
        seq = ring.seq(slot.index)
        pixels = copied(slot, slowly=count % 10 == 0)
        intact, found = slot.intact, numbers(pixels)
        if intact:
            assert found == {seq}
        seen["intact" if intact else "overwritten"] += 1
        seen["torn"] += len(found) > 1
    return seen


def test_no_copy_of_a_pair_is_torn(directory: Path) -> None:
    with writing(directory, CLIP_SLOTS) as location:
        seen = copy_pairs(attach(directory, location.ring, SHAPE), Attached(directory), location)
    assert seen["intact"] > CLIPS / 20, seen
    assert seen["overwritten"] > CLIPS / 20, seen


def copy_pairs(ring: Ring, attached: Attached, location: Location) -> Counter[str]:
    stream, assembly = Stream(["left"], fps=CLIP_FRAMES), Assembly(keep=2, max_bytes=10**9)
    seen: Counter[str] = Counter()
    for window in range(100, 100 + CLIPS):
        for header in clip(ring, location, stream, window):
            assembly.add_placed_frame(header, attached.slot(header), ready_ns=1)
        assembly.add_pair(stream.pair(window), ready_ns=2)
        pair = assembly.take()
        if pair is None:
            seen["lost"] += 1
            continue
        if window % 10 == 0:
            wait_until(partial(is_overwritten, pair))
        try:
            copy = pair.copy()
        except Overwritten:
            seen["overwritten"] += 1
            continue
        seen["intact"] += 1
        for header, image in zip(copy["left"].frames, copy["left"].array, strict=True):
            assert numbers(image) == {header.seq}
    assert assembly.stats().lost_pairs == seen["lost"]
    return seen


def is_overwritten(pair: Pair) -> bool:
    return not pair.intact


def clip(ring: Ring, location: Location, stream: Stream, window: int) -> Iterator[FrameHeader]:
    """Yield headers of the newest frames."""
    newest = max(range(ring.slots), key=ring.seq)
    first = newest + 1 - CLIP_FRAMES
    for index in range(first, first + CLIP_FRAMES):
        slot = finished(ring, index)
        seq = ring.seq(slot.index)
        header = stream.frame("left", window, run=1, seq=seq, shape=SHAPE)
        place = replace(location, slot=slot.index, generation=slot.generation)
        yield replace(header, payload="shm", location=place)


def finished(ring: Ring, count: int) -> Slot:
    """Return a slot, counted round and round, once it is not being written."""
    index = count % ring.slots
    wait_until(lambda: ring.generation(index) != 0)
    generation = ring.generation(index)
    return Slot(ring, index, generation) if generation else finished(ring, index)
