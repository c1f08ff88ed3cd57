"""subscribe(copy=True): pairs that stay, in the memory that they came to, within a bound."""

from __future__ import annotations

import gc
import threading
from typing import Any

import numpy as np
import pytest

from framepair import Pair, subscribe
from framepair.protocol.client.assembly import Assembly
from framepair.protocol.client.loans import Kept
from framepair.protocol.memory.ring import slot_bytes
from tests.lib.processes import PATIENCE_S
from tests.lib.publisher import Combiner
from tests.lib.shm import until
from tests.lib.stream import Stream, feed, pixels

# Whole pages, so that a ring has as many slots as it was asked for.
PAGE = (32, 128, 1)
WINDOW_BYTES = 5 * slot_bytes(PAGE)


def check(pair: Pair) -> None:
    for clip in pair.values():
        for frame, image in zip(clip.frames, clip.images, strict=True):
            assert np.array_equal(image, pixels(frame))
    assert pair.intact


def assembly_of(windows: int = 10**6, keep: int = 3) -> Assembly:
    max_bytes = windows * WINDOW_BYTES
    return Assembly(keep, max_bytes, Kept(max_bytes))


def next_pair(assembly: Assembly) -> Pair:
    pair = assembly.take()
    assert pair is not None
    return pair


def free_blocks(assembly: Assembly) -> int:
    ring = assembly._stores["left"]._slots._newest
    assert ring is not None
    return len(ring.free)


def test_pairs_stay_and_none_of_them_is_copied() -> None:
    stream, assembly = Stream(shape=PAGE), assembly_of()
    kept = []
    for window in range(30):
        feed(assembly, *stream.whole(window))
        held = assembly._waiting[0].pair
        pair = next_pair(assembly)
        for name, clip in pair.items():
            assert np.shares_memory(clip.array, held[name]._pixels.slots[0].image)
            assert not clip.array.flags.writeable
        kept.append(pair)
    for pair in kept:
        check(pair)


def test_memory_is_used_again_when_the_last_array_over_it_is_gone() -> None:
    stream, assembly = Stream(["left"], shape=PAGE), assembly_of()
    feed(assembly, *stream.whole(0))
    free = free_blocks(assembly)
    pair: Pair | None = next_pair(assembly)
    assert pair is not None
    part: Any = pair["left"][3].image[::2, 5:]
    expected = part.copy()
    del pair
    for window in range(1, 20):
        feed(assembly, *stream.whole(window))
        next_pair(assembly)
    assert assembly.take() is None
    assert free_blocks(assembly) == free, "what was let go at once is free again"
    assert np.array_equal(part, expected)
    del part
    gc.collect()
    feed(assembly, *stream.whole(20))
    assert free_blocks(assembly) == free, "its own and that of the pair that waits"


def test_frames_that_lie_apart_are_kept_one_by_one() -> None:
    stream, assembly = Stream(["left"], shape=PAGE), assembly_of()
    frames, header = stream.window(0), stream.pair(0)
    feed(assembly, *[frames[i] for i in (3, 0, 1, 4, 2)], header)
    image = next_pair(assembly)["left"][1].image
    for window in range(1, 20):
        feed(assembly, *stream.whole(window))
        next_pair(assembly)
    assert np.array_equal(image, pixels(frames[1]))


def test_arrays_may_be_let_go_in_any_thread() -> None:
    stream, assembly = Stream(["left"], shape=PAGE), assembly_of(windows=1)
    held = []
    for window in range(2):
        feed(assembly, *stream.whole(window))
        held.append(next_pair(assembly))
    feed(assembly, *stream.whole(2))
    assert assembly.take() is None
    thread = threading.Thread(target=held.clear)
    thread.start()
    thread.join()
    assert next_pair(assembly).index == 2


def test_what_a_program_keeps_is_bounded_and_the_rest_waits_or_is_lost() -> None:
    stream, assembly = Stream(["left"], shape=PAGE), assembly_of(windows=3, keep=2)
    kept = []
    for window in range(10):
        feed(assembly, *stream.whole(window))
        pair = assembly.take()
        kept += [pair] if pair else []
    assert [pair.index for pair in kept] == [0, 1, 2]
    assert assembly.held_back == (
        f"no pair comes: the program keeps {3 * WINDOW_BYTES} bytes of left, the next pair has {WINDOW_BYTES},"
        f" and max_bytes is {3 * WINDOW_BYTES}: let pairs go, or use a larger max_bytes"
    )
    assert assembly.stats().lost_frames == {"left": {"subscriber_slow": 5 * 5}}
    for pair in kept:
        check(pair)
    del kept[0], pair
    assert [next_pair(assembly).index for _ in range(2)] == [8, 9]


def test_a_loop_that_keeps_nothing_goes_on_however_small_the_bound() -> None:
    stream, assembly = Stream(["left"], shape=PAGE), assembly_of(windows=1)
    for window in range(5):
        feed(assembly, *stream.whole(window))
        # The name holds the pair before, as that of a loop does.
        pair = next_pair(assembly)
        assert pair.index == window


def test_get_says_that_the_program_keeps_too_much_and_goes_on_when_it_lets_go(
    combiner: Combiner, address: str, caplog: pytest.LogCaptureFixture
) -> None:
    stream = Stream(["left"], shape=PAGE)
    with subscribe(address, copy=True, keep=9, max_bytes=2 * WINDOW_BYTES) as pairs:
        combiner.wait_for_subscriber()
        for window in range(4):
            combiner.send(*stream.whole(window))
        combiner.send(stream.end())
        kept = [pairs.get(PATIENCE_S) for _ in range(2)]
        until(lambda: pairs.stats().queued == 2)
        assert pairs.get(0.05) is None
        assert not pairs.ended
        assert pairs.get(0.05) is None
        (line,) = caplog.messages
        assert line.startswith(f"no pair comes: the program keeps {2 * WINDOW_BYTES} bytes of left")
        kept.clear()
        rest = [pair.index for pair in pairs]
        assert rest == [2, 3]
