"""Network streams as captures: the time that their frames bear, by their pixels, whatever the network does."""

from __future__ import annotations

import time

import numpy as np
import pytest

from framepair.nodes.producer.sources import pattern
from framepair.nodes.producer.sources.source import Capture, CaptureLost, SourceError
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


def watched(camera: RtspCamera, count: int) -> list[float]:
    capture = opened(camera.url, timeout_s=10)
    try:
        return errors_ms(capture, count)
    finally:
        capture.close()


@pytest.mark.parametrize("fps", [25, 5])
def test_stamps_are_as_far_apart_as_the_frames(fps: float) -> None:
    with RtspCamera(fps, faults=Faults(reports="none")) as camera:
        later = watched(camera, 100 if fps > 20 else 75)[60:]
    assert max(later) - min(later) <= 5
    # Not the period by which FFmpeg's parser holds frames back.
    assert 0 <= min(later) <= MAX_DELAY_MS


def test_jitter_does_not_show() -> None:
    with RtspCamera(25, faults=Faults(reports="none", jitter_s=0.1)) as camera:
        later = watched(camera, 200)[60:]
    assert max(later) - min(later) <= 20
    assert 0 <= min(later) <= MAX_DELAY_MS


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
        with pytest.raises(CaptureLost, match=r"has sent nothing for 2\.\d s"):
            before += errors_ms(capture, 100)
        assert time.monotonic() - asked_s < 2 + 1
        capture.close()
    assert max(before[60:]) <= MAX_DELAY_MS


def test_a_size_that_changes_is_followed() -> None:
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
