"""Which pairs count for health checks."""

from __future__ import annotations

import numpy as np
import pytest

from framepair.nodes.sink.main import is_in_time
from framepair.testing import pair


@pytest.mark.parametrize(("window_s", "in_time"), [(1.0, True), (4.9, True), (5.1, False)])
def test_a_pair_is_in_time_if_its_newest_frame_is_young(window_s: float, in_time: bool) -> None:
    # It comes at its window's end, and its only frame is from the beginning.
    one = np.zeros((1, 4, 4, 3), np.uint8)
    assert is_in_time(pair(left=one, window=window_s, fps=1 / window_s)) is in_time
    assert is_in_time(pair(left=one, window=window_s, fps=1 / window_s, pace="max"))
