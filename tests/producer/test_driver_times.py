"""Times of cameras by their driver, with captures that are made up: no camera is at hand."""

from __future__ import annotations

import time
from collections.abc import Callable

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from framepair.nodes.producer.sources import video
from framepair.nodes.producer.sources.driver_times import DriverTimes
from framepair.nodes.producer.sources.source import SourceError
from framepair.nodes.producer.sources.uri import Opening, SourceUri, Wanted
from framepair.nodes.producer.sources.video import LiveVideo
from framepair.protocol.clocks import clock
from framepair.protocol.wire.frame import StampGrade

MS = 1_000_000
CAMERA = SourceUri("camera", "/dev/video0", live=True)


class MadeUp:
    """An OpenCV capture of 25 fps whose buffers are ``age_ms`` old when they are grabbed, or have no time."""

    def __init__(self, age_ms: float | None) -> None:
        self.age_ms = age_ms

    def grab(self) -> bool:
        return True

    def retrieve(self, _out: object = None) -> tuple[bool, NDArray[np.uint8]]:
        return True, np.zeros((4, 6, 3), np.uint8)

    def get(self, what: int) -> float:
        if what == cv2.CAP_PROP_FPS:
            return 25.0
        assert what == cv2.CAP_PROP_POS_MSEC
        return 0.0 if self.age_ms is None else time.monotonic_ns() / MS - self.age_ms

    def release(self) -> None:
        pass


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Callable[..., LiveVideo]:
    def opened(capture: MadeUp, stamp: StampGrade | None = None) -> LiveVideo:
        monkeypatch.setattr(video, "open_camera", lambda *_: capture)
        monkeypatch.setattr(video, "MAX_BACKLOG_S", 0.0)
        return LiveVideo("left", CAMERA, Opening(False, 1.0, 1.0, wanted=Wanted(stamp=stamp)))

    return opened


def test_a_frame_bears_the_time_of_its_buffer(opened: Callable[..., LiveVideo]) -> None:
    camera = opened(MadeUp(30))
    before_ns = clock.now_ns()
    assert camera.grab()
    after_ns = clock.now_ns()
    position = camera.position
    assert position is not None
    assert position.grade == "driver"
    assert before_ns - 30.1 * MS <= position.at_ns <= after_ns - 29.9 * MS
    assert position.uncertainty_ns == 40 * MS


@pytest.mark.parametrize("age_ms", [None, 1500, -200, 1e12])
def test_a_time_that_can_be_none_is_not_used(
    opened: Callable[..., LiveVideo], age_ms: float | None
) -> None:
    camera = opened(MadeUp(age_ms))
    assert camera.grab()
    assert camera.position is None
    with pytest.raises(SourceError, match=r"source left: --stamp driver: .* says no time"):
        opened(MadeUp(age_ms), "driver")


def test_the_user_may_decide(opened: Callable[..., LiveVideo]) -> None:
    assert opened(MadeUp(30), "arrival").position is None
    assert opened(MadeUp(30), "driver").position is not None


def test_one_wrong_time_ends_the_trust() -> None:
    times = DriverTimes()
    assert times.time_ns(9_980, 10_000 * MS, 70_000 * MS) == 69_980 * MS
    assert times.time_ns(0, 10_040 * MS, 70_040 * MS) is None
    assert times.time_ns(10_060, 10_080 * MS, 70_080 * MS) is None
