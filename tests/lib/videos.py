"""Video files for tests, each of whose frames bears a stamp."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.video.stream import VideoStream

from framepair.nodes.producer.sources.pattern import stamp

CODECS = {".mp4": ("mpeg4", "yuv420p"), ".avi": ("mjpeg", "yuvj420p")}


def write_video(
    path: Path, frames: int = 10, size: tuple[int, int] = (320, 180), fps: float = 20.0
) -> Path:
    """Write a video of ``frames`` frames, stamped ``left`` and numbered from 0 on, and return its path."""
    codec, pixels = CODECS[path.suffix]
    with av.open(f"file:{path}", "w", format=path.suffix[1:]) as container:
        added = container.add_stream(codec, rate=Fraction(fps).limit_denominator(1000))
        stream = cast(VideoStream, added)
        stream.width, stream.height = size
        # Sharp enough for a code of few pixels.
        stream.pix_fmt, stream.bit_rate = pixels, 8_000_000
        for seq in range(frames):
            image = np.full((size[1], size[0], 3), 120, np.uint8)
            stamp(image, "left", seq, 0)
            frame = av.VideoFrame.from_ndarray(image, format="bgr24")
            container.mux(stream.encode(frame.reformat(format=pixels)))
        container.mux(stream.encode(None))
    return path


def rotate(path: Path, degrees: int) -> None:
    """Turn the picture of an mp4 by a multiple of 90 degrees, in its metadata, as telephones do."""
    cosine, sine = {0: (1, 0), 90: (0, 1), 180: (-1, 0), 270: (0, -1)}[degrees]
    data = bytearray(path.read_bytes())
    # Version and flags, two times, id, reserved, duration, reserved, layer, group, volume, reserved.
    matrix = data.index(b"tkhd") + 4 + 40
    one = 1 << 16
    turned = (cosine * one, sine * one, 0, -sine * one, cosine * one, 0, 0, 0, 1 << 30)
    struct.pack_into(">9i", data, matrix, *turned)
    path.write_bytes(data)
