"""Live streams for tests, written by FFmpeg itself: MPEG-TS over UDP, and HLS; frames bear their own time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import av
import numpy as np
from av.video.stream import VideoStream

from framepair.nodes.producer.sources import pattern
from framepair.protocol.clocks import clock
from tests.lib.mjpeg_server import unused_address
from tests.lib.rtsp_camera import SOURCE

SIZE = (320, 192)
TICK = Fraction(1, 90_000)


class Broadcast:
    """Films from entering the context to leaving it, into ``url``, in a container of FFmpeg's."""

    def __init__(
        self,
        url: str,
        container_format: str,
        *,
        fps: float = 25,
        options: dict[str, str] | None = None,
    ) -> None:
        self._fps, self._over = fps, threading.Event()
        self._container = av.open(url, "w", format=container_format, options=options or {})
        self._thread = threading.Thread(target=self._film, daemon=True)

    def __enter__(self) -> Broadcast:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._container.close()

    def _film(self) -> None:
        stream = self._stream()
        began_ns, number = clock.now_ns(), 0
        while not self._over.wait(
            max(0.0, (began_ns + number * 1e9 / self._fps - clock.now_ns()) / 1e9)
        ):
            captured_ns = clock.now_ns()
            image = np.full((SIZE[1], SIZE[0], 3), 110, np.uint8)
            pattern.stamp(image, SOURCE, number, captured_ns)
            frame = av.VideoFrame.from_ndarray(image, format="bgr24")
            frame.pts, frame.time_base = round((captured_ns - began_ns) / 1e9 / TICK), TICK
            self._container.mux(stream.encode(frame))
            number += 1

    def _stream(self) -> VideoStream:
        rate = Fraction(self._fps).limit_denominator(1000)
        stream = self._container.add_stream("libx264", rate=rate)
        stream.width, stream.height = SIZE
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = TICK
        stream.codec_context.gop_size, stream.codec_context.max_b_frames = round(self._fps), 0
        stream.codec_context.thread_count = 1
        stream.options = {"preset": "ultrafast", "tune": "zerolatency"}
        return stream


@contextmanager
def udp(fps: float = 25) -> Iterator[str]:
    """Send MPEG-TS over UDP; yield its address."""
    url = f"udp://{unused_address()}"
    with Broadcast(f"{url}?pkt_size=1316", "mpegts", fps=fps):
        yield url


@contextmanager
def hls(directory: Path, fps: float = 25, segment_s: float = 1) -> Iterator[str]:
    """Write segments of ``segment_s`` and their playlist, and serve them; yield its address."""
    options = {
        "hls_time": f"{segment_s:g}",
        "hls_list_size": "5",
        "hls_flags": "delete_segments+temp_file",
    }
    handler = partial(_Quiet, directory=str(directory))
    with (
        Broadcast(str(directory / "live.m3u8"), "hls", fps=fps, options=options),
        ThreadingHTTPServer(("127.0.0.1", 0), handler) as server,
    ):
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/live.m3u8"
        finally:
            server.shutdown()
            thread.join()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass
