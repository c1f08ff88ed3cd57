"""Frames as JPEG: what comes out of an encoded picture, and what is refused."""

from __future__ import annotations

import contextlib

import cv2
import numpy as np
import pytest
from msgspec.structs import replace

from framepair.protocol.memory import jpeg, payloads
from framepair.protocol.memory.jpeg import Jpeg, JpegWriter
from framepair.protocol.memory.payload import Payload
from framepair.protocol.memory.planes import planes_of
from framepair.protocol.memory.raw import Raw
from framepair.protocol.memory.ring import Pixels, Shape
from framepair.protocol.memory.shm import Shm
from framepair.protocol.wire.frame import Encoding, decode
from framepair.protocol.wire.header import ProtocolError
from tests.lib.pictures import picture
from tests.lib.stream import Stream

SHAPES: list[Shape] = [(48, 64, 3), (48, 64, 1), (37, 53, 3), (1, 1, 3), (1, 1, 1)]
QUALITY = 95
ENCODINGS: dict[int, Encoding] = {1: "mono8", 3: "bgr8"}


def encoded(image: Pixels, quality: int = QUALITY) -> bytes:
    return jpeg.encode(image, quality, ENCODINGS[image.shape[2]])


GOOD = encoded(picture((48, 64, 3)))


def decoded(file: bytes, shape: Shape) -> Pixels:
    out = np.zeros(shape, np.uint8)
    jpeg.decode(memoryview(file), out, ENCODINGS[shape[2]])
    return out


@pytest.mark.parametrize("shape", SHAPES)
def test_a_picture_comes_out_as_it_went_in_but_for_a_little(shape: Shape) -> None:
    image = picture(shape)
    error = decoded(encoded(image), shape).astype(int) - image
    assert np.abs(error).mean() < 4


def test_another_library_sees_the_same_colours() -> None:
    image = np.zeros((16, 16, 3), np.uint8)
    image[:] = (250, 30, 5)  # blue, as OpenCV has it
    seen = cv2.imdecode(np.frombuffer(encoded(image), np.uint8), cv2.IMREAD_COLOR)
    assert seen is not None
    assert np.abs(seen.astype(int) - image).max() < 4


def test_a_lower_quality_is_smaller() -> None:
    image = picture((480, 640, 3))
    sizes = [len(encoded(image, quality)) for quality in (100, 90, 50, 1)]
    assert sizes == sorted(sizes, reverse=True)


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
        (encoded(picture((48, 64, 1))), (48, 64, 3)),
    ],
)
def test_what_is_not_the_jpeg_that_was_promised_is_refused(file: bytes, shape: Shape) -> None:
    with pytest.raises(ProtocolError, match="JPEG"):
        decoded(file, shape)


PLANES = np.random.default_rng(3).integers(90, 160, (72, 64, 1)).astype(np.uint8)
IN_PLANES = jpeg.encode(PLANES, QUALITY, "i420")


def test_planes_come_out_as_they_went_in_but_for_a_little() -> None:
    out = np.zeros(PLANES.shape, np.uint8)
    jpeg.decode(memoryview(IN_PLANES), out, "i420")
    for plane, expected in zip(planes_of(out), planes_of(PLANES), strict=True):
        assert np.abs(plane.astype(int) - expected).mean() < 4
    for level in (0, 16, 255):
        flat = np.full((72, 64, 1), level, np.uint8)
        jpeg.decode(memoryview(jpeg.encode(flat, QUALITY, "i420")), out, "i420")
        assert np.abs(out.astype(int) - flat).max() <= 1


def test_channels_in_another_order_come_out_in_that_order() -> None:
    image = np.full((16, 16, 3), (250, 30, 5), np.uint8)
    file = jpeg.encode(image, QUALITY, "rgb8")
    out = np.zeros(image.shape, np.uint8)
    jpeg.decode(memoryview(file), out, "rgb8")
    assert np.abs(out.astype(int) - image).max() < 4
    seen = cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_COLOR)
    assert seen is not None
    assert np.abs(seen[..., ::-1].astype(int) - image).max() < 4


