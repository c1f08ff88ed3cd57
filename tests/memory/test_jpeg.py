"""Frames as JPEG: from a producer's memory to a consumer's array, and whatever else claims to be one."""

from __future__ import annotations

import itertools
import threading

import cv2
import numpy as np
import pytest
from msgspec.structs import replace

from framepair import subscribe
from framepair.nodes.sink.ledger import Ledger
from framepair.protocol.client.assembly import Assembly
from framepair.protocol.client.clip import Pair
from framepair.protocol.client.pair_queue import FRAMES_PER_THREAD, Decoders
from framepair.protocol.memory import jpeg
from framepair.protocol.memory.payload import Jpeg
from framepair.protocol.memory.payload_spec import Spec
from framepair.protocol.memory.ring import Pixels, Shape
from framepair.protocol.wire import published
from framepair.protocol.wire.frame import FrameHeader, decode
from framepair.protocol.wire.header import ProtocolError
from tests.client.test_subscriber import Combiner, address, combiner, combiner_at
from tests.lib.pipeline import Pipeline, checked
from tests.lib.processes import PATIENCE_S, ROOT, Running, python
from tests.lib.stream import Stream

__all__ = ["address", "combiner", "combiner_at"]  # fixtures
SHAPES: list[Shape] = [(48, 64, 3), (48, 64, 1), (37, 53, 3), (1, 1, 3), (1, 1, 1)]
QUALITY = 95


def picture(shape: Shape, seed: int = 0) -> Pixels:
    """Return a smooth picture, as those of cameras are."""
    height, width, channels = shape
    small = np.random.default_rng(seed).integers(0, 256, (4, 6, channels), np.uint8)
    return np.asarray(cv2.resize(small, (width, height)), np.uint8).reshape(shape)


def decoded(file: bytes, shape: Shape) -> Pixels:
    out = np.zeros(shape, np.uint8)
    jpeg.decode(memoryview(file), out)
    return out


@pytest.mark.parametrize("shape", SHAPES)
def test_a_picture_comes_out_as_it_went_in_but_for_a_little(shape: Shape) -> None:
    image = picture(shape)
    error = decoded(jpeg.encode(image, QUALITY), shape).astype(int) - image
    assert np.abs(error).mean() < 4


def test_another_library_sees_the_same_colours() -> None:
    image = np.zeros((16, 16, 3), np.uint8)
    image[:] = (250, 30, 5)  # blue, as OpenCV has it
    seen = cv2.imdecode(np.frombuffer(jpeg.encode(image, QUALITY), np.uint8), cv2.IMREAD_COLOR)
    assert seen is not None
    assert np.abs(seen.astype(int) - image).max() < 4


def test_a_lower_quality_is_smaller() -> None:
    image = picture((480, 640, 3))
    sizes = [len(jpeg.encode(image, quality)) for quality in (100, 90, 50, 1)]
    assert sizes == sorted(sizes, reverse=True)


GOOD = jpeg.encode(picture((48, 64, 3)), QUALITY)


def progressive(image: Pixels) -> bytes:
    """Return a JPEG in several scans."""
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()


def again_and_again(file: bytes, times: int) -> bytes:
    """Return a JPEG that says the same over and over, each time as long to decode."""
    scan = file.index(b"\xff\xda")
    return file[:scan] + file[scan:-2] * times + file[-2:]


