"""What a consumer makes of frames in shared memory: clips without a copy, and headers that lie."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from framepair import Overwritten, Pair, subscribe
from framepair.protocol.client.assembly import Assembly
from framepair.protocol.client.frame_store import FrameStore
from framepair.protocol.client.loans import Kept, Loans
from framepair.protocol.client.pixels import FramePixels
from framepair.protocol.memory.payload import Place
from framepair.protocol.memory.ring import Slot
from framepair.protocol.memory.shared_ring import Attached
from framepair.protocol.memory.shm import RingWriter
from framepair.protocol.wire.frame import MAX_HEADER_BYTES, FrameHeader
from framepair.protocol.wire.header import ProtocolError
from tests.lib.processes import PATIENCE_S
from tests.lib.publisher import combiner_at
from tests.lib.shm import mapped, open_descriptors, own_directory
from tests.lib.stream import Stream, lost_frames, pixels

FPS = 5
# Whole pages, so that a ring has exactly as many slots as it needs.
SHAPE = (64, 64, 3)
OTHER = (48, 64, 3)


@pytest.fixture
def directory() -> Iterator[Path]:
    with own_directory() as path:
        yield path


@pytest.fixture
def address() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="fp-") as run_dir:
        yield f"ipc://{run_dir}/pairs"


class Source:
    """A producer with a ring of a few windows, and the combiner's announcements of what it sends."""

    def __init__(self, directory: Path, history_s: float = 2.0) -> None:
        self._directory = directory
        self._history_s = history_s
        self.stream = Stream(["left"], fps=FPS)
        self.run = 1
        self.payload = self._payload()

    def restart(self) -> None:
        self.payload.close()
        self.run += 1
        self.payload = self._payload()

    def frame(self, window: int, shape: tuple[int, int, int] = SHAPE) -> FrameHeader:
        header = self.stream.frame("left", window, run=self.run, shape=shape)
        self.payload.reserve(shape)[:] = pixels(header)
        return replace(
            header, payload="shm", location=self.payload.pack(header.seq, header.encoding).location
        )

    def _payload(self) -> RingWriter:
        return RingWriter(Place("left", self.run, FPS, self._history_s, self._directory))

    def window(self, window: int) -> list[FrameHeader]:
        return [self.frame(window) for _ in range(FPS)]


@pytest.fixture
def source(directory: Path) -> Iterator[Source]:
    source = Source(directory)
    yield source
    source.payload.close()


class Consumer:
    """Attached and Assembly, as a subscriber has them."""

    def __init__(self, directory: Path, keep: int = 2, loans: Loans | None = None) -> None:
        self.attached = Attached(directory)
        self.assembly = Assembly(keep, max_bytes=10_000_000, loans=loans)

    def put(self, *headers: FrameHeader) -> None:
        for header in headers:
            self.assembly.add_placed_frame(
                header, self.attached.slot(header), header.captured_ns + 1
            )

    def window(self, source: Source, window: int) -> None:
        self.put(*source.window(window))
        self.assembly.add_pair(source.stream.pair(window), ready_ns=9)

    def begin(self, source: Source) -> None:
        """Take a first pair: what is lost before it would be the start's."""
        self.window(source, 99)
        self.take()

    def take(self) -> Pair:
        pair = self.assembly.take()
        assert pair is not None
        return pair


def check(pair: Pair) -> None:
    clip = pair["left"]
    for header, image in zip(clip.frames, clip.images, strict=True):
        assert np.array_equal(image, pixels(header))


def test_a_clip_is_a_view_also_where_it_wraps(directory: Path, source: Source) -> None:
    consumer = Consumer(directory)
    wrapped = 0
    for window in range(100, 140):
        consumer.window(source, window)
        pair = consumer.take()
        check(pair)
        clip = pair["left"]
        slots = clip._pixels.slots
        ring = slots[0].ring
        wrapped += slots[-1].index < slots[0].index
        assert clip.array.shape == (FPS, *SHAPE)
        assert np.array_equal(clip.array, [pixels(header) for header in clip.frames])
        start = ring.view(slots[0].index, 1).ctypes.data
        assert clip.array.ctypes.data == start, "not a copy, but the ring itself"
        assert not clip.array.flags.owndata
        assert np.shares_memory(clip.array[0], slots[0].image)
        with pytest.raises(ValueError, match="read-only"):
            clip.array[0, 0, 0, 0] = 1
        with pytest.raises(ValueError, match="read-only"):
            clip.images[0][0, 0, 0] = 1
        assert pair.intact
    assert wrapped > 5


