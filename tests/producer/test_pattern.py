"""The code in the pixels: read back exactly, also from a smaller or compressed copy, or not at all."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from framepair.nodes.producer.sources.pattern import Code, read, source_crc, stamp
from framepair.nodes.producer.sources.source import Format
from framepair.nodes.producer.sources.synthetic import Synthetic

Image = NDArray[np.uint8]

FULL_HD = (1080, 1920, 3)
NOW_NS = 1_764_000_000_123_456_789
WANTED = Code(source_crc("left"), 77, NOW_NS)


def stamped(shape: tuple[int, int, int]) -> Image:
    image = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
    stamp(image, "left", 77, NOW_NS)
    return image


def resized(image: Image, factor: float, interpolation: int) -> Image:
    small = cv2.resize(image, None, fx=factor, fy=factor, interpolation=interpolation)
    return small.astype(np.uint8, copy=False)


def as_jpeg(image: Image, quality: int) -> Image:
    encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    decoded = cv2.imdecode(encoded, cv2.IMREAD_UNCHANGED)
    assert decoded is not None
    return decoded.astype(np.uint8, copy=False)


@settings(deadline=None)
@given(
    height=st.integers(36, 300),
    width=st.integers(64, 400),
    channels=st.sampled_from([1, 3]),
    name=st.text("abcXYZ019_-", min_size=1, max_size=64),
    seq=st.integers(0, 2**63),
    captured_ns=st.integers(0, 2**64 - 1),
)
def test_what_is_stamped_is_read_at_any_size(
    height: int, width: int, channels: int, name: str, seq: int, captured_ns: int
) -> None:
    image = np.zeros((height, width, channels), np.uint8)
    stamp(image, name, seq, captured_ns)
    assert read(image) == Code(source_crc(name), seq % 2**32, captured_ns)


@pytest.mark.parametrize("factor", [1 / 4, 1 / 3, 0.5, 0.777, 1.0, 1.5])
@pytest.mark.parametrize("interpolation", [cv2.INTER_AREA, cv2.INTER_LINEAR, cv2.INTER_NEAREST])
def test_it_survives_resizing_and_jpeg(factor: float, interpolation: int) -> None:
    copy = resized(stamped(FULL_HD), factor, interpolation)
    assert read(copy) == WANTED
    assert read(as_jpeg(copy, 50)) == WANTED


@pytest.mark.parametrize("shape", [(480, 640, 3), (480, 640, 1), (720, 1280, 3), (2160, 3840, 3)])
def test_it_survives_a_third_of_the_size_as_jpeg(shape: tuple[int, int, int]) -> None:
    assert read(as_jpeg(resized(stamped(shape), 1 / 3, cv2.INTER_AREA), 50)) == WANTED


def test_a_picture_without_channels_is_read() -> None:
    assert read(stamped((120, 160, 1))[:, :, 0]) == WANTED


def test_only_the_upper_left_is_drawn_on() -> None:
    image = np.full(FULL_HD, 7, np.uint8)
    stamp(image, "left", 1, 2)
    rows, columns = np.nonzero((image != 7).any(axis=2))
    assert rows.max() < 1080 // 3
    assert columns.max() < 1920 // 3


def test_it_is_drawn_into_a_view_in_place() -> None:
    large = np.zeros((100, 300, 3), np.uint8)
    stamp(large[10:90, 20:200], "left", 77, NOW_NS)
    assert read(large[10:90, 20:200]) == WANTED


@pytest.mark.parametrize("value", [0, 16, 128, 240, 255])
def test_a_plain_picture_says_nothing(value: int) -> None:
    assert read(np.full((90, 160, 3), value, np.uint8)) is None


@settings(deadline=None)
@given(row=st.integers(0, 8), column=st.integers(0, 15))
def test_a_square_that_flipped_is_noticed(row: int, column: int) -> None:
    image = stamped((360, 640, 3))
    square = image[10 + 10 * row : 20 + 10 * row, 10 + 10 * column : 20 + 10 * column]
    square[:] = 255 - square
    assert read(image) is None


def test_half_of_one_picture_and_half_of_another_is_noticed() -> None:
    torn = stamped(FULL_HD)
    other = stamped(FULL_HD)
    stamp(other, "left", 78, NOW_NS + 40_000_000)
    torn[160:] = other[160:]
    assert read(torn) is None


@pytest.mark.parametrize("shape", [(35, 64, 3), (36, 63, 3), (1, 1, 1)])
def test_too_small_a_picture_holds_nothing(shape: tuple[int, int, int]) -> None:
    image = np.zeros(shape, np.uint8)
    assert read(image) is None
    with pytest.raises(ValueError, match="64x36 at least"):
        stamp(image, "left", 0, 0)


@pytest.mark.parametrize("shape", [FULL_HD, (480, 640, 1), (36, 64, 3)])
def test_a_synthetic_picture_can_be_read(shape: tuple[int, int, int]) -> None:
    source = Synthetic("left", Format(shape))
    out = np.empty(shape, np.uint8)
    assert source.grab()
    assert source.retrieve(out, 77, NOW_NS) is out
    assert read(out) == WANTED


def test_synthetic_sources_look_different_and_move() -> None:
    shape = (180, 320, 3)
    left, right = Synthetic("left", Format(shape)), Synthetic("right", Format(shape))
    first = left.retrieve(np.empty(shape, np.uint8), 0, 0)
    later = left.retrieve(np.empty(shape, np.uint8), 0, 500_000_000)
    other = right.retrieve(np.empty(shape, np.uint8), 0, 0)
    below = slice(90, None)
    assert (first[below] != later[below]).any()
    difference = first[90:150].mean(axis=(0, 1)) - other[90:150].mean(axis=(0, 1))
    assert np.abs(difference).max() > 30


def test_a_synthetic_source_ends_after_its_frames_unless_looped() -> None:
    source = Synthetic("left", Format((36, 64, 1), total=2))
    assert [source.grab() for _ in range(4)] == [True, True, False, False]
    endless = Synthetic("left", Format((36, 64, 1), total=2), loop=True)
    assert all(endless.grab() for _ in range(5))
    assert endless.format.total == 0
