"""The camera that other tests watch: FFmpeg understands it, and each of its faults is the one that it says."""

from __future__ import annotations

import itertools

import av
import pytest

from tests.lib.rtsp_camera import Auth, Faults, RtspCamera
from tests.lib.units import MS
from tests.lib.watching import Seen, watch


def seen(camera: RtspCamera, count: int, transport: str = "tcp") -> list[Seen]:
    return list(itertools.islice(watch(camera.url, transport), count))


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_frames_bear_the_time_that_sender_reports_say(transport: str) -> None:
    with RtspCamera(25) as camera:
        frames = seen(camera, 40, transport)
    assert [frame.seq for frame in frames] == [*range(frames[0].seq, frames[0].seq + 40)]
    assert all(
        frame.reported_ns is not None and abs(frame.reported_ns - frame.captured_ns) < MS
        for frame in frames
    )


@pytest.mark.parametrize("auth", ["basic", "digest"])
def test_a_camera_may_ask_for_a_password(auth: Auth) -> None:
    with RtspCamera(25, auth=auth) as camera:
        assert seen(camera, 3)
        with pytest.raises(av.FFmpegError, match="401"):
            next(watch(camera.url.replace("secret", "wrong")))


@pytest.mark.parametrize(
    ("faults", "error_s"),
    [
        (Faults(ahead_s=37), 37),
        (Faults(ahead_s=-3e7), -3e7),
        (Faults(drift=0.01, report_every_s=0.1), None),
    ],
)
def test_a_clock_may_be_wrong(faults: Faults, error_s: float | None) -> None:
    with RtspCamera(25, faults=faults) as camera:
        errors = [
            ((frame.reported_ns or 0) - frame.captured_ns) / 1e9 for frame in seen(camera, 40)
        ]
    if error_s is not None:
        assert errors == pytest.approx([error_s] * 40, abs=0.001)
    else:
        gained_s = errors[-1] - errors[0]
        assert gained_s == pytest.approx(39 / 25 * faults.drift, rel=0.3)


def test_reports_may_stay_away_or_come_late() -> None:
    with RtspCamera(25, faults=Faults(reports="none")) as camera:
        assert all(frame.reported_ns is None for frame in seen(camera, 30))
    with RtspCamera(25, faults=Faults(first_report_s=3)) as camera:
        frames = seen(camera, 120)
    assert frames[0].reported_ns is None
    assert frames[-1].reported_ns is not None


def test_frames_may_come_with_jitter() -> None:
    with RtspCamera(25, faults=Faults(jitter_s=0.2)) as camera:
        delays_ms = [
            (frame.arrived_ns - frame.captured_ns) / MS for frame in seen(camera, 100)[50:]
        ]
    assert max(delays_ms) - min(delays_ms) > 80


def test_frames_may_be_sent_in_another_order() -> None:
    with RtspCamera(25, faults=Faults(b_frames=2)) as camera:
        frames = seen(camera, 40)
    assert [frame.seq for frame in frames] == [*range(frames[0].seq, frames[0].seq + 40)]


def test_a_camera_may_stall_change_its_size_and_go_away() -> None:
    with RtspCamera(25) as camera:
        watching = watch(camera.url, timeout_s=2)
        assert next(watching).size == (320, 192)
        camera.resize((640, 384))
        assert next(frame for frame in watching if frame.size == (640, 384))
        camera.stall()
        with pytest.raises(av.FFmpegError, match="Immediate exit"):
            list(itertools.islice(watching, 1000))
        camera.go_on()
        assert seen(camera, 2)
        camera.restart(0.1)
        assert seen(camera, 2)
