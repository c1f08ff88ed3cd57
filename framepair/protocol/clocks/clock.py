"""The one clock: UTC in nanoseconds that no step of the wall clock can move."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable

# What tells the time in nanoseconds of UTC: ``now_ns``, or one that is wrong on purpose.
Clock = Callable[[], int]
OFFSET_VARIABLE = "FRAMEPAIR_UTC_OFFSET_NS"


@functools.cache
def utc_offset_ns() -> int:
    """Return UTC minus CLOCK_MONOTONIC, read once per run: the launcher's if it handed one over."""
    handed_over = os.environ.get(OFFSET_VARIABLE)
    return int(handed_over) if handed_over else time.time_ns() - time.monotonic_ns()


def now_ns() -> int:
    """Return UTC in nanoseconds, as CLOCK_MONOTONIC plus an offset that stays for the whole run."""
    return time.monotonic_ns() + utc_offset_ns()
