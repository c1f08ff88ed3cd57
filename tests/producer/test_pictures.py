"""Pictures as they are wanted: levels, colours and size as the frame says, in any pixel format."""

from __future__ import annotations

import av
import numpy as np
import pytest
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from framepair.nodes.producer.sources.fitting import fitted
from framepair.nodes.producer.sources.pictures import Pictures
from framepair.nodes.producer.sources.source import Format
from framepair.nodes.producer.sources.uri import Size, Wanted
from framepair.protocol.memory.planes import planes_of
from framepair.protocol.wire.frame import Colour, Encoding, Matrix
from tests.lib.in_bgr import as_bgr
from tests.lib.numbered import numbered, read_number

Image = NDArray[np.uint8]

BLUE, GREEN, RED = 40.0, 180.0, 90.0
# Shares of red and blue in luma, and FFmpeg's numbers: of the matrix, and of the range.
MATRICES: dict[Matrix, tuple[float, float]] = {
    "bt601": (0.299, 0.114),
    "bt709": (0.2126, 0.0722),
    "bt2020": (0.2627, 0.0593),
}
NUMBERS: dict[Matrix, int] = {"bt601": 5, "bt709": 1, "bt2020": 9}
UNKNOWN, LIMITED, FULL = 0, 1, 2


def levels(matrix: Matrix, full: bool, bits: int = 8) -> list[int]:
    """Return luma, blue and red difference of the colour, by the textbook: nothing of FFmpeg's takes part."""
    of_red, of_blue = MATRICES[matrix]
    luma = of_red * RED + (1 - of_red - of_blue) * GREEN + of_blue * BLUE
    chroma = (BLUE - luma) / (2 - 2 * of_blue), (RED - luma) / (2 - 2 * of_red)
    if full:
        found, most = [luma, *(128 + each for each in chroma)], (1 << bits) - 1
        return [round(level * most / 255) for level in found]
    found = [16 + luma * 219 / 255, *(128 + each * 224 / 255 for each in chroma)]
    return [round(level * (1 << bits - 8)) for level in found]


def flat(pixels: str, values: list[int], size: tuple[int, int] = (64, 48)) -> VideoFrame:
    """Return a frame whose planes hold ``values``, or all of them in turn if there is but one plane."""
    frame = VideoFrame(*size, pixels)
    kind = np.uint16 if frame.format.components[0].bits > 8 else np.uint8
    for plane, own in zip(
        frame.planes, values if len(frame.planes) > 1 else [values], strict=False
    ):
        written = np.frombuffer(memoryview(plane), kind)
        written[:] = np.resize(np.array(own, kind), written.size)
    return frame


def of_planes(matrix: Matrix, full: bool, pixels: str = "yuv420p") -> VideoFrame:
    bits = VideoFrame(2, 2, pixels).format.components[0].bits
    frame = flat(pixels, levels(matrix, full, bits))
    frame.colorspace = NUMBERS[matrix]
    frame.color_range = FULL if full else LIMITED
    return frame


def made(frame: VideoFrame, wanted: Wanted) -> tuple[Image, Format]:
    pictures = Pictures("left", wanted)
    known = pictures.format(frame, Format((0, 0, 0)))
    out = np.zeros(known.shape, np.uint8)
    image, found = pictures.retrieve(frame, out, known)
    assert image is out
    assert found == known
    return image, found


def assert_colour(
    image: Image, colour: tuple[float, ...] = (BLUE, GREEN, RED), by: int = 3
) -> None:
    assert np.abs(image.reshape(-1, 3).astype(float) - colour).max() <= by


PLANAR = ["yuv420p", "yuv422p", "yuv444p", "yuv420p10le", "yuv422p10le", "yuv444p12le"]