@pytest.mark.parametrize(
    ("file", "shape"),
    [
        (IN_PLANES[: len(IN_PLANES) // 2], (72, 64, 1)),
        (IN_PLANES[: len(IN_PLANES) // 2] + b"\xff\xd9", (72, 64, 1)),
        (IN_PLANES, (144, 64, 1)),
        (IN_PLANES, (72, 32, 1)),
        (again_and_again(IN_PLANES, 1000), (72, 64, 1)),
        (encoded(picture((48, 64, 1))), (72, 64, 1)),
        (cv2.imencode(".jpg", picture((48, 64, 3)), [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, 0x111111])[1].tobytes(),
         (72, 64, 1)),
        (progressive(picture((48, 64, 3))), (72, 64, 1)),
        (b"", (72, 64, 1)),
    ],
)  # fmt: skip
def test_what_is_not_the_planes_that_were_promised_is_refused(file: bytes, shape: Shape) -> None:
    with pytest.raises(ProtocolError, match="JPEG"):
        jpeg.decode(memoryview(file), np.zeros(shape, np.uint8), "i420")


def test_random_damage_of_planes_raises_nothing_else(capfd: pytest.CaptureFixture[str]) -> None:
    random = np.random.default_rng(1)
    for _ in range(500):
        damaged = np.frombuffer(IN_PLANES, np.uint8).copy()
        places = random.integers(0, len(damaged), random.integers(1, 20))
        damaged[places] = random.integers(0, 256, len(places))
        with contextlib.suppress(ProtocolError):
            jpeg.decode(memoryview(damaged.tobytes()), np.zeros(PLANES.shape, np.uint8), "i420")
    assert capfd.readouterr() == ("", "")


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
    ("text", "payload"),
    [
        ("raw", Raw()),
        ("shm", Shm()),
        ("jpeg", Jpeg(90)),
        ("jpeg:1", Jpeg(1)),
        ("jpeg:100", Jpeg(100)),
    ],
)
def test_payloads_are_read(text: str, payload: Payload) -> None:
    assert payloads.parse(text) == payload
    assert payloads.parse(str(payload)) == payload


@pytest.mark.parametrize(
    "text", ["", "png", "jpeg:", "jpeg:0", "jpeg:101", "jpeg:-1", "jpeg:9.5", "raw:9", "shm:", ":9"]
)
def test_other_payloads_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not raw, shm, jpeg, jpeg:QUALITY or auto"):
        payloads.parse(text)


def test_a_producers_memory_is_used_again_and_its_files_stay() -> None:
    payload = JpegWriter(QUALITY)
    files = []
    for seq in range(3):
        memory = payload.reserve((48, 64, 3))
        memory[:] = picture((48, 64, 3), seq)
        files.append(payload.pack(seq, "bgr8").data)
        assert payload.reserve((48, 64, 3)) is memory
    for seq, file in enumerate(files):
        error = decoded(bytes(file), (48, 64, 3)).astype(int) - picture((48, 64, 3), seq)
        assert np.abs(error).mean() < 4


HEADER = replace(Stream().frame("left", 0), payload="jpeg", packed_bytes=1000)


def test_a_header_says_how_many_bytes_the_file_has() -> None:
    assert decode(HEADER.encode()) == HEADER
    assert HEADER.message_bytes == 1000
    for count in (None, 0, -1, 2**40, "many"):
        with pytest.raises(ProtocolError, match="packed_bytes"):
            decode(replace(HEADER, packed_bytes=count).encode())


def test_a_few_bytes_are_not_believed_to_be_a_picture_of_any_size() -> None:
    with pytest.raises(ProtocolError, match="3221225472 bytes of compressed pixels"):
        decode(replace(HEADER, shape=(32768, 32768, 3)).encode())
