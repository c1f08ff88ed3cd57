"""Pictures for tests of compression."""

from __future__ import annotations

import cv2
import numpy as np

from framepair.protocol.memory.ring import Pixels, Shape


def picture(shape: Shape, seed: int = 0) -> Pixels:
    """Return a smooth picture, as those of cameras are."""
    height, width, channels = shape
    small = np.random.default_rng(seed).integers(0, 256, (4, 6, channels), np.uint8)
    return np.asarray(cv2.resize(small, (width, height)), np.uint8).reshape(shape)
