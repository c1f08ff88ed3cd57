"""Video files for tests, each of whose frames bears a stamp."""

from __future__ import annotations

import struct
from pathlib import Path

import cv2
import numpy as np

from framepair.nodes.producer.sources.pattern import stamp

CODECS = {".mp4": "mp4v", ".avi": "MJPG"}


def write_video(
    path: Path, frames: int = 10, size: tuple[int, int] = (320, 180), fps: float = 20.0
) -> Path:
    """Write a video of ``frames`` frames, stamped ``left`` and numbered from 0 on, and return its path."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*CODECS[path.suffix]), fps, size)
    for seq in range(frames):
        image = np.full((size[1], size[0], 3), 120, np.uint8)
        stamp(image, "left", seq, 0)
        writer.write(image)
    writer.release()
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
