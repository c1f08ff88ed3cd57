"""Less than everything: some sources, every nth frame, a smaller size, no pixels, JPEGs as they travelled."""

from __future__ import annotations

import copy
import mmap
import pickle
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from msgspec.structs import replace

from framepair import Overwritten, Pair, subscribe
from framepair.protocol.client.loans import Kept
from framepair.protocol.client.losses import SubscriberStats
from framepair.protocol.client.pair_queue import PairQueue
from framepair.protocol.client.selection import UnknownSource, select
from framepair.protocol.memory import jpeg
from framepair.protocol.memory.payload import Place
from framepair.protocol.memory.shm import Shm
from framepair.protocol.wire import published
from framepair.protocol.wire.frame import FrameHeader
from framepair.protocol.wire.pair import MAX_SPAN_FRAMES, PairHeader, Span, StreamEnd
from tests.lib.processes import PATIENCE_S
from tests.lib.publisher import Combiner, parts
from tests.lib.stream import Stream, pixels

NOWHERE = Path("/nonexistent")


def queue_of(directory: Path = NOWHERE, **selected: Any) -> PairQueue:
    return PairQueue(2, 10**8, directory, selection=select(**{"sources": None, **selected}))


def put(queue: PairQueue, *messages: FrameHeader | PairHeader | StreamEnd) -> None:
    """Add what a subscription to the queue's sources gets of ``messages``."""
    for message in messages:
        raw = [memoryview(part) for part in parts(message)]
        queue.add(published.decode(raw), lambda: (1, 0))


def taken(queue: PairQueue) -> Pair:
    pair = queue.take(0)
    assert pair is not None
    return pair


def is_balanced(stats: SubscriberStats) -> bool:
    return all(
        total.paired
        == stats.delivered_frames.get(source, 0)
        + stats.damaged_frames.get(source, 0)
        + stats.left_out_frames.get(source, 0)
        + sum(stats.lost_frames.get(source, {}).values())
        + stats.waiting_frames.get(source, 0)
        for source, total in stats.totals.items()
    )


def test_a_pair_of_some_sources_has_theirs_alone() -> None:
    stream, queue = Stream(), queue_of(sources=["left"])
    for window in range(4):
        left = [frame for frame in stream.window(window) if frame.source == "left"]
        put(queue, *left, stream.pair(window))
        if not window:
            assert taken(queue).index == 0
    assert queue.stats().waiting_frames == {"left": 10}
    pair = taken(queue)
    assert list(pair) == list(pair.header.clips) == ["left"]
    assert (pair.index, pair.lost, len(pair["left"])) == (2, 1, 5)
    put(queue, stream.end())
    stats = queue.stats()
    assert list(stats.totals) == ["left"]
    assert is_balanced(stats)
    assert stats.lost_frames == {"left": {"subscriber_slow": 5}}


@pytest.mark.parametrize(
    ("left", "right", "of_pair", "expected"),
    [
        (True, False, False, True),
        (False, True, False, False),
        (None, None, True, True),
        (None, None, False, False),
    ],
)
def test_it_is_complete_if_what_was_asked_for_is(
    left: bool | None, right: bool | None, of_pair: bool, expected: bool
) -> None:
    stream, queue = Stream(), queue_of(sources=["left"])
    frames = [frame for frame in stream.window(0) if frame.source == "left"]
    clips: dict[str, dict[str, Any]] = {
        "left": {"complete": left},
        "right": {"complete": right, "gaps": 2},
    }
    put(queue, *frames, stream.pair(0, clips, complete=of_pair))
    pair = taken(queue)
    assert pair.complete is expected
    assert pair["left"].complete is left


def test_a_source_that_there_is_not_is_named() -> None:
    stream, queue = Stream(), queue_of(sources=["left", "lefft"])
    with pytest.raises(UnknownSource, match="no source lefft: there are left, right"):
        put(queue, *stream.whole(0))


def test_a_program_hears_of_it(combiner: Combiner, address: str) -> None:
    stream = Stream()
    with subscribe(address, sources=["lefft"]) as subscription:
        combiner.wait_for_subscriber([b"frame.lefft.", b"pair.", b"end."])
        combiner.send(*stream.whole(0))
        with pytest.raises(ValueError, match="no source lefft: there are left, right"):
            subscription.get(PATIENCE_S)


def test_only_the_frames_that_were_asked_for_travel(combiner: Combiner, address: str) -> None:
    stream = Stream()
    with subscribe(address, sources=["right"]) as subscription:
        combiner.wait_for_subscriber([b"frame.right.", b"pair.", b"end."])
        # What is published as another source's is not received: it would be refused.
        combiner.send_raw(b"frame.left.", b"not a header", b"")
        combiner.send(*stream.whole(0), stream.end())
        (pair,) = list(subscription)
        assert list(pair) == ["right"]
        assert subscription.stats().rejected == 0


