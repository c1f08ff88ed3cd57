"""Media time of a live stream as a clock: its zero is where the frames with the least delay put it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final, Literal

SECOND_NS: Final = 1_000_000_000

Grade = Literal["camera", "media", "arrival"]

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
        self.beginnings = 0
        """How often media time began anew, the first time included."""

    @property
    def jitter_ns(self) -> int:
        """How far frames are late in comparison with each other, as far as was seen; 0 before the first."""
        return self._seen.jitter_ns if self._seen else 0

    def place(self, pts_ns: int, arrived_ns: int) -> Time:
        """Return the time of a frame, in the order of showing."""
        if self._seen is None or self._has_begun_anew(self._seen, pts_ns, arrived_ns):
            self._seen = _Seen(pts_ns, arrived_ns, self.period_ns)
            self.beginnings += 1
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