@pytest.mark.parametrize(
    ("file", "shape"),
    [
        (b"", (48, 64, 3)),
        (b"GET / HTTP/1.1\r\n\r\n", (48, 64, 3)),
        (GOOD[:2], (48, 64, 3)),
        (GOOD[: len(GOOD) // 2], (48, 64, 3)),
        (GOOD[:-2], (48, 64, 3)),
        (GOOD, (64, 48, 3)),
        (GOOD + b"more", (48, 64, 3)),
        (GOOD[:3], (48, 64, 3)),
        (b"\xff\xd8\xff", (48, 64, 3)),
        (again_and_again(GOOD, 1000), (48, 64, 3)),
        (progressive(picture((48, 64, 3))), (48, 64, 3)),
        (GOOD, (480, 640, 3)),
        (GOOD, (48, 64, 1)),
        (jpeg.encode(picture((48, 64, 1)), QUALITY), (48, 64, 3)),
    ],
)
def test_what_is_not_the_jpeg_that_was_promised_is_refused(file: bytes, shape: Shape) -> None:
    with pytest.raises(ProtocolError, match="JPEG"):
        decoded(file, shape)


def test_random_damage_raises_nothing_else() -> None:
    random = np.random.default_rng(1)
    for _ in range(2000):
        damaged = np.frombuffer(GOOD, np.uint8).copy()
        places = random.integers(0, len(damaged), random.integers(1, 20))
        damaged[places] = random.integers(0, 256, len(places))
        try:
            decoded(damaged.tobytes(), (48, 64, 3))
        except ProtocolError:
            continue


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("raw", Spec("raw")),
        ("shm", Spec("shm")),
        ("jpeg", Spec("jpeg", 90)),
        ("jpeg:1", Spec("jpeg", 1)),
        ("jpeg:100", Spec("jpeg", 100)),
    ],
)
def test_payloads_are_read(text: str, spec: Spec) -> None:
    assert Spec.parse(text) == spec
    assert Spec.parse(str(spec)) == spec


@pytest.mark.parametrize(
    "text", ["", "png", "jpeg:", "jpeg:0", "jpeg:101", "jpeg:-1", "jpeg:9.5", "raw:9", "shm:", ":9"]
)
def test_other_payloads_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not raw, shm, jpeg or jpeg:QUALITY"):
        Spec.parse(text)


def test_a_producers_memory_is_used_again_and_its_files_stay() -> None:
    payload = Jpeg(QUALITY)
    files = []
    for seq in range(3):
        memory = payload.reserve((48, 64, 3))
        memory[:] = picture((48, 64, 3), seq)
        files.append(payload.pack(seq).data)
        assert payload.reserve((48, 64, 3)) is memory
    for seq, file in enumerate(files):
        error = decoded(bytes(file), (48, 64, 3)).astype(int) - picture((48, 64, 3), seq)
        assert np.abs(error).mean() < 4


HEADER = replace(Stream().frame("left", 0), payload="jpeg", jpeg_bytes=1000)


def test_a_header_says_how_many_bytes_the_file_has() -> None:
    assert decode(HEADER.encode()) == HEADER
    assert HEADER.message_bytes == 1000
    for count in (None, 0, -1, 2**40, "many"):
        with pytest.raises(ProtocolError, match="jpeg_bytes"):
            decode(replace(HEADER, jpeg_bytes=count).encode())


def test_a_few_bytes_are_not_believed_to_be_a_picture_of_any_size() -> None:
    with pytest.raises(ProtocolError, match="a JPEG of 3221225472 bytes"):
        decode(replace(HEADER, shape=(32768, 32768, 3)).encode())


@pytest.mark.parametrize("transport", ["ipc", "tcp"])
def test_a_pipeline_of_which_one_source_is_compressed(transport: str) -> None:
    with Pipeline(["left", "right"], transport) as nodes, subscribe(nodes.pub, keep=100) as pairs:
        nodes.combiner()
        nodes.producer("left", "synthetic://320x240@25", "--payload", "jpeg")
        nodes.producer("right", "synthetic://320x240@25", "--payload", "raw")
        taken = list(itertools.islice(checked(pairs), 5))
        assert all(pair.complete for pair in taken)
        for pair in taken:
            assert {frame.payload for frame in pair["left"].frames} == {"jpeg"}
            assert {frame.payload for frame in pair["right"].frames} == {"raw"}
            # Decoded in place: a view of the subscriber's memory, no copy.
            assert not pair["left"].array.flags.owndata
            assert pair["left"].array.shape == (5, 240, 320, 3)
        assert pairs.stats().rejected == 0