def test_what_was_overwritten_is_not_intact_and_cannot_be_copied(
    directory: Path, source: Source
) -> None:
    consumer = Consumer(directory)
    consumer.window(source, 100)
    pair = consumer.take()
    copied = pair.copy()
    source.window(101)
    assert pair.intact
    check(pair)
    for _ in range(pair["left"]._pixels.slots[0].ring.slots - FPS - 1):
        source.frame(102)
    assert not pair.intact
    assert not pair["left"].intact
    with pytest.raises(Overwritten, match="frames of left"):
        pair.copy()
    assert copied.intact
    check(copied)


def test_a_slot_that_is_being_written_is_not_intact(directory: Path, source: Source) -> None:
    consumer = Consumer(directory)
    consumer.window(source, 100)
    pair = consumer.take()
    slots = pair["left"]._pixels.slots[0].ring.slots
    for _ in range(slots - FPS):
        source.frame(101)
    assert pair.intact
    source.payload.reserve(SHAPE)
    assert not pair.intact


def test_pairs_that_waited_too_long_are_lost_and_counted(directory: Path, source: Source) -> None:
    consumer = Consumer(directory, keep=100)
    consumer.begin(source)
    for window in range(100, 120):
        consumer.window(source, window)
    pair = consumer.take()
    assert pair.intact
    check(pair)
    assert pair.index > 110
    assert pair.lost == pair.index - 100
    later = consumer.take()
    assert (later.index, later.lost) == (pair.index + 1, 0)
    stats = consumer.assembly.stats()
    assert stats.lost_pairs == pair.lost
    assert lost_frames(stats) == {"left": FPS * pair.lost}
    delivered = FPS * stats.pairs
    waiting = FPS * stats.queued
    assert stats.totals["left"].paired == delivered + waiting + lost_frames(stats)["left"]


def test_pairs_of_which_all_were_overwritten_are_no_pairs(directory: Path, source: Source) -> None:
    consumer = Consumer(directory, keep=100)
    consumer.begin(source)
    consumer.window(source, 100)
    consumer.window(source, 101)
    for _ in range(50):
        source.frame(102)
    assert consumer.assembly.take() is None
    assert consumer.assembly.stats().lost_pairs == 2


def test_pairs_that_stay_are_copied_when_they_are_taken(directory: Path, source: Source) -> None:
    consumer = Consumer(directory, loans=Kept(max_bytes=2 * FPS * 3 * 64 * 64))
    consumer.window(source, 100)
    kept = [consumer.take()]
    assert not kept[0]["left"].array.flags.writeable
    consumer.window(source, 101)
    kept.append(consumer.take())
    for window in range(102, 110):
        consumer.window(source, window)
        assert consumer.assembly.take() is None, "two fit into the bound"
    for pair in kept:
        check(pair)
        assert pair.intact
    image = kept.pop()["left"][0].image
    del pair
    assert consumer.assembly.take() is None, "an image is left of it"
    del image
    check(consumer.take())


