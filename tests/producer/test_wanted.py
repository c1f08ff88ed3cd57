"""Sources of each kind, as they are wanted: pixels, size, rate and which of several videos."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import cast, get_args

import cv2
import numpy as np
import pytest

from framepair.nodes.producer.sources import video
from framepair.nodes.producer.sources.opening import open_source
from framepair.nodes.producer.sources.pattern import Code, read, source_crc
from framepair.nodes.producer.sources.source import Capture, Format, Image, SourceError
from framepair.nodes.producer.sources.uri import Size, Wanted
from framepair.protocol.memory.planes import planes_of
from framepair.protocol.wire.frame import Encoding
from tests.lib.captures import opened, retrieved
from tests.lib.in_bgr import as_bgr
from tests.lib.numbered import numbered, patches, read_number

CASES = Path(__file__).parent / "cases"
NAMES = sorted(path.name for path in CASES.iterdir() if path.suffix != ".json")
# Brightness beyond white, whose first picture takes swscale seconds.
SLOW = {"hdr.mp4", "no_moov.mp4"}
TURNS = {"rot90.mp4": -1}
# Shares of blue, green and red in luma.
GREY = {
    "bt601": np.array([[0.114], [0.587], [0.299]]),
    "bt709": np.array([[0.0722], [0.7152], [0.2126]]),
}
ENCODINGS: tuple[Encoding, ...] = get_args(Encoding)


def first(capture: Capture) -> tuple[Image, Format]:
    assert capture.grab()
    image = retrieved(capture)
    capture.close()
    return image, capture.format


@pytest.mark.parametrize("name", [name for name in NAMES if name not in SLOW])
def test_every_encoding_shows_the_same_picture(name: str) -> None:
    expected, _ = first(opened(CASES / name))
    for encoding in ENCODINGS:
        image, form = first(opened(CASES / name, wanted=Wanted(pixels=encoding)))
        assert form.encoding == encoding
        bgr = as_bgr(image, form)
        assert bgr.shape == expected.shape
        # In the mean of a place: planes have half the colour, which shows where a GIF dithers.
        shown, whole = (patches(np.rot90(each, TURNS.get(name, 0))) for each in (bgr, expected))
        if encoding == "mono8":
            whole = np.repeat(
                whole @ GREY[form.colour.matrix if form.colour else "bt601"], 3, axis=1
            )
        assert np.abs(shown - whole).max() < 4


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_rotated_file_is_scaled_the_right_way_up(encoding: Encoding) -> None:
    wanted = Wanted(pixels=encoding, size=(128, None))
    image, form = first(opened(CASES / "rot90.mp4", wanted=wanted))
    bgr = as_bgr(image, form)
    assert bgr.shape == (192, 128, 3)
    assert read_number(np.rot90(bgr, -1)) == 0


def test_one_of_several_videos_is_chosen() -> None:
    path = CASES / "two_streams.mkv"
    assert opened(path).format.shape == (256, 384, 3)
    assert opened(path, wanted=Wanted(stream=0)).format.shape == (128, 192, 3)
    with pytest.raises(SourceError, match=r"has no video stream 2.*: choose another --stream"):
        opened(path, wanted=Wanted(stream=2))


def test_frames_of_a_file_are_left_out_by_time_and_counted() -> None:
    capture = open_source(
        "left",
        str(CASES / "vfr_phone_left.mp4"),
        loop=False,
        open_timeout_s=1,
        read_timeout_s=1,
        wanted=Wanted(fps=2),
        stopped=lambda: False,
        lost=threading.Event(),
    )
    assert capture.format.fps == 2
    times_s, seqs = [], []
    while capture.grab():
        assert capture.position is not None
        times_s.append(capture.position.at_ns / 1e9)
        seqs.append(read_number(retrieved(capture)))
    whole = opened(CASES / "vfr_phone_left.mp4")
    assert len(times_s) + capture.skipped == sum(iter(whole.grab, False))
    assert np.abs(np.diff(times_s) - 0.5).max() < 0.1
    assert len(set(seqs)) == len(times_s)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("size", [None, (320, None), (321, 181)])
def test_a_synthetic_source_is_drawn_as_it_is_wanted(encoding: Encoding, size: Size | None) -> None:
    image, form = first(opened("synthetic://640x360", wanted=Wanted(pixels=encoding, size=size)))
    bgr = as_bgr(image, form)
    width = 640 if size is None else 320 if size[1] is None or encoding == "i420" else 321
    assert bgr.shape[1] == width
    assert read(bgr) == Code(source_crc("left"), 0, 0)
    reference, _ = first(opened(f"synthetic://{bgr.shape[1]}x{bgr.shape[0]}"))
    if encoding == "mono8":
        return
    assert np.abs(bgr.astype(int) - reference).mean() < 3


def test_the_marker_of_planes_is_white() -> None:
    capture = opened("synthetic://640x360", wanted=Wanted(pixels="i420"))
    image = capture.retrieve(np.zeros(capture.format.shape, np.uint8), 7, 500_000_000)
    bgr = as_bgr(image, capture.format)
    assert (bgr[335, 320] >= 250).all()
    assert (planes_of(image)[1][167, 160], planes_of(image)[2][167, 160]) == (128, 128)


def test_a_synthetic_picture_has_room_for_its_code() -> None:
    with pytest.raises(
        SourceError, match=r"left: a synthetic picture of 62x34 is too small .*--size"
    ):
        opened("synthetic://640x360", wanted=Wanted(size=(62, 34)))


class Camera:
    """What OpenCV hands out of a camera: one picture, again and again."""

    def __init__(self, picture: Image) -> None:
        self.picture = picture

    def grab(self) -> bool:
        return True

    def retrieve(self, out: Image | None) -> tuple[bool, Image]:
        if out is None or out.shape != self.picture.shape:
            return True, self.picture
        np.copyto(out, self.picture)
        return True, out

    def get(self, number: int) -> float:
        return 25.0 if number == cv2.CAP_PROP_FPS else 0.0

    def release(self) -> None:
        pass


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("size", [None, (192, None), (768, None)])
@pytest.mark.parametrize("grey", [False, True])
def test_a_camera_gives_what_is_wanted(
    encoding: Encoding, size: Size | None, grey: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = cast(Image, cv2.cvtColor(numbered(9), cv2.COLOR_BGR2GRAY)) if grey else numbered(9)
    monkeypatch.setattr(video, "open_camera", lambda *_: Camera(picture))
    # It is a picture of any time.
    monkeypatch.setattr(video, "MAX_BACKLOG_S", 0)
    capture = opened("/dev/video9", wanted=Wanted(pixels=encoding, size=size))
    image, form = first(capture)
    bgr = as_bgr(image, form)
    width = 384 if size is None else size[0]
    assert (form.encoding, bgr.shape[1]) == (encoding, width)
    assert read_number(bgr) == 9
    expected = patches(numbered(9))
    if grey or encoding == "mono8":
        expected = np.repeat(expected @ GREY["bt601"], 3, axis=1)
    assert np.abs(patches(bgr) - expected).max() < 6


def test_odd_sides_of_any_kind_of_source_are_cut_and_that_is_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(video, "open_camera", lambda *_: Camera(numbered(9, 383, 255)))
    monkeypatch.setattr(video, "MAX_BACKLOG_S", 0)
    for uri in ("/dev/video9", "synthetic://383x255"):
        image, form = first(opened(uri, wanted=Wanted(pixels="i420")))
        assert image.shape == form.shape == (381, 382, 1)
        (record,) = caplog.records
        assert "left: 383x255 becomes 382x254" in record.getMessage()
        caplog.clear()
