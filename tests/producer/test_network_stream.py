"""Network streams as captures: the time that their frames bear, by their pixels, whatever the network does."""

from __future__ import annotations

import itertools
import math
import time

import numpy as np
import pytest

from framepair.nodes.producer.sources import camera_clock, pattern
from framepair.nodes.producer.sources.source import Capture, CaptureLost, FrameLost, SourceError
from framepair.nodes.producer.sources.uri import Wanted
from framepair.protocol.clocks import clock
from tests.lib.busy import allowed
from tests.lib.captures import opened
from tests.lib.rtsp_camera import Auth, Faults, RtspCamera
from tests.lib.units import MS

# Least delay of a frame from being drawn until it has come, by software encoding on a busy machine.
MAX_DELAY_MS = 60


def errors_ms(capture: Capture, count: int) -> list[float]:
    """Return how late each frame's stamp is, by its pixels, and check that it is within what is said."""
    found = []
    for _ in range(count):
        assert capture.grab()
        position = capture.position
        assert position is not None
        assert position.grade == "media"
        mark = pattern.read(capture.retrieve(np.empty(capture.format.shape, np.uint8), 0, 0))
        assert mark is not None
        found.append((position.at_ns - mark.captured_ns) / MS)
    return found


def seen_ms(capture: Capture) -> tuple[str, float, float]:
    """Return of the next frame how it is stamped, how late by its pixels, and how wrong that may be."""
    assert capture.grab()
    position = capture.position
    assert position is not None
    mark = pattern.read(capture.retrieve(np.empty(capture.format.shape, np.uint8), 0, 0))
    assert mark is not None
    said_ms = math.inf if position.uncertainty_ns is None else position.uncertainty_ns / MS
    return position.grade, (position.at_ns - mark.captured_ns) / MS, said_ms


def watched(camera: RtspCamera, count: int) -> list[float]:
    capture = opened(camera.url, timeout_s=10)
    try:
        return errors_ms(capture, count)
    finally:
        capture.close()


@pytest.mark.parametrize("fps", [25, pytest.param(5, marks=pytest.mark.slow)])
def test_stamps_are_as_far_apart_as_the_frames(fps: float) -> None:
    with RtspCamera(fps, faults=Faults(reports="none")) as camera:
        later = watched(camera, 100 if fps > 20 else 75)[60:]
    assert max(later) - min(later) <= 5
    # Not the period by which FFmpeg's parser holds frames back.
    assert 0 <= min(later) <= MAX_DELAY_MS


@pytest.mark.slow
def test_jitter_does_not_show() -> None:
    with RtspCamera(25, faults=Faults(reports="none", jitter_s=0.1)) as camera:
        later = watched(camera, 200)[60:]
    assert max(later) - min(later) <= 20
    assert 0 <= min(later) <= MAX_DELAY_MS


@pytest.mark.slow
def test_b_frames_come_in_the_order_of_showing() -> None:
    with RtspCamera(25, faults=Faults(reports="none", b_frames=2)) as camera:
        later = watched(camera, 120)[60:]
    assert max(later) - min(later) <= 5


def test_a_clock_that_is_wrong_does_no_harm() -> None:
    with RtspCamera(25, faults=Faults(ahead_s=37)) as camera:
        later = watched(camera, 90)[60:]
    assert 0 <= min(later) <= max(later) <= MAX_DELAY_MS


def test_a_stall_is_an_outage_and_moves_no_stamp() -> None:
    with RtspCamera(25, faults=Faults(reports="none")) as camera:
        capture = opened(camera.url, timeout_s=2)
        before = errors_ms(capture, 70)
        camera.stall()
        asked_s = time.monotonic()
        with pytest.raises(FrameLost, match="held back when the stream stalled"):
            before += errors_ms(capture, 100)
        # Counted as lost, at the time that it is of.
        assert capture.position is not None
        assert capture.position.at_ns < clock.now_ns() - 1500 * MS
        with pytest.raises(CaptureLost, match=r"has sent nothing for [2-9]\.\d s"):
            capture.grab()
        assert time.monotonic() - asked_s < allowed(2 + 0.5)
        capture.close()
    assert max(before[60:]) <= MAX_DELAY_MS


def test_by_the_camera_s_clock_jitter_and_the_parser_s_delay_do_not_show(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(camera_clock, "SETTLING_NS", 1000 * MS)
    with RtspCamera(25, faults=Faults(jitter_s=0.2, report_every_s=0.2)) as camera:
        capture = opened(camera.url)
        seen = [seen_ms(capture) for _ in range(150)]
        capture.close()
    grades = [grade for grade, _ in itertools.groupby(grade for grade, *_ in seen)]
    assert grades == ["media", "camera"]
    by_camera = [error_ms for grade, error_ms, _ in seen if grade == "camera"]
    assert len(by_camera) > 75
    assert max(map(abs, by_camera)) <= 1
    assert all(abs(error_ms) <= said_ms for _, error_ms, said_ms in seen)


def test_the_user_decides_against_all_that_speaks_against_a_clock() -> None:
    with RtspCamera(25, faults=Faults(ahead_s=-37, report_every_s=0.1)) as camera:
        capture = opened(camera.url, wanted=Wanted(stamp="camera"))
        late_ms = [
            late_ms for grade, late_ms, _ in map(seen_ms, [capture] * 20) if grade == "camera"
        ]
        capture.close()
        assert late_ms
        assert all(abs(each + 37_000) <= 1 for each in late_ms)
        capture = opened(camera.url, wanted=Wanted(stamp="arrival"))
        assert {seen_ms(capture)[0] for _ in range(3)} == {"arrival"}
        capture.close()
    with pytest.raises(SourceError, match="--stamp driver: its frames are stamped by camera or"):
        opened("rtsp://host/x", wanted=Wanted(stamp="driver"))


@pytest.mark.slow
def test_a_rate_that_is_not_what_the_stream_says_is_measured() -> None:
    with RtspCamera(10, claimed_fps=25, faults=Faults(reports="none")) as camera:
        capture = opened(camera.url)
        assert capture.format.fps == 25
        errors_ms(capture, 110)
        assert capture.format.fps == pytest.approx(10, rel=0.01)
        capture.close()


def test_a_size_that_changes_is_early() -> None:
    with RtspCamera(25) as camera:
        capture = opened(camera.url)
        errors_ms(capture, 3)
        camera.resize((640, 384))
        for _ in range(100):
            assert capture.grab()
            image = capture.retrieve(np.empty(capture.format.shape, np.uint8), 0, 0)
            if image.shape == (384, 640, 3):
                break
        assert capture.format.shape == (384, 640, 3)
        assert pattern.read(image) is not None
        capture.close()


@pytest.mark.parametrize("auth", ["basic", "digest"])
def test_a_password_that_is_refused_is_named_but_not_shown(auth: Auth) -> None:
    with RtspCamera(25, auth=auth) as camera:
        assert watched(camera, 2)
        with pytest.raises(SourceError, match="check the user and the password") as refused:
            opened(camera.url.replace("secret", "wrong"))
    assert "wrong" not in str(refused.value)


def test_what_does_not_answer_is_named() -> None:
    with RtspCamera(25) as camera:
        url = camera.url
    with pytest.raises(SourceError, match="nothing answers on this port"):
        opened(url)
