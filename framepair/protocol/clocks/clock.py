"""The one clock: UTC in nanoseconds that no step of the wall clock can move."""

from __future__ import annotations

import functools
import os
import time

OFFSET_VARIABLE = "FRAMEPAIR_UTC_OFFSET_NS"


class _Fault:
    """How wrong this process's clock is, on purpose: ``ahead_ns``, and ``rate`` more since ``since_ns``."""

    ahead_ns = 0
    rate = 0.0
    since_ns = 0


@functools.cache
def utc_offset_ns() -> int:
    """Return UTC minus CLOCK_MONOTONIC, read once per run: the launcher's if it handed one over."""
    handed_over = os.environ.get(OFFSET_VARIABLE)
    return int(handed_over) if handed_over else time.time_ns() - time.monotonic_ns()


def now_ns() -> int:
    """Return UTC in nanoseconds, as CLOCK_MONOTONIC plus an offset that stays for the whole run."""
    right_ns = time.monotonic_ns() + utc_offset_ns()
    return right_ns + _Fault.ahead_ns + round(_Fault.rate * (right_ns - _Fault.since_ns))


def go_wrong(ahead_ns: int, rate: float) -> int:
    """Have the clock of this process be ``ahead_ns`` ahead and gain ``rate`` seconds a second, from now on.

    Return when that is, in UTC.
    """
    _Fault.since_ns = time.monotonic_ns() + utc_offset_ns()
    _Fault.ahead_ns, _Fault.rate = ahead_ns, rate
    return _Fault.since_ns
