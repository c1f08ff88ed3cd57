"""Network streams as captures: frames as they come, and no waiting without end."""

from __future__ import annotations

import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import pytest

from framepair.nodes.producer.sources.source import CaptureLost, Format
from framepair.nodes.producer.sources.video import LiveVideo
from tests.lib.captures import TIMEOUT_S, opened, refusal, seqs
from tests.lib.mjpeg_server import MjpegServer, silent_server, unused_address
from tests.lib.videos import write_video


@pytest.mark.parametrize("scheme", ["rtsp", "http", "rtmp", "tcp"])
def test_a_stream_that_nobody_offers_is_refused(scheme: str) -> None:
    message = refusal(f"{scheme}://me:secret@{unused_address()}/x")
    assert "cannot be opened: check the address" in message
    assert "secret" not in message


@pytest.mark.parametrize("scheme", ["rtsp", "http"])
def test_opening_a_stream_takes_no_longer_than_it_may(scheme: str) -> None:
    with silent_server() as address:
        asked_s = time.monotonic()
        message = refusal(f"{scheme}://me:secret@{address}/x")
        assert time.monotonic() - asked_s < 2 * TIMEOUT_S + 1
    assert f"{scheme}://{address}/… did not answer within 0.5 s" in message


def test_a_stream_gives_frames_as_they_come() -> None:
    with MjpegServer() as server:
        capture = opened(server.url)
        assert capture.format == Format((180, 320, 3), "bgr8", 25.0, total=0, live=True)
        found = seqs(capture, 10)
        capture.close()
    first = found[0]
    assert first is not None
    assert found == list(range(first, first + 10))


def test_a_stream_is_read_with_one_thread_lest_frames_come_late() -> None:
    with MjpegServer() as server:
        capture = opened(server.url)
        assert isinstance(capture, LiveVideo)
        assert capture._video.get(cv2.CAP_PROP_N_THREADS) == 1
        capture.close()


def test_a_stream_that_freezes_is_lost_within_the_time_out() -> None:
    with MjpegServer() as server:
        capture = opened(server.url, timeout_s=TIMEOUT_S)
        assert seqs(capture, 3)
        server.frozen.set()
        asked_s = time.monotonic()
        with pytest.raises(CaptureLost, match=r"has sent nothing for \d") as lost:
            seqs(capture)
        assert time.monotonic() - asked_s < 2 * TIMEOUT_S + 1
        assert "secret" not in str(lost.value)
        capture.close()


def test_a_stream_that_breaks_off_is_lost_at_once() -> None:
    with MjpegServer() as server:
        capture = opened(server.url)
        assert seqs(capture, 3)
        server.cut()
        asked_s = time.monotonic()
        with pytest.raises(CaptureLost, match="has broken off"):
            seqs(capture)
        assert time.monotonic() - asked_s < 5
        capture.close()


def test_a_recording_over_http_is_no_live_stream(tmp_path: Path) -> None:
    write_video(tmp_path / "a.avi")
    handler = partial(QuietHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            message = refusal(f"http://me:secret@127.0.0.1:{server.server_port}/a.avi", timeout_s=5)
        finally:
            server.shutdown()
            thread.join()
    assert "/… is a recording, not a live stream" in message
    assert "secret" not in message


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass
