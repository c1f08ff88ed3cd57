"""Capture times of a live stream's frames, in grades: by the camera's clock, by media time, by arrival.

A stream says when a frame was taken in its own media time (``pts``), whose zero is unknown. Two things tell
where that is: the frames that came with the least delay (``MediaFloor``), and a camera's sender reports, which
pair media time with the camera's UTC (``CameraClock``). ``LiveTimes`` decides which one stamps frames.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

MS: Final = 1_000_000
SECOND_NS: Final = 1_000_000_000

Grade = Literal["camera", "media", "arrival"]
GRADES: Final[dict[str, Grade]] = {"camera": "camera", "media": "media", "arrival": "arrival"}

# So many frames find the floor. Later ones may move it, as slowly as a bad oscillator does.
FLOOR_FRAMES: Final = 60
MAX_DRIFT: Final = 1000e-6
# The floor is looked for among frames of so long; streams that come in lumps need ten of these to begin with.
FLOOR_NS: Final = 10 * SECOND_NS
FLOOR_GAPS: Final = 10
# A client of HLS asks at intervals of its own, so that lumps come later and later, by half of one at most, till
# it asks in time again: where lumps are that long, the floor only follows what is more than that.
LUMP_NS: Final = SECOND_NS // 2
LUMP_SHARE: Final = 2
# How far the first frame may be late, for all that is known of it.
FIRST_JITTER_NS: Final = 2 * SECOND_NS
# Media time that goes on by this much more than the clock does has begun anew.
MAX_JUMP_NS: Final = SECOND_NS


@dataclass(frozen=True, slots=True)
class Time:
    """When a frame was captured, how that is known, and how far it may be wrong; nanoseconds."""

    captured_ns: int
    grade: Grade
    uncertainty_ns: int


class LowestOffset:
    """The least (arrival - media time) among the frames of the last while, and how far they spread."""

    def __init__(self) -> None:
        # Offsets that are lower than all later ones are never the lowest again.
        self._rising: deque[tuple[int, int]] = deque()
        self._high: deque[tuple[int, int]] = deque()

    def add(self, at_ns: int, offset_ns: int, keep_ns: int) -> None:
        """Add a frame's offset, and forget those from before ``at_ns - keep_ns``."""
        while self._rising and self._rising[-1][1] >= offset_ns:
            self._rising.pop()
        while self._high and self._high[-1][1] <= offset_ns:
            self._high.pop()
        for kept in (self._rising, self._high):
            kept.append((at_ns, offset_ns))
            while kept[0][0] < at_ns - keep_ns:
                kept.popleft()

    @property
    def lowest_ns(self) -> int:
        """The least offset."""
        return self._rising[0][1]

    @property
    def spread_ns(self) -> int:
        """The greatest offset less the least one."""
        return self._high[0][1] - self._rising[0][1]


class MediaFloor:
    """Stamps by media time: frames are as far apart as the stream says, on the floor of their arrivals.

    Jitter and lumps only make frames later, so that they do not show; the least delay stays in the stamps. The
    floor is found among the first 60 frames, of a stream that comes in lumps among the first ten of these;
    then it follows the least offset lately, by 1000 ppm at most. With much jitter 60 frames do not show the
    least delay: at 25 fps and 0 to 200 ms, the floor still sinks by 20 ms afterwards.
    """

    def __init__(self, period_ns: int) -> None:
        self.period_ns = period_ns
        self._seen: _Seen | None = None

    def place(self, pts_ns: int, arrived_ns: int) -> Time:
        """Return the time of a frame, in the order of showing."""
        if self._seen is None or self._has_begun_anew(self._seen, pts_ns, arrived_ns):
            self._seen = _Seen(pts_ns, arrived_ns, self.period_ns)
        floor_ns = self._seen.add(pts_ns, arrived_ns)
        return Time(pts_ns + floor_ns, "media", self.period_ns + self._seen.jitter_ns)

    def _has_begun_anew(self, seen: _Seen, pts_ns: int, arrived_ns: int) -> bool:
        ahead_ns = pts_ns - seen.newest_ns
        waited_ns = arrived_ns - seen.arrived_ns
        return ahead_ns < 0 or ahead_ns > waited_ns + seen.backlog_ns + MAX_JUMP_NS