def test_every_nth_frame_is_kept_whatever_pairs_it_is_in() -> None:
    stream, queue = Stream(["left"], fps=7), queue_of(every=5)
    seqs = []
    for window in range(5):
        put(queue, *stream.whole(window))
        pair = taken(queue)
        (clip,) = pair.values()
        assert (clip.expected, clip.fps, clip.missing, pair.complete) == (2, 1.4, None, True)
        assert all(np.array_equal(frame.image, pixels(frame.header)) for frame in clip)
        seqs += clip.seq.tolist()
    assert seqs == list(range(0, 35, 5))
    stats = queue.stats()
    assert (stats.delivered_frames, stats.left_out_frames) == ({"left": 7}, {"left": 28})
    assert is_balanced(stats)


@pytest.mark.parametrize("shape", [(60, 80, 3), (60, 80, 1)])
def test_frames_are_scaled_as_they_come(shape: tuple[int, int, int]) -> None:
    stream, queue = Stream(["left"], shape=shape), queue_of(size=(20, 15))
    put(queue, *stream.whole(0))
    clip = taken(queue)["left"]
    assert clip.array.shape == (5, 15, 20, shape[2])
    for frame in clip:
        expected = cv2.resize(
            pixels(replace(frame.header, shape=shape)), (20, 15), interpolation=cv2.INTER_AREA
        )
        assert np.array_equal(frame.image, expected.reshape(15, 20, shape[2]))
        assert frame.header.shape == (15, 20, shape[2])


def test_planes_are_scaled_each() -> None:
    stream, queue = Stream(["left"], shape=(60, 40, 1)), queue_of(size=(20, 10))
    frames = [replace(frame, encoding="i420") for frame in stream.window(0)]
    put(queue, *frames, stream.pair(0))
    for frame in taken(queue)["left"]:
        assert frame.image.shape == (15, 20, 1)
        assert frame.bgr().shape == (10, 20, 3)
        original = pixels(replace(frame.header, shape=(60, 40, 1)))[:, :, 0]
        luma = cv2.resize(original[:40], (20, 10), interpolation=cv2.INTER_AREA)
        assert np.array_equal(frame.image[:10, :, 0], luma)


def test_frames_in_shared_memory_are_scaled_into_memory_of_this_process(tmp_path: Path) -> None:
    stream, queue = Stream(["left"], shape=(60, 80, 3)), queue_of(tmp_path / "shm", size=(8, 6))
    writer = Shm().writer(Place("left", 7, 25.0, 1.0, tmp_path / "shm"))
    try:
        for header in stream.window(0):
            writer.reserve(header.shape)[:] = header.seq
            packed = writer.pack(header.seq, header.encoding)
            put(queue, replace(header, payload="shm", location=packed.location))
        put(queue, stream.pair(0))
        clip = taken(queue)["left"]
    finally:
        writer.close()
    assert [int(image.mean()) for image in clip.array] == [0, 1, 2, 3, 4]
    for _ in range(40):
        assert clip.intact, "nothing of it is in the ring"


def test_the_next_frame_finds_its_memory_there() -> None:
    stream, queue = Stream(["left"], shape=(512, 1024, 3), fps=20), queue_of()
    faults = []
    for header in stream.window(0):
        image = pixels(header)
        before = resource.getrusage(resource.RUSAGE_THREAD).ru_minflt
        place = queue._assembly.reserve(header)
        place.image[:] = image
        faults.append(resource.getrusage(resource.RUSAGE_THREAD).ru_minflt - before)
        queue._assembly.add_frame(header, place, 1)
        place.prepare_next()
    pages = 512 * 1024 * 3 // mmap.PAGESIZE
    assert faults[0] >= pages
    assert max(faults[1:]) < pages // 10


def test_a_pair_may_come_without_pixels() -> None:
    stream, queue = Stream(), queue_of(sources=[])
    put(queue, stream.pair(0))
    stream.window(1)
    clips = {"right": {"missing": "slow", "complete": False}}
    put(queue, stream.pair(1, clips, complete=False))
    queue.take(0)
    pair = taken(queue)
    left, right = pair["left"], pair["right"]
    assert (left.seq.tolist(), left.run.tolist(), len(left)) == ([0, 1, 2, 3, 4], [7] * 5, 5)
    assert (left.missing, right.missing, pair.complete) == (None, "slow", False)
    looks: list[Callable[[], object]] = [
        lambda: left.array, lambda: left.images, lambda: left.captured_ns, lambda: left[0],
        lambda: left[:2], lambda: list(left), lambda: np.asarray(left),
    ]  # fmt: skip
    for look in looks:
        with pytest.raises(
            ValueError, match=r"the frames of left are not received: .*sources=\[\]"
        ):
            look()
    assert pickle.loads(pickle.dumps(pair))["left"].seq.tolist() == left.seq.tolist()
    assert copy.deepcopy(pair)["left"].seq.tolist() == left.seq.tolist()
    assert is_balanced(queue.stats())


