"""Frames of every kind as small files that a browser shows: their size and their colours."""

from __future__ import annotations

import numpy as np
import pytest
import simplejpeg
from msgspec.structs import replace

from framepair.nodes.monitor.drawing import draw
from framepair.nodes.producer.sources import pattern
from framepair.protocol.client.colours import in_bgr
from framepair.protocol.memory import jpeg
from framepair.protocol.memory.ring import Pixels
from framepair.protocol.wire.frame import CHANNELS, Colour, Encoding, FrameHeader
from framepair.protocol.wire.header import ProtocolError
from tests.lib.headers import FRAME

WIDTH, HEIGHT = 640, 360
VIDEO = Colour("bt709", full=False)
# What levels a picture may be off, in the mean: JPEG twice, and colour in half the resolution.
NEAR = 4.0


def frame(encoding: Encoding, *, as_jpeg: bool) -> tuple[FrameHeader, Pixels | memoryview]:
    """Return three patches of colour with a code in one corner."""
    rows = HEIGHT * 3 // 2 if encoding == "i420" else HEIGHT
    image = np.full((rows, WIDTH, CHANNELS[encoding]), 60, np.uint8)
    image[: HEIGHT // 2, WIDTH // 2 :] = 120
    image[HEIGHT // 2 : HEIGHT, : WIDTH // 2] = 200
    if encoding == "i420":
        image[HEIGHT:] = 128
        image[HEIGHT : HEIGHT * 5 // 4] = 100
    elif encoding != "mono8":
        image[..., 0] //= 2
    pattern.stamp(image[:HEIGHT], "left", 7, 123)
    header = replace(
        FRAME,
        shape=image.shape,
        encoding=encoding,
        colour=VIDEO if encoding in ("i420", "mono8") else None,
    )
    if not as_jpeg:
        return header, image
    file = jpeg.encode(image, 95, encoding)
    return replace(header, payload="jpeg", packed_bytes=len(file)), memoryview(file)


def shown(file: bytes) -> Pixels:
    """Return what a browser makes of a file: BGR, whatever is in it."""
    image: Pixels = simplejpeg.decode_jpeg(file, colorspace="BGR")
    return image


@pytest.mark.parametrize("as_jpeg", [False, True])
@pytest.mark.parametrize("encoding", ["bgr8", "rgb8", "mono8", "i420"])
def test_a_frame_of_any_kind_is_shown_in_its_own_colours(encoding: Encoding, as_jpeg: bool) -> None:
    header, pixels = frame(encoding, as_jpeg=as_jpeg)
    _, whole = frame(encoding, as_jpeg=False)
    assert isinstance(whole, np.ndarray)
    wanted = in_bgr(whole, header)
    for width in (WIDTH, WIDTH // 2):
        image = shown(draw(header, pixels, frozenset({width}))[width])
        divisor = WIDTH // width
        assert image.shape == (HEIGHT // divisor, width, 3)
        assert pattern.read(image) == pattern.Code(pattern.source_crc("left"), 7, 123)
        # Away from the code and from edges.
        for row in (120, 300):
            for column in (250, 500):
                found = image[row // divisor, column // divisor].astype(int)
                assert np.abs(found - wanted[row, column]).mean() <= NEAR


@pytest.mark.parametrize("as_jpeg", [False, True])
@pytest.mark.parametrize(("asked", "got"), [(160, 160), (200, 213), (640, 640), (1920, 640)])
def test_a_picture_is_as_wide_as_it_is_shown_or_a_little_wider_but_never_blown_up(
    asked: int, got: int, as_jpeg: bool
) -> None:
    header, pixels = frame("bgr8", as_jpeg=as_jpeg)
    image = shown(draw(header, pixels, frozenset({asked}))[asked])
    # libjpeg scales by eighths: the next that is not smaller.
    assert image.shape[1] == ({213: 240}.get(got, got) if as_jpeg else got)
    assert abs(image.shape[0] / image.shape[1] - HEIGHT / WIDTH) < 0.01


def test_widths_that_come_to_the_same_are_drawn_once() -> None:
    header, pixels = frame("bgr8", as_jpeg=False)
    files = draw(header, pixels, frozenset({640, 1280, 320}))
    assert files[640] is files[1280]
    assert files[320] is not files[640]


def test_a_file_that_is_small_enough_is_passed_on_as_it_is() -> None:
    header, pixels = frame("bgr8", as_jpeg=True)
    assert draw(header, pixels, frozenset({640}))[640] == bytes(pixels)


def test_tiny_frames_are_drawn_too() -> None:
    for encoding in ("bgr8", "mono8", "i420"):
        rows = 3 if encoding == "i420" else 2
        header = replace(FRAME, shape=(rows, 2, CHANNELS[encoding]), encoding=encoding)
        image = np.zeros(header.shape, np.uint8)
        assert shown(draw(header, image, frozenset({160}))[160]).shape == (2, 2, 3)


@pytest.mark.parametrize("damage", [b"", b"\xff\xd8\xff\xd9", b"no picture", b"\xff\xd8" * 1000])
def test_a_damaged_file_is_refused(damage: bytes) -> None:
    header, pixels = frame("bgr8", as_jpeg=True)
    for file in (damage, bytes(pixels)[:-100], bytes(pixels)[:100]):
        with pytest.raises(ProtocolError):
            draw(header, memoryview(file), frozenset({320}))
    smaller = replace(header, shape=(HEIGHT // 2, WIDTH // 2, 3))
    with pytest.raises(ProtocolError, match="a JPEG of 640x360, not 320x180"):
        draw(smaller, pixels, frozenset({160}))