@pytest.mark.parametrize("pixels", PLANAR)
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("matrix", MATRICES)
def test_each_encoding_has_the_colours_of_the_video(
    matrix: Matrix, full: bool, pixels: str
) -> None:
    frame = of_planes(matrix, full, pixels)
    assert_colour(made(frame, Wanted(pixels="bgr8"))[0])
    assert_colour(made(frame, Wanted(pixels="rgb8"))[0], (RED, GREEN, BLUE))
    expected = levels(matrix, full)
    luma, form = made(frame, Wanted(pixels="mono8"))
    assert (form.encoding, form.colour) == ("mono8", Colour(matrix, full=full))
    assert np.abs(luma.astype(int) - expected[0]).max() <= 1
    planes, form = made(frame, Wanted(pixels="i420"))
    assert (form.encoding, form.colour) == ("i420", Colour(matrix, full=full))
    assert form.shape == (72, 64, 1)
    for plane, level in zip(planes_of(planes), expected, strict=True):
        assert np.abs(plane.astype(int) - level).max() <= 1
    assert_colour(as_bgr(planes, form))


def test_planes_are_those_that_were_decoded_to_the_last_bit() -> None:
    frame = of_planes("bt709", full=False)
    random = np.random.default_rng(1)
    for plane in frame.planes:
        written = np.frombuffer(memoryview(plane), np.uint8)
        written[:] = random.integers(0, 256, written.size)
    planes, form = made(frame, Wanted(pixels="i420"))
    assert (planes[..., 0] == frame.to_ndarray()).all()
    assert (made(frame, Wanted(pixels="mono8"))[0][..., 0] == frame.to_ndarray()[:48]).all()
    assert (as_bgr(planes, form) == made(frame, Wanted())[0]).all()


@pytest.mark.parametrize(
    ("pixels", "values"),
    [
        ("bgr24", [40, 180, 90]),
        ("bgra", [40, 180, 90, 255]),
        ("rgb24", [90, 180, 40]),
        ("gbrp", [180, 40, 90]),
        ("rgb48le", [90 * 257, 180 * 257, 40 * 257]),
    ],
)
def test_pictures_in_rgb_become_planes_in_full_range(pixels: str, values: list[int]) -> None:
    frame = flat(pixels, values)
    assert_colour(made(frame, Wanted())[0])
    planes, form = made(frame, Wanted(pixels="i420"))
    assert form.colour == Colour("bt601", full=True)
    assert_colour(as_bgr(planes, form))
    luma = made(frame, Wanted(pixels="mono8"))[0]
    assert np.abs(luma.astype(int) - levels("bt601", full=True)[0]).max() <= 1


@pytest.mark.parametrize(("pixels", "value"), [("gray", 100), ("gray16le", 100 * 257)])
@pytest.mark.parametrize("marked", [UNKNOWN, LIMITED, FULL])
def test_grey_stays_as_it_is(pixels: str, value: int, marked: int) -> None:
    frame = flat(pixels, [value])
    frame.color_range = marked
    encodings: list[Encoding] = ["bgr8", "rgb8", "mono8", "i420"]
    for encoding in encodings:
        image, form = made(frame, Wanted(pixels=encoding))
        assert_colour(as_bgr(image, form), (100, 100, 100), by=1)


def test_a_range_is_known_by_the_name_of_the_pixels_too() -> None:
    assert made(flat("yuvj420p", [100, 128, 128]), Wanted(pixels="i420"))[1].colour == Colour(
        "bt601", full=True
    )


def test_what_names_no_matrix_is_bt601_as_it_is_shown_in_bgr() -> None:
    frame = flat("yuv420p", levels("bt601", full=False))
    planes, form = made(frame, Wanted(pixels="i420"))
    assert form.colour == Colour("bt601", full=False)
    assert_colour(as_bgr(planes, form))
    assert_colour(made(frame, Wanted())[0])


