"""Frames to send, and how whoever receives one tells whether it is the right one, and whole."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Frame = NDArray[np.uint8]
Shape = tuple[int, int, int]

FULL_HD: Shape = (1080, 1920, 3)
WORD = np.dtype("<u8")


def make(count: int, shape: Shape) -> list[Frame]:
    """Return up to 256 frames of noise, each with its number in two corners.

    Their bytes fill whole words, and the words of each add up to its number.
    """
    random = np.random.default_rng(0)
    frames = [random.integers(0, 256, shape, np.uint8) for _ in range(count)]
    for number, frame in enumerate(frames):
        frame[0, 0, 0] = frame[-1, -1, -1] = number
        words = frame.reshape(-1).view(WORD)
        middle = len(words) // 2
        words[middle] = (number + int(words[middle]) - _sum(words)) % 2**64
    return frames


def looks_like(frame: Frame, number: int) -> bool:
    """Tell at a glance, without reading the whole frame, whether it bears this number."""
    return bool(frame[0, 0, 0] == frame[-1, -1, -1] == number)


def is_whole(frame: Frame, number: int) -> bool:
    """Tell whether every byte of the frame is that of the frame with this number."""
    words = np.ascontiguousarray(frame).reshape(-1).view(WORD)
    return looks_like(frame, number) and _sum(words) == number


def _sum(words: NDArray[np.uint64]) -> int:
    return int(words.sum(dtype=np.uint64))
