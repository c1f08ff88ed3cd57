"""The one clock: UTC in nanoseconds that no step of the wall clock can move."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable

# What tells the time in nanoseconds of UTC: ``now_ns``, or one that is wrong on purpose.
Clock = Callable[[], int]
OFFSET_VARIABLE = "FRAMEPAIR_UTC_OFFSET_NS"


# What the nodes that ran before this one count from, see ``shared_offset``.
_agreed_ns: list[int] = []


def is_handed_over() -> bool:
    """Return whether the launcher has handed an offset over."""
    return bool(os.environ.get(OFFSET_VARIABLE))


def handed_over_ns() -> int | None:
    """Return the offset that the launcher has handed over, None if there is none.

    Raises ValueError if it is no whole number.
    """
    text = os.environ.get(OFFSET_VARIABLE)
    try:
        return int(text) if text else None
    except ValueError:
        raise ValueError(
            f"{OFFSET_VARIABLE} is {text!r} and takes whole nanoseconds: unset it"
        ) from None


def agree(offset_ns: int) -> None:
    """Count from ``offset_ns`` on, as other nodes do; without effect once this process has told the time."""
    _agreed_ns.append(offset_ns)


@functools.cache
def utc_offset_ns() -> int:
    """Return UTC minus CLOCK_MONOTONIC, the same for the whole run.

    It is what the launcher handed over, else what was agreed on, else read now. Raises as ``handed_over_ns``.
    """
    handed_over = handed_over_ns()
    if handed_over is not None:
        return handed_over
    return _agreed_ns[0] if _agreed_ns else time.time_ns() - time.monotonic_ns()


def now_ns() -> int:
    """Return UTC in nanoseconds, as CLOCK_MONOTONIC plus an offset that stays for the whole run."""
    return time.monotonic_ns() + utc_offset_ns()
