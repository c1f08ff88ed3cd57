"""A video file to decode: a picture that looks like one, and moves."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np

from bench.frames import Frame, Shape

# What nearly all cameras and telephones record; OpenCV's own builds can only read it.
H264 = "H.264"
H264_BITS_PER_S = 6_000_000
OCTAVES = 8
SPEED_PX, BALL_PX = 3, 90


Write = Callable[[Frame], None]


def write(path: Path, codec: str, frames: int, fps: int, shape: Shape, seed: int) -> None:
    """Write a slow pan over clouds of colour, a bright ball in front.

    Raises RuntimeError if OpenCV can't write ``codec``, ImportError if what writes H.264 is not installed.
    """
    height, width, _ = shape
    landscape = clouds((height, width + frames * SPEED_PX, 3), seed)
    open_writer = _h264 if codec == H264 else _opencv
    with open_writer(path, codec, fps, shape) as write_frame:
        for number in range(frames):
            left = number * SPEED_PX
            picture = landscape[:, left : left + width].copy()
            centre = (number * 11 % width, int(height * (0.5 + 0.4 * np.sin(number / 9))))
            cv2.circle(picture, centre, BALL_PX * height // 1080, (240, 250, 255), -1, cv2.LINE_AA)
            write_frame(picture)


@contextlib.contextmanager
def _opencv(path: Path, codec: str, fps: int, shape: Shape) -> Iterator[Write]:
    height, width, _ = shape
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), fps, (width, height))
    if not writer.isOpened():
        raise RuntimeError(f"OpenCV cannot write {codec} to {path}")

    def write_frame(picture: Frame) -> None:
        writer.write(picture)

    yield write_frame
    writer.release()


@contextlib.contextmanager
def _h264(path: Path, _codec: str, fps: int, shape: Shape) -> Iterator[Write]:
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps)
        stream.height, stream.width, _ = shape
        stream.pix_fmt, stream.bit_rate = "yuv420p", H264_BITS_PER_S

        def write_frame(picture: Frame) -> None:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))

        yield write_frame
        container.mux(stream.encode())


def clouds(shape: Shape, seed: int) -> Frame:
    """Return noise of all sizes, each half as strong as one of twice the size, as nature's pictures have it."""
    random = np.random.default_rng(seed)
    height, width, channels = shape
    picture = np.zeros(shape, np.float32)
    for octave in range(1, OCTAVES + 1):
        small = random.standard_normal(
            (2 + (height >> (OCTAVES - octave)), 2 + (width >> (OCTAVES - octave)), channels)
        )
        picture += (
            cv2.resize(small.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
            / 2**octave
        )
    low, high = np.percentile(picture[::8, ::8], (1, 99))
    scaled: Frame = np.clip((picture - low) * (255 / (high - low)), 0, 255).astype(np.uint8)
    return scaled
