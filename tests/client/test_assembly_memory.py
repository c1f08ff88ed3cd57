"""Where frames are kept: in a row, in no more memory than need be, whatever the headers claim."""

from __future__ import annotations

import random

import numpy as np
import pytest
from msgspec.structs import replace

from framepair.protocol.client.assembly import Assembly
from framepair.protocol.client.clip import Clip, Pair
from framepair.protocol.client.frame_store import MAX_WINDOWS
from framepair.protocol.client.slots import MAX_RUNS_PER_WINDOW, Blocks, Run, Storage
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
    (ring,) = {id(slot.ring): slot.ring for slot in clip._slots}.values()
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


def reserve(storage: Storage, frame: FrameHeader, runs: list[Run], count: int) -> list[int]:
    return [storage.reserve(frame, runs).index for _ in range(count)]


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
        used |= {slot.index for slot in next_pair(assembly)["left"]._slots}
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


def test_more_frames_than_a_block_has_go_on_into_the_next_and_around_the_end() -> None:
    blocks = Blocks(3, 4, PAGE)
    first = blocks.begin()
    second, third = blocks.begin(), blocks.begin()
    second.release()
    first.release()
    indexes = []
    while third.has_room():
        indexes.append(third.reserve().index)
    assert indexes == [8, 9, 10, 11, 0, 1, 2, 3, 4, 5, 6, 7]
    assert blocks.free == set()
    third.release()
    assert blocks.free == {0, 1, 2}


def test_a_run_stops_where_another_begins() -> None:
    blocks = Blocks(2, 4, PAGE)
    first, second = blocks.begin(), blocks.begin()
    for run in (first, second):
        while run.has_room():
            run.reserve()
        assert run.used == 4


def test_a_source_that_is_faster_than_it_says_gets_a_larger_ring() -> None:
    stream, assembly = Stream(["left"], fps=2, shape=PAGE), assembly_of(keep=1)
    views, rings = [], set()
    for window in range(12):
        frames = [stream.frame("left", window) for _ in range(30)]
        feed(assembly, *frames, stream.pair(window))
        clip = next_pair(assembly)["left"]
        views.append(is_view(clip))
        rings |= {id(slot.ring) for slot in clip._slots}
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


def test_frames_of_two_sizes_in_turn_take_two_runs_and_not_one_each() -> None:
    storage, runs = Storage(4, 10**9), list[Run]()
    for _ in range(3):
        storage.reserve(header(25, shape=PAGE), runs)
        storage.reserve(header(25, shape=LARGE), runs)
    assert [run.shape for run in runs] == [PAGE, LARGE]


def test_a_window_with_ever_new_sizes_is_refused() -> None:
    storage, runs = Storage(4, 10**9), list[Run]()
    for height in range(1, MAX_RUNS_PER_WINDOW + 1):
        storage.reserve(header(25, shape=(height, 1, 1)), runs)
    with pytest.raises(ProtocolError, match="too many shapes"):
        storage.reserve(header(25, shape=(99, 1, 1)), runs)


@pytest.mark.parametrize(
    ("fps", "window_ns", "slots"), [(25, WINDOW_NS, 26), (29.97, WINDOW_NS, 31)]
)
def test_a_block_has_room_for_a_window(fps: float, window_ns: int, slots: int) -> None:
    runs = list[Run]()
    Storage(4, 10**9).reserve(header(fps, window_ns), runs)
    assert runs[0].blocks.slots == slots
    assert runs[0].blocks.ring.slots == 4 * slots


@pytest.mark.parametrize("fps", [1e-3, 1e4])
@pytest.mark.parametrize("window_ns", [1, WINDOW_NS, 2**63 - 1])
def test_what_a_header_says_is_not_trusted_beyond_a_bound(fps: float, window_ns: int) -> None:
    storage, runs = Storage(4, max_bytes=4000 * PAGE_BYTES), list[Run]()
    frame = header(fps, window_ns)
    indexes = reserve(storage, frame, runs, 3000)
    assert runs[0].blocks.ring.slots <= 4000
    assert len(indexes) == 3000, "what really comes is kept"
    assert len(runs) <= 12


def test_frames_of_pairs_that_are_never_announced_are_given_up() -> None:
    stream = Stream(["left"], shape=PAGE)
    assembly = assembly_of(max_bytes=32 * PAGE_BYTES)
    feed(assembly, *stream.whole(0))
    for window in range(1, 50):
        feed(assembly, *stream.window(window))
    feed(assembly, stream.pair(49))
    assert next_pair(assembly).index == 0
    assert next_pair(assembly).index == 49
    assert len(assembly._arrivals["left"]) == 0


def test_one_endless_window_is_bounded_too() -> None:
    stream = Stream(["left"], shape=PAGE)
    assembly = assembly_of(max_bytes=32 * PAGE_BYTES)
    feed(assembly, *stream.whole(0), *[stream.frame("left", 1) for _ in range(300)], stream.pair(1))
    assert next_pair(assembly).index == 0
    assert assembly.take() is None
    assert assembly.stats().lost_frames == {"left": 300}


def test_the_number_of_windows_that_wait_is_bounded() -> None:
    stream, assembly = Stream(["left"], fps=1, shape=PAGE), assembly_of()
    for window in range(3 * MAX_WINDOWS):
        feed(assembly, *stream.window(window))
    assert len(assembly._arrivals["left"]) <= MAX_WINDOWS + 1


def test_a_later_announcement_frees_older_windows_and_unlisted_sources() -> None:
    stream, assembly = Stream(["left", "right"], shape=PAGE), assembly_of()
    feed(assembly, *stream.whole(0), *stream.window(1), *stream.window(2))
    other = Stream(["left"], shape=PAGE, run=2)
    other.frame("left", 3, run=9)
    feed(assembly, other.pair(3))
    assert len(assembly._arrivals["left"]) == 0
    assert "right" not in assembly._arrivals


def test_an_end_or_clear_forgets_what_waits() -> None:
    stream, assembly = Stream(shape=PAGE), assembly_of()
    feed(assembly, *stream.whole(0), *stream.window(1), stream.end("stopped"))
    assert [len(arrivals) for arrivals in assembly._arrivals.values()] == [0, 0]
    assert assembly.queued == 1
    assembly.clear()
    assert assembly.take() is None
    assert assembly.stats().totals == stream.totals
