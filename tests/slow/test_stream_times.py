"""The time that frames of live streams bear, by their pixels: each kind of stream, and each way to be wrong."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from framepair.nodes.producer.sources import pattern
from framepair.nodes.producer.sources.opening import open_capture
from framepair.nodes.producer.sources.source import Capture
from tests.lib import broadcast
from tests.lib.rtsp_camera import Faults, RtspCamera
from tests.lib.units import MS

# What a camera's clock gives, and how constant media time is from 60 frames on.
MAX_ERROR_MS = 5.0


@dataclass(frozen=True)
class Found:
    """A frame: its grade, how late its stamp is by its pixels, and how wrong that may be as it is stated."""

    grade: str
    late_ms: float
    stated_ms: float


def frames(capture: Capture, seconds: float) -> Iterator[Found]:
    until_s = time.monotonic() + seconds
    while time.monotonic() < until_s and capture.grab():
        position = capture.position
        assert position is not None
        mark = pattern.read(capture.retrieve(np.empty(capture.format.shape, np.uint8), 0, 0))
        assert mark is not None
        known = position.uncertainty_ns
        late_ms = (position.at_ns - mark.captured_ns) / MS
        yield Found(position.grade, late_ms, math.inf if known is None else known / MS)


def watched(url: str, seconds: float) -> list[Found]:
    with closing(
        open_capture(
            "cam", url, loop=False, open_timeout_s=10, read_timeout_s=3, allow_redirects=True
        )
    ) as capture:
        return list(frames(capture, seconds))


def seen(camera: RtspCamera, seconds: float) -> list[Found]:
    with camera:
        return watched(camera.url, seconds)


def grades(found: Sequence[Found]) -> list[str]:
    return [grade for grade, _ in itertools.groupby(each.grade for each in found)]


def check_by_camera(found: Sequence[Found]) -> None:
    """Check the promise of stamps by a camera's clock."""
    assert grades(found) == ["media", "camera"]
    by_camera = [abs(each.late_ms) for each in found if each.grade == "camera"]
    assert np.percentile(by_camera, 99) <= MAX_ERROR_MS
    within = [abs(each.late_ms) <= each.stated_ms for each in found]
    assert sum(within) >= 0.999 * len(within)


def check_constant(found: Sequence[Found], most_ms: float = MAX_ERROR_MS) -> None:
    late_ms = [each.late_ms for each in found]
    assert max(late_ms) - min(late_ms) <= most_ms


@pytest.mark.parametrize("jitter_s", [0.0, 0.2])
@pytest.mark.parametrize("fps", [25, 5])
def test_by_the_camera_s_clock(fps: float, jitter_s: float) -> None:
    check_by_camera(seen(RtspCamera(fps, faults=Faults(jitter_s=jitter_s)), 25))


def test_by_the_camera_s_clock_though_its_first_report_comes_late() -> None:
    check_by_camera(seen(RtspCamera(25, faults=Faults(first_report_s=8)), 25))


def test_by_the_camera_s_clock_with_b_frames() -> None:
    found = seen(RtspCamera(25, faults=Faults(b_frames=2)), 20)
    by_camera = [each for each in found if each.grade == "camera"]
    assert len(by_camera) > 200
    assert all(abs(each.late_ms) <= min(MAX_ERROR_MS, each.stated_ms) for each in by_camera)


@pytest.mark.parametrize("fps", [25, 5])
def test_without_reports_the_error_is_constant(
    fps: float, caplog: pytest.LogCaptureFixture
) -> None:
    found = seen(RtspCamera(fps, faults=Faults(reports="none")), 15 + 60 / fps)
    assert grades(found) == ["media"]
    check_constant(found[60:])
    assert "cam's clock is not known, 10 s after the first frame" in caplog.text


@pytest.mark.parametrize("ahead_s", [37, -37, 3.2e7])
def test_a_clock_that_is_wrong_is_named_and_not_used(
    ahead_s: float, caplog: pytest.LogCaptureFixture
) -> None:
    found = seen(RtspCamera(25, faults=Faults(ahead_s=ahead_s)), 12)
    assert grades(found) == ["media"]
    check_constant(found[60:])
    (said,) = (record.getMessage() for record in caplog.records if "clock" in record.getMessage())
    assert "pairing by media time" in said


def test_reports_that_are_stamped_when_they_are_sent_are_not_used() -> None:
    camera = RtspCamera(25, faults=Faults(reports="when_sent", jitter_s=0.2))
    assert grades(seen(camera, 20)) == ["media"]


@pytest.mark.timeout(240)
def test_a_clock_that_drifts_is_named_within_three_minutes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    found = seen(RtspCamera(25, faults=Faults(drift=500e-6)), 180)
    assert "cam's clock is too fast by" in caplog.text
    assert found[-1].grade == "media"
    # Half a millisecond a second, for as long as it was believed.
    assert max(abs(each.late_ms) for each in found) < 100


@contextmanager
def served_hls(directory: Path) -> Iterator[str]:
    with broadcast.hls(directory) as url:
        # A playlist needs three segments, the first of which a client leaves out.
        while not (directory / "live.m3u8").exists() or len(list(directory.glob("*.ts"))) < 4:
            time.sleep(0.2)
        yield url


def test_hls_is_constant_after_ten_segments(tmp_path: Path) -> None:
    with served_hls(tmp_path) as url:
        check_constant(watched(url, 45)[10 * 25 :])


def test_mpeg_ts_over_udp_is_constant_after_sixty_frames() -> None:
    with broadcast.udp() as url:
        check_constant(watched(url, 20)[60:])
