"""Where frames are kept: in a row, in no more memory than need be, whatever the headers claim."""

from __future__ import annotations

import random

import numpy as np
import pytest
from msgspec.structs import replace

from framepair.protocol.client.assembly import Assembly
from framepair.protocol.client.clip import Clip, Pair
from framepair.protocol.client.slots import (
    MAX_BLOCKS_PER_WINDOW,
    MAX_WINDOWS,
    Block,
    BlockRing,
    Slots,
)
from framepair.protocol.memory.ring import Ring
from framepair.protocol.wire.frame import FrameHeader
from framepair.protocol.wire.header import ProtocolError
from tests.lib.stream import WINDOW_NS, Stream, feed, pixels

# Whole pages, so that a ring has as many slots as it was asked for.
PAGE = (32, 128, 1)
PAGE_BYTES = 4096
LARGE = (64, 128, 1)


def assembly_of(keep: int = 2, max_bytes: int = 10**9) -> Assembly:
    return Assembly(keep, max_bytes)


def ring_of(clip: Clip) -> Ring:
    (ring,) = {id(slot.ring): slot.ring for slot in clip._pixels.slots}.values()
    return ring


def is_view(clip: Clip) -> bool:
    return all(np.shares_memory(clip.array, image) for image in clip.images)


def next_pair(assembly: Assembly) -> Pair:
    pair = assembly.take()
    assert pair is not None
    for clip in pair.values():
        for frame, image in zip(clip.frames, clip.images, strict=True):
            assert np.array_equal(image, pixels(frame))
    return pair


def header(
    fps: float, window_ns: int = WINDOW_NS, shape: tuple[int, int, int] = PAGE
) -> FrameHeader:
    return replace(Stream(shape=shape).frame("left", 0), fps=fps, window_ns=window_ns)


def take(slots: Slots, frame: FrameHeader, blocks: list[Block], count: int) -> list[int]:
    return [slots.take(frame, blocks)[1] for _ in range(count)]


def test_one_ring_serves_a_stream_for_ever_and_every_clip_is_a_view() -> None:
    stream, assembly = Stream(shape=PAGE), assembly_of()
    rings = set()
    feed(assembly, *stream.window(0))
    for window in range(60):
        announcement = stream.pair(window)
        feed(assembly, *stream.window(window + 1), announcement)
        if window % 7 == 0:  # a consumer that is slow
            pair = next_pair(assembly)
            assert all(is_view(clip) for clip in pair.values())
            rings |= {id(ring_of(clip)) for clip in pair.values()}
    assert len(rings) == 2, "one for each source"


def test_a_quick_consumer_touches_less_memory_than_there_is() -> None:
    stream, assembly = Stream(["left"], shape=PAGE), assembly_of(keep=50)
    used = set()
    for window in range(60):
        feed(assembly, *stream.whole(window))
        used |= {slot.index for slot in next_pair(assembly)["left"]._pixels.slots}
    assert len(used) <= 2 * 6


@pytest.mark.parametrize("seed", range(5))
def test_rates_that_vary_never_split_a_clip(seed: int) -> None:
    rng = random.Random(seed)
    stream, assembly = Stream(["left"], fps=6, shape=PAGE), assembly_of()
    for window in range(100):
        frames = [stream.frame("left", window) for _ in range(rng.choice([0, 5, 6, 6, 7]))]
        feed(assembly, *frames, stream.pair(window))
        if rng.random() < 0.5 and assembly.queued:
            assert is_view(next_pair(assembly)["left"])


def test_a_source_of_twice_the_rate_that_it_says_stays_in_one_ring() -> None:
    stream, assembly = Stream(["left"], fps=5, shape=PAGE), assembly_of()
    rings = set()
    for window in range(40):
        feed(assembly, *[stream.frame("left", window) for _ in range(11)], stream.pair(window))
        if window % 3 == 0:
            clip = next_pair(assembly)["left"]
            assert is_view(clip)
            rings.add(id(ring_of(clip)))
    assert len(rings) == 1


def test_blocks_do_not_overlap_and_can_be_taken_again() -> None:
    home = BlockRing(3, 4, PAGE)
    blocks = [home.take() for _ in range(3)]
    indexes = []
    for block in blocks:
        while not block.full:
            indexes.append(block.take_slot())
    assert indexes == list(range(12))
    assert home.free == set()
    for block in (blocks[1], blocks[0]):
        block.release()
    assert home.take().take_slot() == 0


def test_as_many_windows_as_ten_seconds_have_may_wait_in_one_ring() -> None:
    stream, assembly = Stream(["left"], shape=PAGE), assembly_of(keep=2)
    frames = [frame for window in range(12) for frame in stream.window(window)]
    feed(assembly, *frames[: 5 * 10])
    rings = set()
    for window in range(12):
        feed(assembly, *frames[5 * (window + 10) : 5 * (window + 11)], stream.pair(window))
        rings.add(id(ring_of(next_pair(assembly)["left"])))
    assert len(rings) == 1


def test_a_source_that_is_faster_than_it_says_gets_a_larger_ring() -> None:
    stream, assembly = Stream(["left"], fps=2, shape=PAGE), assembly_of(keep=1)
    views, rings = [], set()
    for window in range(12):
        frames = [stream.frame("left", window) for _ in range(30)]
        feed(assembly, *frames, stream.pair(window))
        clip = next_pair(assembly)["left"]
        views.append(is_view(clip))
        rings |= {id(slot.ring) for slot in clip._pixels.slots}
    assert all(views[3:])
    assert len(rings) <= 4


