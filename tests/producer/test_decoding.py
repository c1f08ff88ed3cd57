"""What OpenCV hands out, be it absurd, late or missing: with videos made up for the purpose."""

from __future__ import annotations

from typing import cast

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from framepair.nodes.producer.sources import opencv
from framepair.nodes.producer.sources.camera_pictures import CameraPictures
from framepair.nodes.producer.sources.source import CaptureLost, Format
from framepair.nodes.producer.sources.uri import AS_IT_IS
from tests.lib.captures import opened

Image = NDArray[np.uint8]


class FakeVideo:
    """A video with one frame over and over again, or with one that can't be decoded.

    No subclass of cv2.VideoCapture: Python's garbage collector crashes on those.
    """

    def __init__(self, pixels: Image | None, properties: dict[int, float]) -> None:
        self._pixels, self._properties = pixels, properties

    def grab(self) -> bool:
        return True

    def retrieve(self, out: Image | None) -> tuple[bool, Image]:
        if self._pixels is None:
            raise cv2.error("imdecode failed")
        return True, self._pixels

    def get(self, number: int) -> float:
        return self._properties.get(number, 0.0)


def fake_video(
    pixels: Image | None, properties: dict[int, float] | None = None
) -> cv2.VideoCapture:
    return cast(cv2.VideoCapture, FakeVideo(pixels, properties or {}))


class SlowVideo(FakeVideo):
    """A video whose frames take a time of their own to come; it is its own clock."""

    def __init__(self, waits_s: list[float]) -> None:
        super().__init__(np.zeros((4, 4, 3), np.uint8), {cv2.CAP_PROP_FPS: 25.0})
        self.now_s, self.waits_s = 0.0, waits_s

    def monotonic(self) -> float:
        return self.now_s

    def monotonic_ns(self) -> int:
        return round(self.monotonic() * 1e9)

    def grab(self) -> bool:
        if not self.waits_s:
            return False
        self.now_s += self.waits_s.pop(0)
        return True


@pytest.mark.parametrize("fps", [0.0, -1.0, 90000.0, float("nan"), float("inf")])
def test_an_absurd_rate_is_replaced(fps: float, caplog: pytest.LogCaptureFixture) -> None:
    video = fake_video(np.zeros((4, 4, 3), np.uint8), {cv2.CAP_PROP_FPS: fps})
    assert opencv.first_format("left", video, CameraPictures("left", AS_IT_IS)).fps == 25.0
    assert "using 25" in caplog.text


def test_a_grey_camera_is_mono8() -> None:
    video = fake_video(np.zeros((4, 6), np.uint8), {cv2.CAP_PROP_FPS: 30.0})
    assert opencv.first_format("left", video, CameraPictures("left", AS_IT_IS)) == Format(
        (4, 6, 1), "mono8", 30.0, live=True
    )


@pytest.mark.parametrize(
    "pixels", [None, np.zeros((4, 6, 2), np.uint8), np.zeros((4, 6), np.uint16)]
)
def test_what_is_no_picture_is_lost(pixels: Image | None) -> None:
    assert opencv.decode(fake_video(pixels)) is None


@pytest.mark.parametrize(
    ("waits_s", "left_out"),
    [
        ([0.2, 0.001, 0.001, 0.001, 0.035, 0.001, 0.04], 3),
        ([0.2, 0.035, 0.001, 0.04], 0),
        # Without end: a source that is faster than its rate says is not searched for ever.
        ([0.002] * 1000, 499),
    ],
)
def test_frames_that_piled_up_before_the_first_grab_are_left_out(
    waits_s: list[float], left_out: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    video = SlowVideo(list(waits_s))
    monkeypatch.setattr("framepair.nodes.producer.sources.video.open_camera", lambda *_: video)
    monkeypatch.setattr("framepair.nodes.producer.sources.video.time", video)
    capture = opened("/dev/video9")
    for later in range(2):
        assert capture.grab()
        assert video.waits_s == waits_s[left_out + 2 + later :]


def test_a_stream_that_breaks_off_while_the_pile_is_left_out_is_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        "framepair.nodes.producer.sources.video.open_camera", lambda *_: SlowVideo([0.2, 0.001])
    )
    with pytest.raises(CaptureLost, match="has broken off"):
        opened("/dev/video9").grab()
