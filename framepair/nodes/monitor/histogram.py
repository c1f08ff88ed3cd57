"""Durations in the buckets that Prometheus expects."""

from __future__ import annotations

import itertools
from bisect import bisect_left
from typing import Final

# Upper bounds in seconds. A lag is some milliseconds on one machine, and up to --max-wait with network streams.
BOUNDS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Histogram:
    """Counts durations by upper bound; their sum never goes back, as a duration below 0 counts as 0."""

    def __init__(self) -> None:
        self.sum_s = 0.0
        self._counts = [0] * (len(BOUNDS_S) + 1)

    def add_ns(self, duration_ns: int) -> None:
        """Count one duration."""
        seconds = max(0, duration_ns) / 1e9
        self.sum_s += seconds
        self._counts[bisect_left(BOUNDS_S, seconds)] += 1

    def cumulative(self) -> list[tuple[str, float]]:
        """Return of each bound, the last one +Inf, how many durations do not exceed it."""
        bounds = [*map(str, BOUNDS_S), "+Inf"]
        return list(zip(bounds, itertools.accumulate(self._counts), strict=True))
