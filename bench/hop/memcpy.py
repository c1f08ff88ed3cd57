"""One copy of each frame within one process: what no way that copies can be faster than."""

from __future__ import annotations

import time

import numpy as np

from bench import frames
from bench.frames import Shape
from bench.hop.way import POOL

NAME = "one memcpy, the limit"
NEEDS: tuple[str, ...] = ()


def measure(shape: Shape, seconds: float) -> float:
    """Return the seconds that copying a frame took, on average, between pools like those of the others."""
    source = frames.make(POOL, shape)
    target = [np.zeros(shape, np.uint8) for _ in range(POOL)]
    lap_s = _lap(source, target)
    laps = max(1, round(seconds / lap_s))
    return sum(_lap(source, target) for _ in range(laps)) / (laps * POOL)


def _lap(source: list[frames.Frame], target: list[frames.Frame]) -> float:
    began_s = time.perf_counter()
    for one, other in zip(target, source, strict=True):
        np.copyto(one, other)
    return time.perf_counter() - began_s