def test_the_launcher_compresses_the_sources_that_it_is_told_to() -> None:
    sources = ("left=synthetic://160x120@25", "right=synthetic://160x120@25")
    with Pipeline([]) as nodes:
        command = python(ROOT / "launch.py", "--run-dir", f"{nodes.run_dir}/run", *sources)
        with Running([*command, "--payload", "right=jpeg:70", "--duration", "2"]) as running:
            with subscribe(f"ipc://{nodes.run_dir}/run/pairs") as pairs:
                pair = next(pairs)
                assert {c.source: c.frames[0].payload for c in pair.values()} == {
                    "left": "raw", "right": "jpeg",
                }  # fmt: skip
            assert running.wait() == 0
        with Running([*command, "--payload", "jpeg:0"]) as running:
            assert running.wait() == 2
            assert "jpeg:QUALITY" in running.stderr[0]


def send(node: Combiner, header: FrameHeader, file: bytes) -> None:
    header = replace(header, payload="jpeg", jpeg_bytes=len(file))
    node.send_raw(published.frame_topic(header.source), header.encode(), file)


def test_a_damaged_file_costs_one_frame(combiner: Combiner, address: str) -> None:
    stream = Stream(["left", "right"], fps=4, shape=(48, 64, 3))
    with subscribe(address, keep=10) as pairs:
        combiner.wait_for_subscriber()
        for window in range(4):
            for header in stream.window(window):
                damaged = (header.source, header.seq) == ("left", 5)
                send(combiner, header, GOOD[:-30] if damaged else GOOD)
            combiner.send(stream.pair(window))
        combiner.send(stream.end())
        found: list[Pair] = list(pairs)
        assert [pair.index for pair in found] == [0, 1, 2, 3]
        assert [pair.complete for pair in found] == [True, False, True, True]
        assert found[1]["left"].seq.tolist() == [4, 6, 7]
        assert found[1]["left"].gaps == 1
        assert [(span.first, span.count) for span in found[1]["left"].header.spans] == [
            (4, 1),
            (6, 2),
        ]
        assert found[1]["left"].images[1].shape == (48, 64, 3)
        assert found[1]["right"].seq.tolist() == [4, 5, 6, 7]
        stats = pairs.stats()
        assert (stats.rejected, stats.lost_pairs) == (1, 0)
        assert stats.damaged_frames == {"left": 1}
        accounts = Ledger().accounts(stats)
        delivered = sum(len(pair["left"]) for pair in found)
        assert accounts["left"].captured == delivered + accounts["left"].dropped["corrupt"]
    assert not [t for t in threading.enumerate() if t.name.startswith("framepair-decoder")]


def test_a_slot_is_not_used_again_while_somebody_still_decodes_into_it() -> None:
    stream = Stream(["left"], fps=1)
    assembly = Assembly(keep=1, max_bytes=10**9)
    slow = stream.frame("left", 0)
    filling = assembly.reserve(slow)
    # Its pair is announced without it, which is the end of its window.
    assembly.announce(stream.pair(0), ready_ns=0)
    for window in range(1, 20):
        header = stream.frame("left", window)
        other = assembly.reserve(header)
        assert not np.shares_memory(other.image, filling.image)
        assembly.commit(header, other, ready_ns=0)
        assembly.announce(stream.pair(window), ready_ns=0)
    assembly.commit(slow, filling, ready_ns=0)
    # Now it is.
    reused = False
    for window in range(20, 40):
        header = stream.frame("left", window)
        other = assembly.reserve(header)
        reused = reused or np.shares_memory(other.image, filling.image)
        assembly.commit(header, other, ready_ns=0)
        assembly.announce(stream.pair(window), ready_ns=0)
    assert reused


def test_a_few_tasks_at_a_time_are_under_way() -> None:
    decoders, gate, done = Decoders(), threading.Event(), []
    most = decoders._threads * FRAMES_PER_THREAD

    def task() -> None:
        assert gate.wait(PATIENCE_S)
        done.append(1)

    for _ in range(most):
        decoders.submit(task)
    more = threading.Thread(target=decoders.submit, args=(task,))
    more.start()
    assert not done
    assert more.is_alive()
    gate.set()
    more.join(PATIENCE_S)
    decoders.drain()
    assert len(done) == most + 1
    decoders.close()


def test_what_a_task_raises_reaches_who_waits_for_it() -> None:
    decoders = Decoders()
    decoders.submit(lambda: 1 // 0)  # type: ignore[arg-type]
    with pytest.raises(ZeroDivisionError):
        decoders.drain()
    decoders.close()
