"""When a camera's driver had a frame: by the time of its buffer, if that can be one."""

from __future__ import annotations

from typing import Final

MS_NS: Final = 1_000_000
# A buffer is not older than that, nor of the future; other numbers are of another clock, or no times.
MAX_AGE_NS: Final = 1_000_000_000


class DriverTimes:
    """Times of frames by the driver, until one of them can't be right: from then on, None."""

    def __init__(self) -> None:
        self._trusted = True

    def time_ns(self, buffer_ms: float, monotonic_ns: int, utc_ns: int) -> int | None:
        """Return in UTC when a buffer of time ``buffer_ms`` (CLOCK_MONOTONIC) was filled.

        ``monotonic_ns`` and ``utc_ns`` are what it is now by both clocks.
        """
        age_ns = monotonic_ns - round(buffer_ms * MS_NS)
        self._trusted = self._trusted and 0 <= age_ns <= MAX_AGE_NS
        return utc_ns - age_ns if self._trusted else None
