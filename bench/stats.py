"""The few statistics that tables need; None where there is nothing to be said."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence


def median(values: Sequence[float]) -> float | None:
    """Return the median."""
    return statistics.median(values) if values else None


def percentile(values: Sequence[float], percent: float) -> float | None:
    """Return the smallest value that ``percent`` of all don't exceed."""
    if not values:
        return None
    return sorted(values)[max(0, math.ceil(percent * len(values) / 100) - 1)]


def ratio(baseline: Sequence[float], values: Sequence[float]) -> float | None:
    """Return how many times as fast as the baseline, in the median of the rounds that both were measured in.

    The machine is as fast in a round for one as for the other, but not from round to round.
    """
    return median([one / other for one, other in zip(baseline, values, strict=False)])


def slope(xs: Sequence[float], ys: Sequence[float]) -> float | None:
    """Return by how much ``y`` grows for each unit of ``x``: of the straight line that fits best."""
    if len(xs) < 2:
        return None
    return statistics.linear_regression(xs, ys).slope


def mean(values: Sequence[float]) -> float | None:
    """Return the mean."""
    return statistics.fmean(values) if values else None


def deviation(values: Sequence[float]) -> float | None:
    """Return the standard deviation."""
    return statistics.pstdev(values) if values else None
