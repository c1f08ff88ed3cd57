"""The queue between receiving and writing: bounded in bytes, in order, nothing lost without a reason."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from framepair.nodes.recorder.coding import Coder
from framepair.nodes.recorder.message_queue import MessageQueue, QueuedFrame
from framepair.protocol.memory import jpeg
from framepair.protocol.memory.jpeg import Jpeg
from framepair.protocol.memory.payload import Place
from framepair.protocol.memory.shm import Shm
from framepair.protocol.wire import frame
from framepair.protocol.wire.frame import FrameHeader
from framepair.protocol.wire.header import ProtocolError
from framepair.protocol.wire.pair import PairHeader
from tests.lib.shm import mapped, own_directory
from tests.lib.stream import SHAPE, Stream, pixels

FRAME_BYTES = 6 * 8 * 3


@pytest.fixture
def coder() -> Iterator[Coder]:
    coder = Coder(Jpeg(90))
    yield coder
    coder.close()


def taken(queue: MessageQueue) -> list[QueuedFrame | object]:
    found: list[QueuedFrame | object] = []
    while (item := queue.take(0)) is not None:
        found.append(item)
    return found


def test_raw_frames_are_coded_in_threads_and_stay_in_order(directory: Path, coder: Coder) -> None:
    queue, stream = MessageQueue(coder, directory), Stream()
    sent = [*stream.next(), *stream.next()]
    for message in sent:
        received = (message, pixels(message)) if isinstance(message, FrameHeader) else message
        queue.add(received, None)
    for message, item in zip(sent, taken(queue), strict=True):
        if isinstance(item, QueuedFrame):
            assert item.header is message
            image = item.image()
            assert image is not None
            assert frame.decode(image.header) == message
            assert image.data == jpeg.encode(pixels(item.header), 90, "bgr8")
        else:
            assert item is message


def test_jpeg_is_kept_as_it_came(directory: Path, coder: Coder) -> None:
    queue = MessageQueue(coder, directory)
    header = replace(Stream().frame("left", 0), payload="jpeg", packed_bytes=5)
    queue.add((header, memoryview(b"file!")), None)
    [item] = taken(queue)
    assert isinstance(item, QueuedFrame)
    image = item.image()
    assert image is not None
    assert (image.data, image.format) == (b"file!", "jpeg")
    assert frame.decode(image.header) == header


def test_the_oldest_frames_are_lost_in_their_place(
    directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    coder = Coder(None)
    queue, stream = MessageQueue(coder, directory, max_bytes=4 * FRAME_BYTES), Stream()
    sent = [*stream.next(), *stream.next()]
    for message in sent:
        queue.add((message, pixels(message)) if isinstance(message, FrameHeader) else message, None)
    found = taken(queue)
    assert len(found) == len(sent)
    frames = [item for item in found if isinstance(item, QueuedFrame)]
    assert [item.lost for item in frames] == ["recorder_slow"] * 16 + [None] * 4
    assert all((item.image() is None) == bool(item.lost) for item in frames)
    assert sum(isinstance(item, PairHeader) for item in found) == 2
    assert "disk or processors are too slow" in caplog.text
    coder.close()


def test_with_pace_max_the_sender_waits_and_nothing_is_lost(directory: Path) -> None:
    coder = Coder(None)
    queue = MessageQueue(coder, directory, max_bytes=2 * FRAME_BYTES)
    stream = Stream(pace="max")
    sent, found, done = stream.next(), list[object](), threading.Event()

    def send() -> None:
        for message in sent:
            queue.wait_for_room(lambda: False)
            queue.add(
                (message, pixels(message)) if isinstance(message, FrameHeader) else message, None
            )
        queue.finish(None)
        done.set()

    thread = threading.Thread(target=send)
    thread.start()
    while not queue.ended:
        found += taken(queue)
    thread.join()
    assert done.is_set()
    assert len(found) == len(sent)
    assert not any(item.lost for item in found if isinstance(item, QueuedFrame))
    coder.close()


def test_frames_in_shared_memory_are_copied_out_of_it(directory: Path) -> None:
    coder, rings = Coder(None), directory / "shm"
    queue, stream = MessageQueue(coder, rings), Stream()
    header = stream.frame("left", 0)
    writer = Shm().writer(Place("left", header.run, 5, 1.0, rings))
    writer.reserve(SHAPE)[:] = pixels(header)
    packed = writer.pack(0, "bgr8")
    shared = replace(header, payload="shm", location=packed.location)
    queue.add((shared, None), None)
    # The ring goes round before the frame is written.
    for seq in range(200):
        writer.reserve(SHAPE)[:] = 0
        writer.pack(seq, "bgr8")
    [item] = taken(queue)
    assert isinstance(item, QueuedFrame)
    image = item.image()
    assert image is not None
    assert np.array_equal(np.frombuffer(image.data, np.uint8).reshape(SHAPE), pixels(header))
    found = frame.decode(image.header)
    assert found == header, "in the file no frame is in shared memory"
    # What was overwritten before it was copied is lost, and so is what is in no ring.
    queue.add((shared, None), None)
    assert packed.location
    gone = replace(packed.location, ring=packed.location.ring.replace(".0.", ".1."))
    queue.add((replace(shared, location=gone), None), None)
    beyond = replace(packed.location, slot=10_000)
    with pytest.raises(ProtocolError):
        queue.add((replace(shared, location=beyond), None), None)
    assert [item.lost for item in taken(queue) if isinstance(item, QueuedFrame)] == [
        "recorder_slow", "unseen", "corrupt",
    ]  # fmt: skip
    writer.close()
    coder.close()


def test_a_failure_to_receive_is_raised_at_the_end(directory: Path, coder: Coder) -> None:
    queue = MessageQueue(coder, directory)
    queue.add(Stream().pair(0), None)
    queue.finish(OSError("broken"))
    assert not queue.ended
    assert len(taken(queue)) == 1
    with pytest.raises(RuntimeError, match="the thread that receives has failed"):
        _ = queue.ended


def test_the_memory_of_a_source_that_was_removed_is_unmapped(coder: Coder) -> None:
    with own_directory() as directory:
        queue, stream = MessageQueue(coder, directory), Stream(shape=(64, 64, 3))
        for header in stream.window(0):
            writer = Shm().writer(Place(header.source, header.run, 5.0, 1.0, directory))
            with contextlib.closing(writer):
                writer.reserve(header.shape)[:] = pixels(header)
                location = writer.pack(header.seq, header.encoding).location
                queue.add((replace(header, payload="shm", location=location), None), None)
        assert mapped(directory) == 4
        stream.sources = ["left"]
        queue.add(stream.pair(0), None)
        assert mapped(directory) == 2