def test_more_windows_than_expected_get_a_larger_ring() -> None:
    stream, assembly = Stream(["left"], shape=PAGE), assembly_of(keep=1)
    feed(assembly, *[frame for window in range(20) for frame in stream.window(window)])
    for window in range(20):
        feed(assembly, stream.pair(window))
        assert is_view(next_pair(assembly)["left"])


def test_a_change_of_size_begins_a_new_ring_and_leaves_what_is_held() -> None:
    stream, assembly = Stream(["left"], shape=PAGE), assembly_of(keep=1)
    feed(assembly, *stream.whole(0))
    held = next_pair(assembly)["left"]
    stream.shape = LARGE
    for window in range(1, 20):
        feed(assembly, *stream.whole(window))
    assert held.intact
    assert np.array_equal(held.array[4], pixels(held.frames[4]))
    clip = next_pair(assembly)["left"]
    assert clip.array.shape == (5, *LARGE)
    assert ring_of(clip) is not ring_of(held)


def test_frames_of_two_sizes_in_turn_take_two_blocks_and_not_one_each() -> None:
    slots, blocks = Slots(4, 10**9), list[Block]()
    for _ in range(3):
        slots.take(header(25, shape=PAGE), blocks)
        slots.take(header(25, shape=LARGE), blocks)
    assert [block.ring.shape for block in blocks] == [PAGE, LARGE]


def test_a_window_with_ever_new_sizes_is_refused() -> None:
    slots, blocks = Slots(4, 10**9), list[Block]()
    for height in range(1, MAX_BLOCKS_PER_WINDOW + 1):
        slots.take(header(25, shape=(height, 1, 1)), blocks)
    with pytest.raises(ProtocolError, match="too many shapes"):
        slots.take(header(25, shape=(99, 1, 1)), blocks)


@pytest.mark.parametrize(
    ("fps", "window_ns", "slots", "windows"),
    [
        (25, WINDOW_NS, 26, 10),
        (29.97, WINDOW_NS, 31, 10),
        (25, WINDOW_NS // 5, 6, 50),
        (25, WINDOW_NS // 1000, 2, MAX_WINDOWS),
        (25, 60 * WINDOW_NS, 1501, 1),
    ],
)
def test_a_ring_has_room_for_windows_that_wait(
    fps: float, window_ns: int, slots: int, windows: int
) -> None:
    blocks = list[Block]()
    Slots(4, 10**9).take(header(fps, window_ns), blocks)
    assert blocks[0].home.slots == 2 * slots
    assert blocks[0].ring.slots == (4 + windows) * 2 * slots


@pytest.mark.parametrize("fps", [1e-3, 1e4])
@pytest.mark.parametrize("window_ns", [1, WINDOW_NS, 2**63 - 1])
def test_what_a_header_says_is_not_trusted_beyond_a_bound(fps: float, window_ns: int) -> None:
    slots, blocks = Slots(4, max_bytes=4000 * PAGE_BYTES), list[Block]()
    frame = header(fps, window_ns)
    indexes = take(slots, frame, blocks, 3000)
    assert blocks[0].home.slots <= 4000
    assert blocks[0].ring.slots <= (4 + 2) * 4000
    assert len(indexes) == 3000, "what really comes is kept"
    assert len(blocks) <= 12


def test_frames_of_pairs_that_are_never_announced_are_given_up() -> None:
    stream = Stream(["left"], shape=PAGE)
    assembly = assembly_of(max_bytes=32 * PAGE_BYTES)
    feed(assembly, *stream.whole(0))
    for window in range(1, 50):
        feed(assembly, *stream.window(window))
    feed(assembly, stream.pair(49))
    assert next_pair(assembly).index == 0
    assert next_pair(assembly).index == 49
    assert len(assembly._stores["left"]) == 0


def test_one_endless_window_is_bounded_too() -> None:
    stream = Stream(["left"], shape=PAGE)
    assembly = assembly_of(max_bytes=32 * PAGE_BYTES)
    feed(assembly, *stream.whole(0), *[stream.frame("left", 1) for _ in range(300)], stream.pair(1))
    assert next_pair(assembly).index == 0
    assert assembly.take() is None
    assert assembly.stats().lost_frames == {"left": {"too_large": 300}}


def test_the_number_of_windows_that_wait_is_bounded() -> None:
    stream, assembly = Stream(["left"], fps=1, shape=PAGE), assembly_of()
    for window in range(3 * MAX_WINDOWS):
        feed(assembly, *stream.window(window))
    assert len(assembly._stores["left"]) <= MAX_WINDOWS + 1


def test_a_later_announcement_frees_older_windows_and_unlisted_sources() -> None:
    stream, assembly = Stream(["left", "right"], shape=PAGE), assembly_of()
    feed(assembly, *stream.whole(0), *stream.window(1), *stream.window(2))
    other = Stream(["left"], shape=PAGE, run=2)
    other.frame("left", 3, run=9)
    feed(assembly, other.pair(3))
    assert len(assembly._stores["left"]) == 0
    assert "right" not in assembly._stores


def test_an_end_or_clear_forgets_what_waits() -> None:
    stream, assembly = Stream(shape=PAGE), assembly_of()
    feed(assembly, *stream.whole(0), *stream.window(1), stream.end("stopped"))
    assert [len(store) for store in assembly._stores.values()] == [0, 0]
    assert assembly.queued == 1
    assembly.clear()
    assert assembly.take() is None
    assert assembly.stats().totals == stream.totals
