"""Pictures for tests of compression."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from framepair.protocol.memory.ring import Pixels, Shape


def picture(shape: Shape, seed: int = 0) -> Pixels:
    """Return a smooth picture, as those of cameras are."""
    height, width, channels = shape
    small = np.random.default_rng(seed).integers(0, 256, (4, 6, channels))
    rows, columns = np.linspace(0, 3, height), np.linspace(0, 5, width)
    tall = np.stack([_between(small[:, column], rows) for column in range(6)], axis=1)
    wide = _between(tall.swapaxes(0, 1), columns).swapaxes(0, 1)
    return np.ascontiguousarray(wide.round(), np.uint8)


def _between(values: NDArray[Any], places: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what lies between ``values`` along their first axis, at ``places``."""
    low = np.minimum(places.astype(int), len(values) - 2)
    share = (places - low).reshape(-1, *[1] * (values.ndim - 1))
    found: NDArray[np.float64] = values[low] * (1 - share) + values[low + 1] * share
    return found
