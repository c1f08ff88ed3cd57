"""A camera's clock: what its sender reports say that it shows, and whether that can be right."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

from framepair.nodes.producer.sources.media_floor import FLOOR_NS, LowestOffset

MS: Final = 1_000_000
SECOND_NS: Final = 1_000_000_000

# Reports that tell a camera's time: two can agree by chance.
MIN_REPORTS: Final = 3
MAX_REPORTS: Final = 60
# Wider than this, reports are stamped when they are sent, not when the frame was taken; FFmpeg hands times out
# in microseconds.
MAX_SPREAD_NS: Final = 50 * MS
LEAST_ERROR_NS: Final = 1 * MS


class CameraClock:
    """A camera's UTC by media time: a line through its sender reports, whose error is their spread."""

    def __init__(self) -> None:
        self._reports: deque[tuple[int, int]] = deque(maxlen=MAX_REPORTS)
        self._line = (0.0, 0.0, 0)
        self.error_ns = 0

    def add_report(self, pts_ns: int, camera_ns: int) -> None:
        """Add a report: at media time ``pts_ns`` it was ``camera_ns`` by the camera's clock."""
        self._reports.append((pts_ns, camera_ns - pts_ns))
        self._line = _fit(self._reports)
        residuals = [abs(offset - self._offset_ns(pts)) for pts, offset in self._reports]
        self.error_ns = round(max(residuals)) + LEAST_ERROR_NS

    @property
    def heard(self) -> bool:
        """Whether there is any report."""
        return bool(self._reports)

    @property
    def known(self) -> bool:
        """Whether there are enough reports, and they agree."""
        return len(self._reports) >= MIN_REPORTS and self.error_ns <= MAX_SPREAD_NS

    def time_ns(self, pts_ns: int) -> int:
        """Return the camera's time at media time ``pts_ns``."""
        return pts_ns + round(self._offset_ns(pts_ns))

    def _offset_ns(self, pts_ns: int) -> float:
        rate, middle_ns, mean_ns = self._line
        return mean_ns + rate * (pts_ns - middle_ns)


def _fit(points: Sequence[tuple[int, int]]) -> tuple[float, float, int]:
    """Return slope, middle and mean of the straight line that is nearest to ``points``; slope 0 through two."""
    first_y = points[0][1]
    middle = sum(x for x, _ in points) / len(points)
    # Differences are small; sums of nanoseconds since 1970 would lose digits.
    mean = sum(y - first_y for _, y in points) / len(points)
    square = sum((x - middle) ** 2 for x, _ in points)
    slope = 0.0
    if square and len(points) >= MIN_REPORTS:
        slope = sum((x - middle) * (y - first_y - mean) for x, y in points) / square
    return slope, middle, round(mean) + first_y


# How long a frame may take from the camera to here, beyond three periods, and how far clocks may differ.
MAX_DELAY_NS: Final = 2 * SECOND_NS
DELAY_PERIODS: Final = 3
CLOCKS_NS: Final = 50 * MS
# How long frames are looked at before the least of their delays says something; at 1 fps, that is five.
SETTLING_NS: Final = 5 * SECOND_NS
# A drift shows in the least delay, which changes by some milliseconds anyway.
DRIFT_AFTER_NS: Final = 60 * SECOND_NS
WRONG_DRIFT: Final = 250e-6
DRIFTED_NS: Final = 40 * MS


class Plausible:
    """Whether a camera's clock can be right, by when its frames arrive: never before, and not long after."""

    def __init__(self, period_ns: int) -> None:
        self.period_ns = period_ns
        self._delays = LowestOffset()
        self._began_ns: int | None = None
        self._first: tuple[int, int] | None = None
        self.settled = False

    def contradiction(
        self, camera_ns: int, arrived_ns: int, error_ns: int, jitter_ns: int = 0
    ) -> str | None:
        """Return what is wrong with the camera's clock, such as "37 s behind"; None if nothing is."""
        if self._began_ns is None:
            self._began_ns = arrived_ns
        self._delays.add(arrived_ns, arrived_ns - camera_ns, FLOOR_NS)
        self.settled = arrived_ns - self._began_ns >= SETTLING_NS
        least_ns = self._delays.lowest_ns
        if least_ns < -(CLOCKS_NS + error_ns):
            return f"{duration(-least_ns)} ahead"
        if not self.settled:
            return None
        if least_ns > MAX_DELAY_NS + DELAY_PERIODS * self.period_ns + jitter_ns:
            return f"{duration(least_ns)} behind"
        return self._drift(arrived_ns, least_ns)

    def _drift(self, arrived_ns: int, least_ns: int) -> str | None:
        if self._first is None:
            self._first = (arrived_ns, least_ns)
        elapsed_ns, gained_ns = arrived_ns - self._first[0], self._first[1] - least_ns
        drifted = abs(gained_ns) > max(DRIFTED_NS, WRONG_DRIFT * elapsed_ns)
        if elapsed_ns < DRIFT_AFTER_NS or not drifted:
            return None
        word = "fast" if gained_ns > 0 else "slow"
        return f"too {word} by {abs(gained_ns) / elapsed_ns * 1e6:.0f} ppm"


def duration(ns: int) -> str:
    """Return a time for people, such as "37 s"."""
    seconds = ns / SECOND_NS
    if seconds < 1:
        return f"{ns / MS:.0f} ms"
    return f"{seconds:.0f} s" if seconds < 86_400 else f"{seconds / 86_400:.0f} days"
