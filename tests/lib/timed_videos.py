"""Video files for tests, written by PyAV: numbered frames at any times, in any container and codec."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
from av.video.stream import VideoStream

from tests.lib.numbered import numbered


def write_timed(
    path: Path,
    times_s: Sequence[float],
    *,
    codec: str = "libx264",
    container_format: str | None = None,
    rate: float = 25,
    tick: Fraction = Fraction(1, 90000),
    size: tuple[int, int] = (384, 256),
    pixels: str = "yuv420p",
    b_frames: int = 0,
    options: dict[str, str] | None = None,
) -> Path:
    """Write frames numbered from 0 on, shown at ``times_s``, and return the file's path."""
    with av.open(str(path), "w", format=container_format) as container:
        added = container.add_stream(codec, rate=Fraction(rate).limit_denominator(10_000))
        stream = cast(VideoStream, added)
        stream.width, stream.height = size
        stream.pix_fmt, stream.options = pixels, {**(options or {})}
        stream.codec_context.time_base = tick
        stream.codec_context.max_b_frames = b_frames
        stream.codec_context.gop_size = 12
        for number, time_s in enumerate(times_s):
            frame = av.VideoFrame.from_ndarray(numbered(number, *size), format="bgr24")
            frame.pts, frame.time_base = round(time_s / tick), tick
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def damage(path: Path, packets: Sequence[int]) -> Path:
    """Write zeros over some packets of a file, and return its path."""
    with av.open(str(path)) as container:
        found = [packet for packet in container.demux(video=0) if packet.size]
        places = [(packet.pos or 0, packet.size) for packet in (found[index] for index in packets)]
    data = bytearray(path.read_bytes())
    for start, size in places:
        data[start : start + size] = bytes(size)
    path.write_bytes(data)
    return path