@pytest.mark.parametrize("encoding", ["bgr8", "rgb8", "mono8", "i420"])
@pytest.mark.parametrize(
    "size", [None, (192, 128), (192, None), (None, 128), (768, 512), (191, 127)]
)
@pytest.mark.parametrize("full", [False, True])
def test_a_size_changes_no_colour(encoding: Encoding, size: Size | None, full: bool) -> None:
    frame = VideoFrame.from_ndarray(numbered(5), format="bgr24").reformat(
        format="yuv420p", dst_colorspace=1, dst_color_range=FULL if full else LIMITED
    )
    image, form = made(frame, Wanted(pixels=encoding, size=size))
    bgr = as_bgr(image, form)
    width, height = fitted((384, 256), size)
    even = (width & ~1, height & ~1) if encoding == "i420" else (width, height)
    assert bgr.shape == (even[1], even[0], 3)
    assert read_number(bgr) == 5
    large = av.VideoFrame.from_ndarray(np.ascontiguousarray(bgr), format="bgr24").reformat(384, 256)
    whole = large.to_ndarray().astype(int)
    expected = numbered(5).astype(int)
    if encoding == "mono8":
        shares = np.array([MATRICES["bt709"][1], 0.7152, MATRICES["bt709"][0]])
        expected = np.repeat((expected @ shares)[..., np.newaxis], 3, axis=2)
    assert np.abs(whole - expected).mean() < 6


def test_odd_sides_are_cut_and_that_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    frame = flat("yuv420p", levels("bt709", full=False), size=(383, 255))
    pictures = Pictures("left", Wanted(pixels="i420"))
    for _ in range(3):
        form = pictures.format(frame, Format((0, 0, 0)))
        assert form.shape == (381, 382, 1)
        image, _ = pictures.retrieve(frame, np.zeros(form.shape, np.uint8), form)
        assert planes_of(image)[0].shape == (254, 382)
        for plane, level in zip(planes_of(image), levels("bt709", full=False), strict=True):
            assert (plane == level).all()
    (record,) = caplog.records
    assert "left: 383x255 becomes 382x254" in record.getMessage()
    assert made(frame, Wanted(pixels="mono8"))[1].shape == (255, 383, 1)


@pytest.mark.parametrize("encoding", ["bgr8", "rgb8", "mono8", "i420"])
def test_rows_may_have_gaps(encoding: Encoding) -> None:
    frame = of_planes("bt709", full=False)
    expected, form = made(frame, Wanted(pixels=encoding))
    wide = np.zeros((form.shape[0], form.shape[1] + 20, form.shape[2]), np.uint8)
    out = wide[:, 10:-10]
    image, _ = Pictures("left", Wanted(pixels=encoding)).retrieve(frame, out, form)
    assert image is out
    assert (out == expected).all()
    assert not wide[:, :10].any()
    assert not wide[:, -10:].any()


def test_another_size_or_matrix_in_the_middle_is_another_format() -> None:
    pictures = Pictures("left", Wanted(pixels="i420"))
    frame = of_planes("bt709", full=False)
    form = pictures.format(frame, Format((0, 0, 0)))
    assert pictures.format(frame, form) is form
    _, other = pictures.retrieve(
        of_planes("bt601", full=True), np.zeros((72, 64, 1), np.uint8), form
    )
    assert other.colour == Colour("bt601", full=True)
    large = flat("yuv420p", [100, 128, 128], size=(128, 96))
    out = np.zeros(form.shape, np.uint8)
    image, other = pictures.retrieve(large, out, form)
    assert image is not out
    assert image.shape == other.shape == (144, 128, 1)


@pytest.mark.parametrize(
    ("sides", "size", "expected"),
    [
        ((1920, 1080), (640, None), (640, 360)),
        ((1920, 1080), (None, 360), (640, 360)),
        ((1920, 1080), (100, 100), (100, 100)),
        ((383, 255), (200, None), (200, 133)),
        ((4000, 10), (100, None), (100, 1)),
        ((10, 4000), (1000, None), (1000, 32768)),
        ((1920, 1080), None, (1920, 1080)),
    ],
)
def test_one_side_gives_the_other(
    sides: tuple[int, int], size: Size | None, expected: tuple[int, int]
) -> None:
    assert fitted(sides, size) == expected