class _Seen:
    """What was seen of a stream since its media time began."""

    def __init__(self, pts_ns: int, arrived_ns: int, period_ns: int) -> None:
        self._first = (pts_ns, arrived_ns)
        self._period_ns = period_ns
        self._slack_ns = 0
        self._offsets = LowestOffset()
        self._count = 0
        self._longest_gap_ns = 0
        self._found = False
        self._floor_ns = 0
        self._jitter_ns = 0
        self.newest_ns, self.arrived_ns = pts_ns, arrived_ns

    @property
    def backlog_ns(self) -> int:
        """How much media time was still on its way when the newest frame came."""
        return self.arrived_ns - self.newest_ns - self._offsets.lowest_ns

    @property
    def jitter_ns(self) -> int:
        """How far offsets spread while the floor was found, and how far it is off now.

        While it is looked for, they may spread more than was seen: of one frame, nothing is known.
        """
        unseen_ns = 0 if self._found else FIRST_JITTER_NS // self._count
        return self._jitter_ns + abs(self._floor_ns - self._offsets.lowest_ns) + unseen_ns

    def add(self, pts_ns: int, arrived_ns: int) -> int:
        """Add a frame; return the floor."""
        elapsed_ns = arrived_ns - self.arrived_ns
        self.newest_ns, self.arrived_ns = pts_ns, arrived_ns
        self._count += 1
        self._longest_gap_ns = max(elapsed_ns, self._longest_gap_ns)
        keep_ns = max(FLOOR_NS, FLOOR_GAPS * self._longest_gap_ns)
        self._offsets.add(arrived_ns, arrived_ns - pts_ns, keep_ns)
        if self._found:
            self._follow(round(MAX_DRIFT * elapsed_ns))
        else:
            lowest_ns = self._offsets.lowest_ns
            self._floor_ns = lowest_ns if self._count == 1 else min(self._floor_ns, lowest_ns)
            self._jitter_ns = self._offsets.spread_ns
            self._found = self._shows_floor()
            if self._found and self._longest_gap_ns >= max(LUMP_NS, 2 * self._period_ns):
                self._slack_ns = self._longest_gap_ns // LUMP_SHARE
        return self._floor_ns

    def _follow(self, most_ns: int) -> None:
        """Follow the least offset by ``most_ns`` at most."""
        away_ns = self._offsets.lowest_ns - self._floor_ns
        if abs(away_ns) > self._slack_ns:
            self._floor_ns += max(-most_ns, min(most_ns, away_ns))

    def _shows_floor(self) -> bool:
        """Return whether there are enough frames: not of one lump, nor what piled up before the first."""
        shown_ns, passed_ns = self.newest_ns - self._first[0], self.arrived_ns - self._first[1]
        as_they_come = passed_ns >= max(shown_ns // 2, FLOOR_GAPS * self._longest_gap_ns)
        return self._count >= FLOOR_FRAMES and as_they_come


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
REPORT_WAIT_NS: Final = 10 * SECOND_NS


class Plausible:
    """Whether a camera's clock can be right, by when its frames arrive: never before, and not long after."""

    def __init__(self, period_ns: int) -> None:
        self.period_ns = period_ns
        self._delays = LowestOffset()
        self._began_ns: int | None = None
        self._first: tuple[int, int] | None = None
        self.settled = False

    def contradiction(self, camera_ns: int, arrived_ns: int, error_ns: int) -> str | None:
        """Return what is wrong with the camera's clock, such as "37 s behind"; None if nothing is."""
        if self._began_ns is None:
            self._began_ns = arrived_ns
        self._delays.add(arrived_ns, arrived_ns - camera_ns, FLOOR_NS)
        self.settled = arrived_ns - self._began_ns >= SETTLING_NS
        least_ns = self._delays.lowest_ns
        if least_ns < -(CLOCKS_NS + error_ns):
            return f"{_duration(-least_ns)} ahead"
        if not self.settled:
            return None
        if least_ns > MAX_DELAY_NS + DELAY_PERIODS * self.period_ns:
            return f"{_duration(least_ns)} behind"
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


class LiveTimes:
    """Times of a stream's frames in the order of showing, by the best of the clocks that can be trusted.

    Where the grade changes, the caller begins a new run: within a grade, times strictly increase. It gets
    better once, when the camera's clock has proved itself, and worse once, if that goes wrong later. ``say``
    is called with each thing that a user should know. ``best`` is the best grade that may be used; ``by_hand``,
    the camera's clock is used from its first report on, whatever it says.
    """

    def __init__(
        self,
        period_ns: int,
        *,
        best: Grade = "camera",
        by_hand: bool = False,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._best, self._by_hand, self._say = best, by_hand, say
        self._floor = MediaFloor(period_ns)
        self._camera, self._plausible = CameraClock(), Plausible(period_ns)
        self._wrong = self._missed = self._used = False
        self._began_ns: int | None = None
        self._last: Time | None = None

    def add_report(self, pts_ns: int, camera_ns: int) -> None:
        """Add a sender report: at media time ``pts_ns`` it was ``camera_ns`` by the camera's clock."""
        self._camera.add_report(pts_ns, camera_ns)

    def set_period(self, period_ns: int) -> None:
        """Count on frames that come every ``period_ns``."""
        self._floor.period_ns = self._plausible.period_ns = period_ns

    def place(self, pts_ns: int | None, arrived_ns: int) -> Time:
        """Return the time of the next frame, which came at ``arrived_ns``."""
        found, last = self._place(pts_ns, arrived_ns), self._last
        behind_ns = 0
        if last is not None and last.grade == found.grade:
            behind_ns = max(0, last.captured_ns + 1 - found.captured_ns)
        self._last = Time(
            found.captured_ns + behind_ns, found.grade, found.uncertainty_ns + behind_ns
        )
        return self._last

    def _place(self, pts_ns: int | None, arrived_ns: int) -> Time:
        if pts_ns is None or self._best == "arrival":
            return Time(arrived_ns, "arrival", 0)
        media = self._floor.place(pts_ns, arrived_ns)
        by_camera = None if self._best == "media" else self._by_camera(pts_ns, arrived_ns)
        return by_camera or media

    def _by_camera(self, pts_ns: int, arrived_ns: int) -> Time | None:
        """Return the time by the camera's clock, None if that can't be trusted."""
        self._note_missing_reports(arrived_ns)
        if self._wrong or not self._camera.heard:
            return None
        camera_ns, error_ns = self._camera.time_ns(pts_ns), self._camera.error_ns
        by_camera = Time(camera_ns, "camera", error_ns)
        if self._by_hand:
            return by_camera
        wrong = self._plausible.contradiction(camera_ns, arrived_ns, error_ns)
        if self._used and not self._camera.known:
            wrong = f"unsteady by {_duration(error_ns)}"
        if wrong:
            self._wrong = True
            self._say(f"clock is {wrong}: pairing by media time")
            return None
        self._used = self._used or (self._plausible.settled and self._camera.known)
        return by_camera if self._used else None

    def _note_missing_reports(self, arrived_ns: int) -> None:
        if self._began_ns is None:
            self._began_ns = arrived_ns
        late = arrived_ns - self._began_ns > REPORT_WAIT_NS
        if late and not self._missed and not self._camera.heard:
            self._missed = True
            self._say("clock is not known, 10 s after the first frame: pairing by media time")


def _duration(ns: int) -> str:
    seconds = ns / SECOND_NS
    if seconds < 1:
        return f"{ns / MS:.0f} ms"
    return f"{seconds:.0f} s" if seconds < 86_400 else f"{seconds / 86_400:.0f} days"