def test_a_pair_that_is_overwritten_while_it_is_copied_is_lost(
    directory: Path, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    consumer = Consumer(directory, loans=Kept(max_bytes=10**9))
    consumer.begin(source)
    consumer.window(source, 100)
    consumer.window(source, 101)
    whole = FramePixels._copied

    def copied(pixels: FramePixels) -> FramePixels:
        monkeypatch.setattr(FramePixels, "_copied", whole)
        slot = pixels.slots[0]
        source.payload._rings[0].ring.reserve(slot.index)
        return whole(pixels)

    monkeypatch.setattr(FramePixels, "_copied", copied)
    pair = consumer.take()
    assert (pair.index, pair.lost) == (101, 1)
    stats = consumer.assembly.stats()
    assert (stats.pairs, stats.delivered_frames, stats.lost_pairs) == (2, {"left": 2 * FPS}, 1)


def test_a_change_of_shape_comes_out_as_images(directory: Path, source: Source) -> None:
    consumer = Consumer(directory)
    consumer.window(source, 100)
    headers = [source.frame(101), source.frame(101), *(source.frame(101, OTHER) for _ in range(3))]
    consumer.put(*headers)
    consumer.assembly.add_pair(source.stream.pair(101), ready_ns=9)
    check(consumer.take())
    change = consumer.take()
    check(change)
    assert [image.shape for image in change["left"].images] == [SHAPE, SHAPE, OTHER, OTHER, OTHER]
    with pytest.raises(ValueError, match="differ in shape"):
        _ = change["left"].array
    assert change.intact
    check(change.copy())
    consumer.put(*(source.frame(102, OTHER) for _ in range(FPS)))
    consumer.assembly.add_pair(source.stream.pair(102), ready_ns=9)
    after = consumer.take()
    check(after)
    assert after["left"].array.shape == (FPS, *OTHER)


def test_a_run_that_goes_on_by_another_clock_keeps_its_ring(
    directory: Path, source: Source
) -> None:
    consumer = Consumer(directory)
    headers = [source.frame(100), source.frame(100)]
    # As a producer does whose stamps go over to its camera's clock.
    source.run = 7
    headers += [source.frame(100) for _ in range(3)]
    consumer.put(*headers)
    consumer.assembly.add_pair(source.stream.pair(100), ready_ns=9)
    pair = consumer.take()
    check(pair)
    assert pair["left"].array.shape == (FPS, *SHAPE)
    assert {frame.location.ring for frame in headers if frame.location} == {
        frame.location.ring for frame in headers[:1] if frame.location
    }


def test_frames_with_holes_between_them_are_one_array_that_was_copied(
    directory: Path, source: Source
) -> None:
    consumer = Consumer(directory)
    for _ in range(FPS):
        consumer.put(source.frame(100))
        source.payload.reserve(SHAPE)
        source.payload.pack(99, "bgr8")
    consumer.assembly.add_pair(source.stream.pair(100), ready_ns=9)
    pair = consumer.take()
    check(pair)
    assert np.array_equal(pair["left"].array, pair["left"].images)


LIES: list[tuple[dict[str, object], str]] = [
    ({"location": None, "payload": "raw"}, "not in shared memory"),
    ({"source": "right"}, "not a ring of right"),
    ({"shape": OTHER}, "does not hold frames of shape"),
    ({"shape": (32768, 32768, 3)}, "does not hold frames of shape"),
    ({"ring": "left.1.7.12.ring"}, "no ring"),
    ({"ring": "left.1.0.999999999.ring"}, "no ring"),
    ({"ring": "left.1.../../../etc/passwd"}, "not the name of a ring"),
    ({"ring": "/etc/passwd"}, "not a ring of left"),
    ({"slot": 1 << 20}, "slot 1048576 of a ring of"),
    ({"slot": 2**63 - 1}, "of a ring of"),
]


@pytest.mark.parametrize("first", [True, False], ids=["first", "later"])
@pytest.mark.parametrize(("lie", "reason"), LIES)
def test_headers_that_lie_are_refused(
    directory: Path, source: Source, lie: dict[str, object], reason: str, first: bool
) -> None:
    attached = Attached(directory)
    header = source.frame(100)
    if not first:
        attached.slot(header)
    elif "shape" in lie:
        reason = "is not a ring of"
    place = {name: lie.pop(name) for name in ("ring", "slot") if name in (lie := dict(lie))}
    assert header.location is not None
    changed = replace(header, location=replace(header.location, **place))
    with pytest.raises(ProtocolError, match=reason) as refused:
        attached.slot(replace(changed, **lie))
    assert len(str(refused.value)) < 300
    assert attached.slot(header).intact


@pytest.mark.parametrize("generation", [7, 2**63 - 1])
def test_a_generation_that_never_was_is_not_intact(
    directory: Path, source: Source, generation: int
) -> None:
    consumer = Consumer(directory)
    consumer.begin(source)
    header = source.frame(100)
    assert header.location is not None
    lie = replace(header, location=replace(header.location, generation=generation))
    consumer.put(lie)
    consumer.assembly.add_pair(source.stream.pair(100), ready_ns=9)
    assert consumer.assembly.take() is None
    assert consumer.assembly.stats().lost_pairs == 1


def test_a_slot_may_be_named_more_often_than_there_are_slots(
    directory: Path, source: Source
) -> None:
    consumer = Consumer(directory)
    headers = [source.frame(100)]
    slots = consumer.attached.slot(headers[0]).ring.slots
    headers += [source.frame(100) for _ in range(slots - 1)]
    again = source.stream.frame("left", 100, run=1, shape=SHAPE)
    consumer.put(*headers, replace(again, payload="shm", location=headers[0].location))
    consumer.assembly.add_pair(source.stream.pair(100), ready_ns=9)
    pair = consumer.take()
    assert len(pair["left"].array) == slots + 1


def test_frames_that_are_never_announced_do_not_pile_up(directory: Path, source: Source) -> None:
    attached = Attached(directory)
    store = FrameStore(held=5, max_bytes=20 * MAX_HEADER_BYTES)
    slot: Slot | None = None
    for window in range(100, 200):
        for _ in range(10):
            header = source.frame(window)
            slot = attached.slot(header)
            store.add_placed_frame(header, window, slot, ready_ns=1)
        assert len(store) <= 2
    assert slot is not None
    with pytest.raises(ProtocolError, match="came twice"):
        store.add_placed_frame(header, 199, slot, ready_ns=1)


def test_only_the_newest_ring_of_a_source_stays_mapped(directory: Path, source: Source) -> None:
    attached = Attached(directory)
    for _ in range(10):
        attached.slot(source.frame(100))
        source.restart()
    source.payload.close()
    assert mapped(directory) == 2
    attached.clear()
    assert mapped(directory) == 0


def test_a_consumer_that_sees_fifty_producers_come_and_go_keeps_none_of_them(
    directory: Path, address: str
) -> None:
    source = Source(directory)
    with combiner_at(address) as combiner, subscribe(address, shm_dir=directory) as pairs:
        combiner.wait_for_subscriber()
        counts = []
        for window in range(100, 150):
            combiner.send(*source.window(window), source.stream.pair(window))
            pair = pairs.get(PATIENCE_S)
            assert pair is not None
            assert pair.index == window
            check(pair)
            pair = None
            source.restart()
            if window % 10 == 9:
                counts.append((mapped(directory), open_descriptors()))
        assert len(set(counts)) == 1, counts
        assert counts[-1][0] <= 4
    source.payload.close()
    assert mapped(directory) == 0, "closed, if not gone"
    assert not pairs.stats().rejected


def test_what_cannot_be_seen_here_is_counted_and_rarely_said(
    directory: Path, address: str, source: Source, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        caplog.at_level(logging.WARNING, logger="framepair.protocol"),
        combiner_at(address) as combiner,
        subscribe(address, shm_dir=directory / "elsewhere") as pairs,
    ):
        combiner.wait_for_subscriber()
        for window in range(100, 103):
            combiner.send(*source.window(window), source.stream.pair(window))
        combiner.send(source.stream.end())
        assert list(pairs) == []
        stats = pairs.stats()
    assert (stats.rejected, stats.lost_pairs) == (0, 3)
    assert stats.lost_frames == {"left": {"unseen": 3 * FPS}}
    (line,) = caplog.messages
    assert line.startswith("no pair with frames of left: its frames are in shared memory that this")
    assert f"in {directory}/elsewhere: No such file" in line
    assert (
        "(--shm-dir, shm_dir), share it with this container, or send the frames with --payload raw"
        in line
    )
