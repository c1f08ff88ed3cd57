"""Network streams as captures: frames as they come, and no waiting without end."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from framepair.nodes.producer.sources.network_stream import NetworkStream
from framepair.nodes.producer.sources.opening import open_capture
from framepair.nodes.producer.sources.source import CaptureLost, Format, SourceError
from tests.lib.busy import allowed
from tests.lib.captures import TIMEOUT_S, opened, refusal, seqs
from tests.lib.mjpeg_server import MjpegServer, silent_server, unused_address
from tests.lib.processes import PATIENCE_S
from tests.lib.timed_videos import write_timed
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
        assert time.monotonic() - asked_s < allowed(2 * TIMEOUT_S + 1)
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
        assert isinstance(capture, NetworkStream)
        assert capture._stream.codec_context.thread_count == 1
        capture.close()


def test_a_stream_that_freezes_is_lost_within_the_time_out() -> None:
    with MjpegServer() as server:
        capture = opened(server.url, timeout_s=TIMEOUT_S)
        assert seqs(capture, 3)
        server.frozen.set()
        asked_s = time.monotonic()
        with pytest.raises(CaptureLost, match=r"has sent nothing for \d") as lost:
            seqs(capture)
        assert time.monotonic() - asked_s < allowed(2 * TIMEOUT_S + 1)
        assert "secret" not in str(lost.value)
        capture.close()


def test_a_stream_that_breaks_off_is_lost_at_once() -> None:
    with MjpegServer() as server:
        # Long before it would be missed.
        capture = opened(server.url, timeout_s=2 * PATIENCE_S)
        assert seqs(capture, 3)
        server.cut()
        asked_s = time.monotonic()
        with pytest.raises(CaptureLost, match="has broken off"):
            seqs(capture)
        assert time.monotonic() - asked_s < PATIENCE_S
        capture.close()


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


class WithoutLength(QuietHandler):
    """Sends files without saying how long they are, as live streams come."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(Path(self.translate_path(self.path)).read_bytes())


@contextmanager
def serving(directory: Path, handler: type[QuietHandler] = QuietHandler) -> Iterator[str]:
    """Serve the files of a directory; yield the beginning of their addresses."""
    answering = partial(handler, directory=str(directory))
    with ThreadingHTTPServer(("127.0.0.1", 0), answering) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://me:secret@127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("name", ["a.avi", "a.ts"])
def test_a_recording_over_http_is_no_live_stream(tmp_path: Path, name: str) -> None:
    write_timed(tmp_path / name, [n / 25 for n in range(50)])
    with serving(tmp_path) as url:
        message = refusal(f"{url}/{name}", timeout_s=5)
    assert "/… is a recording, not a live stream" in message
    assert "secret" not in message


@pytest.mark.parametrize("seconds", [2, 15])
def test_a_recording_without_a_length_is_known_by_how_fast_it_comes(
    tmp_path: Path, seconds: int
) -> None:
    write_timed(tmp_path / "a.ts", [n / 25 for n in range(25 * seconds)])
    with serving(tmp_path, WithoutLength) as url, pytest.raises(SourceError) as refused:
        seqs(opened(f"{url}/a.ts"), 25 * seconds)
    assert "source left: http://" in str(refused.value)
    assert "is a recording, not a live stream: it comes faster than it plays" in str(refused.value)
    assert "secret" not in str(refused.value)


def test_a_path_that_is_not_there_is_named(tmp_path: Path) -> None:
    with serving(tmp_path) as url:
        assert "there is nothing under this path" in refusal(f"{url}/a.ts", timeout_s=5)


def test_a_stream_without_times_is_stamped_on_arrival() -> None:
    # A busy machine makes it slower still, and less even: that takes longer to be sure of.
    with MjpegServer(period_s=0.06) as server:
        capture = opened(server.url)
        for _ in range(600):
            assert capture.grab()
            position = capture.position
            assert position is not None
            assert (position.grade, position.uncertainty_ns) == ("arrival", None)
            # It says 25, which is FFmpeg's guess.
            if capture.format.fps < 20:
                break
        assert 1 < capture.format.fps < 20
        capture.close()


class Leading(BaseHTTPRequestHandler):
    """Leads whoever asks to ``target``: by a redirect, or by a playlist that names it."""

    target = ""

    def do_GET(self) -> None:
        if self.path == "/redirect":
            self.send_response(302)
            self.send_header("Location", self.target)
            self.end_headers()
            return
        playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:1,\n{self.target}\n#EXT-X-ENDLIST\n"
        self.send_response(200)
        self.send_header("Content-Type", "application/vnd.apple.mpegurl")
        self.send_header("Content-Length", str(len(playlist)))
        self.end_headers()
        self.wfile.write(playlist.encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@contextmanager
def leading_to(target: str) -> Iterator[str]:
    """Serve addresses that lead to ``target``; yield their beginning."""
    handler = type("LeadingThere", (Leading,), {"target": target})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("way", ["redirect", "list.m3u8"])
def test_a_url_leads_to_no_other_address(way: str) -> None:
    with MjpegServer() as elsewhere, leading_to(f"http://{elsewhere.address}/a.ts") as url:
        assert "--allow-redirects" in refusal(f"{url}/{way}", timeout_s=5)
        assert elsewhere.connections == 0


def test_a_redirect_is_early_if_that_is_allowed() -> None:
    with MjpegServer() as elsewhere, leading_to(f"http://{elsewhere.address}/video") as url:
        capture = open_capture(
            "left",
            f"{url}/redirect",
            loop=False,
            open_timeout_s=5,
            read_timeout_s=5,
            allow_redirects=True,
        )
        assert seqs(capture, 3)
        capture.close()
        assert elsewhere.connections


@pytest.mark.parametrize("allow_redirects", [False, True])
def test_a_playlist_reads_no_file_of_this_machine(tmp_path: Path, allow_redirects: bool) -> None:
    path = write_video(tmp_path / "a.mp4")
    with leading_to(f"file://{path}") as url, pytest.raises(SourceError):
        open_capture(
            "left",
            f"{url}/list.m3u8",
            loop=False,
            open_timeout_s=5,
            read_timeout_s=5,
            allow_redirects=allow_redirects,
        )
