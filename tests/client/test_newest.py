"""The newest frames, before their pair and without pairs: what a reader gets, what it skips, and what stays."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from framepair import Frame, Overwritten, subscribe
from framepair.protocol.client.live_frames import BLOCKS, LiveFrames
from framepair.protocol.client.newest import FRAMES_HELD, Reader
from framepair.protocol.client.pair_queue import PairQueue
from framepair.protocol.client.selection import select
from framepair.protocol.memory import jpeg
from framepair.protocol.memory.payload import Place
from framepair.protocol.memory.shm import Shm
from framepair.protocol.wire import published
from framepair.protocol.wire.frame import FrameHeader, Pace
from framepair.protocol.wire.pair import PairHeader, StreamEnd
from tests.lib.processes import PATIENCE_S
from tests.lib.publisher import Combiner, parts
from tests.lib.shm import mapped, own_directory
from tests.lib.stream import Stream, pixels

NOWHERE = Path("/nonexistent")
WITH_AND_WITHOUT_PAIRS = pytest.mark.parametrize("pairs", [True, False])


def queue_of(pairs: bool, directory: Path = NOWHERE, **selected: Any) -> PairQueue:
    selection = select(**{"sources": None, "pairs": pairs, **selected})
    return PairQueue(2, 10**8, directory, selection=selection)


def put(queue: PairQueue, *messages: FrameHeader | PairHeader | StreamEnd) -> None:
    for message in messages:
        if isinstance(message, PairHeader) and isinstance(queue._assembly, LiveFrames):
            continue
        raw = [memoryview(part) for part in parts(message)]
        queue.add(published.decode(raw), lambda: (1, 0))


def put_all(queue: PairQueue, *messages: FrameHeader | PairHeader) -> None:
    """Add ``messages``, pairs also where a program has asked for none: they tell which sources there are."""
    for message in messages:
        queue.add(published.decode([memoryview(part) for part in parts(message)]), lambda: (1, 0))


def following(queue: PairQueue, reader: Reader) -> list[int]:
    """Return the seq of each frame of left that a reader can have now."""
    seqs = []
    while (frame := queue.read(lambda: reader.following("left"), 0, lambda: None)) is not None:
        assert np.array_equal(frame.image, pixels(frame.header))
        seqs.append(frame.seq)
    return seqs


@WITH_AND_WITHOUT_PAIRS
def test_the_newest_frame_of_each_source_comes_once_one_of_them_is_newer(pairs: bool) -> None:
    stream, queue = Stream(), queue_of(pairs)
    reader = queue.reader(copy=False)
    assert reader.latest() is None
    put(queue, *stream.window(0, {"right": 1}))
    first = reader.latest()
    assert first is not None
    assert {name: frame.seq for name, frame in first.items()} == {"left": 4, "right": 0}
    assert reader.latest() is None
    put(queue, *[stream.frame("left", 0) for _ in range(3)])
    second = reader.latest()
    assert second is not None
    assert {name: frame.seq for name, frame in second.items()} == {"left": 7, "right": 0}
    assert (second["left"].skipped, second["right"]) == (2, first["right"])
    assert all(np.array_equal(frame.image, pixels(frame.header)) for frame in second.values())
    assert queue.stats().skipped_frames == {"left": 2}
    with pytest.raises(Overwritten):
        _ = first["left"].image


@WITH_AND_WITHOUT_PAIRS
def test_frames_come_one_by_one_and_the_oldest_are_skipped(pairs: bool) -> None:
    stream, queue = Stream(fps=10), queue_of(pairs)
    reader = queue.reader(copy=False)
    put(queue, *stream.window(0, {"left": 3}))
    assert following(queue, reader) == [0, 1, 2]
    put(queue, *[stream.frame("left", 0) for _ in range(FRAMES_HELD + 2)])
    newest = [5, 6, 7, 8, 9, 10]
    assert following(queue, reader) == newest
    # The first one that a reader gets may be any.
    assert following(queue, queue.reader(copy=False)) == newest
    assert queue.stats().skipped_frames == {"left": 2}


@WITH_AND_WITHOUT_PAIRS
def test_what_a_reader_has_stays_whatever_comes(pairs: bool) -> None:
    stream, queue = Stream(["left"]), queue_of(pairs)
    reader = queue.reader(copy=False)
    put(queue, *stream.window(0))
    had = reader.latest()
    assert had is not None
    for window in range(20):
        put(queue, stream.pair(window), *stream.window(window + 1))
    assert np.array_equal(had["left"].image, pixels(had["left"].header))
    assert had["left"].intact


@WITH_AND_WITHOUT_PAIRS
def test_an_array_stays_without_its_frame_and_its_reader(pairs: bool) -> None:
    stream, queue = Stream(["left"]), queue_of(pairs)
    put(queue, *stream.window(0))

    def image() -> tuple[FrameHeader, np.ndarray[Any, Any]]:
        found = queue.reader(copy=False).latest()
        assert found is not None
        return found["left"].header, found["left"].image[1:]

    header, array = image()
    gc.collect()
    for window in range(20):
        put(queue, stream.pair(window), *stream.window(window + 1))
    assert np.array_equal(array, pixels(header)[1:])


@WITH_AND_WITHOUT_PAIRS
def test_a_source_that_was_removed_is_forgotten_until_it_returns(pairs: bool) -> None:
    stream, queue = Stream(), queue_of(pairs)
    reader, one = queue.reader(copy=False), queue.reader(copy=False)
    put_all(queue, *stream.whole(0))
    had = reader.latest()
    assert had is not None
    assert one.following("right") is not None
    stream.sources = ["left"]
    put_all(queue, *stream.whole(1))
    found = reader.latest()
    assert found is not None
    assert list(found) == ["left"]
    assert one.following("right") is None
    # Its last frame is the program's as long as it has that, and of no reader then.
    assert np.array_equal(had["right"].image, pixels(had["right"].header))
    last = weakref.ref(had.pop("right")._pixels)
    gc.collect()
    assert last() is None
    # Its frames come before the first pair that has it.
    first = stream.frame("right", 3)
    put_all(queue, first, *stream.whole(2))
    found = reader.latest()
    assert found is not None
    assert found["right"].header == first
    assert np.array_equal(found["right"].image, pixels(found["right"].header))
    assert one.following("right") is not None


@WITH_AND_WITHOUT_PAIRS
def test_the_memory_of_a_source_that_was_removed_is_unmapped(pairs: bool) -> None:
    stream = Stream(shape=(64, 64, 3))
    with own_directory() as directory:
        queue = queue_of(pairs, directory)
        reader = queue.reader(copy=False)
        writers = {
            name: Shm().writer(Place(name, 7, 5.0, 9.0, directory)) for name in stream.sources
        }

        def placed(header: FrameHeader) -> FrameHeader:
            writers[header.source].reserve(header.shape)[:] = pixels(header)
            location = writers[header.source].pack(header.seq, header.encoding).location
            return replace(header, payload="shm", location=location)

        def window(number: int) -> None:
            put_all(queue, *map(placed, stream.window(number)), stream.pair(number))
            assert reader.latest() is not None
            assert not pairs or queue.take(0) is not None

        window(0)
        assert mapped(directory) - 2 * len(writers) == 4
        stream.sources = ["left"]
        window(1)
        window(2)
        writers.pop("right").close()
        assert mapped(directory) - 2 * len(writers) == 2
        queue.clear()
        writers.pop("left").close()


@pytest.mark.parametrize("pace", ["realtime", "max"])
def test_without_pairs_they_are_subscribed_to_where_sources_may_be_removed(
    combiner: Combiner, address: str, pace: Pace
) -> None:
    stream = Stream(pace=pace)
    with subscribe(address, pairs=False) as subscription:
        combiner.wait_for_subscriber([b"frame.", b"end.", b"newest."])
        combiner.send(*stream.window(0))
        while len(found := subscription.latest(PATIENCE_S)) < 2 or found["right"].seq < 4:
            assert found
        if pace == "realtime":
            combiner.wait_for_subscriber([b"pair."])
            stream.sources = ["left"]
            combiner.send(stream.pair(0), stream.frame("left", 1), stream.pair(1))
            combiner.send(stream.frame("left", 2))
            while (found := subscription.latest(PATIENCE_S))["left"].header.window != 2:
                pass
            assert list(found) == ["left"]
        combiner.send(stream.end())
        assert subscription.latest(None) == {}
    while combiner._xpub.poll(0):
        assert combiner._xpub.recv() != b"\x01pair."


def test_without_pairs_eight_slots_of_a_source_are_in_use() -> None:
    stream, queue = Stream(["left"]), queue_of(False)
    reader, used = queue.reader(copy=False), set[int]()
    live = queue._assembly
    assert isinstance(live, LiveFrames)
    for window in range(20):
        for header in stream.window(window):
            put(queue, header)
            used |= set(range(BLOCKS)) - live._rings["left"].free
            reader.latest()
    assert len(used) <= 8


def test_memory_that_readers_had_is_used_again() -> None:
    stream, queue = Stream(["left"]), queue_of(False)
    kept: list[dict[str, Frame] | None] = []
    for _ in range(10 * BLOCKS):
        put(queue, stream.frame("left", 0))
        kept = [*kept[-3:], queue.reader(copy=False).latest()]
    assert queue.stats().rejected == 0
    frame = (kept[-1] or {})["left"]
    assert np.array_equal(frame.image, pixels(frame.header))


def test_a_frame_finds_no_room_if_all_are_in_use() -> None:
    stream, queue = Stream(["left"]), queue_of(False)
    kept = []
    for _ in range(BLOCKS):
        put(queue, stream.frame("left", 0))
        kept.append(queue.reader(copy=False).latest())
    with pytest.raises(ValueError, match="frames of left are in use: let go of some"):
        put(queue, stream.frame("left", 0))
    kept.clear()
    put(queue, stream.frame("left", 0))


@WITH_AND_WITHOUT_PAIRS
def test_with_copy_they_stay_for_good(pairs: bool) -> None:
    stream, queue = Stream(["left"]), queue_of(pairs)
    reader, kept = queue.reader(copy=True), []
    for window in range(10):
        put(queue, *stream.whole(window))
        found = reader.latest()
        assert found is not None
        kept.append(found["left"])
    assert all(np.array_equal(frame.image, pixels(frame.header)) for frame in kept)
    assert not kept[0].image.flags.writeable


def test_files_are_decoded_when_they_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[int] = []
    decode = jpeg.decode

    def counted(*arguments: Any) -> None:
        decoded.append(1)
        decode(*arguments)

    monkeypatch.setattr(jpeg, "decode", counted)
    stream, queue = Stream(["left"], shape=(16, 16, 3)), queue_of(False)
    reader = queue.reader(copy=False)
    for header in stream.window(0):
        file = jpeg.encode(pixels(header), 90, header.encoding)
        header = replace(header, payload="jpeg", packed_bytes=len(file))
        queue.add((header, memoryview(file)), lambda: (1, 0))
    found = reader.latest()
    assert found is not None
    assert not decoded
    assert found["left"].encoded == file
    assert found["left"].image.shape == (16, 16, 3)
    assert found["left"].image is not None
    assert decoded == [1]


def test_those_in_shared_memory_are_skipped_once_they_are_overwritten(tmp_path: Path) -> None:
    stream, queue = Stream(["left"], shape=(64, 64, 3)), queue_of(False, tmp_path / "shm")
    writer = Shm().writer(Place("left", 7, 1.0, 1.0, tmp_path / "shm"))
    reader = queue.reader(copy=False)
    try:
        for _ in range(2):
            header = stream.frame("left", 0)
            writer.reserve(header.shape)[:] = header.seq
            packed = writer.pack(header.seq, header.encoding)
            put(queue, replace(header, payload="shm", location=packed.location))
        for _ in range(50):
            writer.reserve((64, 64, 3))[:] = 255
            writer.pack(9, "bgr8")
            found = queue.read(lambda: reader.following("left"), 0, lambda: None)
            assert found is None or int(found.image.max()) in (0, 1)
        assert reader.latest() is None
    finally:
        writer.close()


def test_a_program_asks_for_frames_at_once(combiner: Combiner, address: str) -> None:
    stream = Stream()
    with subscribe(address) as subscription:
        combiner.wait_for_subscriber()
        assert subscription.latest(0) == {}
        combiner.wait_for_subscriber([b"newest."])
        combiner.send(*stream.window(0))
        assert subscription.latest(PATIENCE_S)["left"].source == "left"
        combiner.send(stream.pair(0))
        pair = subscription.get(PATIENCE_S)
        assert pair is not None
        assert len(pair["left"]) == 5


def test_threads_have_a_place_of_their_own_each(combiner: Combiner, address: str) -> None:
    stream, seen = Stream(), {"left": list[int](), "right": list[int]()}
    with subscribe(address, pairs=False) as subscription:
        combiner.wait_for_subscriber([b"frame.", b"end.", b"newest."])
        looks: list[Callable[[], None]] = [
            lambda: seen["left"].extend(frame.seq for frame in subscription.frames("left")),
            lambda: seen["right"].extend(frame.seq for frame in subscription.frames("right")),
        ]
        threads = [threading.Thread(target=look) for look in looks]
        for thread in threads:
            thread.start()
        combiner.send(*stream.window(0))
        while len(found := subscription.latest(PATIENCE_S)) < 2 or found["right"].seq < 4:
            assert found
        combiner.send(stream.end())
        for thread in threads:
            thread.join()
        assert subscription.latest(None) == {}
        assert subscription.ended
    assert seen["left"][-1] == seen["right"][-1] == 4


def test_without_pairs_there_are_none(address: str) -> None:
    with subscribe(address, pairs=False) as subscription:
        with pytest.raises(RuntimeError, match="pairs=False: use latest"):
            subscription.get(0)
        with pytest.raises(ValueError, match="'left' is not received: sources has right"):
            subscribe(address, sources=["right"]).frames("left")
    with pytest.raises(ValueError, match="nothing is left to receive"):
        subscribe(address, sources=[], pairs=False)