def test_without_pixels_nothing_but_pairs_is_subscribed_to() -> None:
    assert select([]).topics() == [b"end.", b"pair."]
    assert select(None).topics() == [b"frame.", b"end.", b"pair."]


@pytest.mark.parametrize("selected", [{"sources": []}, {"every": 2}])
def test_a_clip_of_more_frames_than_there_can_be_is_refused(selected: dict[str, Any]) -> None:
    stream, queue = Stream(["left"]), queue_of(**selected)
    header = stream.pair(0)
    spans = tuple(Span(7, i * MAX_SPAN_FRAMES, MAX_SPAN_FRAMES) for i in range(2))
    clip = replace(header.clips["left"], spans=spans)
    with pytest.raises(ValueError, match="a clip of more than"):
        put(queue, replace(header, clips={"left": clip}))


def as_jpeg(queue: PairQueue, *headers: FrameHeader) -> list[bytes]:
    """Add frames as JPEG files, and return those."""
    files = []
    for header in headers:
        file = jpeg.encode(pixels(header), 90, header.encoding)
        header = replace(header, payload="jpeg", packed_bytes=len(file))
        queue.add((header, memoryview(file)), lambda: (1, 0))
        files.append(file)
    return files


def decoded(file: bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    out = np.empty((16, 16, 3), np.uint8)
    jpeg.decode(memoryview(file), out, "bgr8")
    return out


def test_files_come_as_they_travelled_and_are_decoded_when_asked_for() -> None:
    stream, queue = Stream(["left"], shape=(16, 16, 3)), queue_of(decode=False)
    files = as_jpeg(queue, *stream.window(0))
    raw = stream.frame("left", 0)
    put(queue, raw, stream.pair(0))
    clip = taken(queue)["left"]
    assert [frame.encoded for frame in clip] == [*files, None]
    assert [frame.encoded for frame in clip[1:3]] == files[1:3]
    assert np.array_equal(clip.array, [*map(decoded, files), pixels(raw)])
    assert not clip[0].image.flags.writeable
    assert clip[0].copy().image.flags.writeable
    assert len(pickle.dumps(clip[0])) < 4 * len(files[0]), "the file, and not its pixels"
    assert pickle.loads(pickle.dumps(clip[0])).encoded == files[0]
    frame = clip[0]
    for window in range(1, 3):
        put(queue, *stream.whole(window))
        queue.take(0)
    with pytest.raises(Overwritten):
        _ = frame.encoded


def test_files_stay_with_copy() -> None:
    stream = Stream(["left"], shape=(16, 16, 3))
    queue = PairQueue(2, 10**8, NOWHERE, Kept(10**8), select(None, decode=False))
    files = as_jpeg(queue, *stream.window(0))
    raw = stream.frame("left", 0)
    put(queue, raw, stream.pair(0))
    clip = taken(queue)["left"]
    for window in range(1, 6):
        put(queue, *stream.whole(window))
        queue.take(0)
    assert [frame.encoded for frame in clip] == [*files, None]
    assert np.array_equal(clip[-1].image, pixels(raw))


def test_a_damaged_file_is_found_when_it_is_decoded() -> None:
    stream, queue = Stream(["left"], shape=(16, 16, 3)), queue_of(decode=False)
    header = replace(stream.frame("left", 0), payload="jpeg", packed_bytes=9)
    queue.add((header, memoryview(b"not JPEG!")), lambda: (1, 0))
    put(queue, stream.pair(0))
    (frame,) = taken(queue)["left"]
    assert frame.encoded == b"not JPEG!"
    with pytest.raises(ValueError, match="JPEG"):
        _ = frame.image


def test_files_are_scaled() -> None:
    stream, queue = Stream(["left"], shape=(16, 16, 3)), queue_of(size=(4, 4))
    (file,) = as_jpeg(queue, stream.frame("left", 0))
    put(queue, stream.pair(0))
    expected = cv2.resize(decoded(file), (4, 4), interpolation=cv2.INTER_AREA)
    assert np.array_equal(taken(queue)["left"].array, [expected])


@pytest.mark.parametrize(
    ("selected", "complaint"),
    [
        ({"sources": "left"}, r"sources is 'left': .* such as \['left'\]"),
        ({"sources": ["le ft"]}, "sources has 'le ft'"),
        ({"every": 0}, "every is 0"),
        ({"every": 2.5}, "every is 2.5"),
        ({"size": (320,)}, "size is"),
        ({"size": (0, 180)}, "size is"),
        ({"size": (320, 180), "decode": False}, "decode=False"),
    ],
)
def test_what_makes_no_sense_is_refused(selected: dict[str, Any], complaint: str) -> None:
    with pytest.raises((ValueError, TypeError), match=complaint):
        queue_of(**selected)
