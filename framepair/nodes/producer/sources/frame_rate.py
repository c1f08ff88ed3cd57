"""How fast a live stream really sends: what it says of that may be anything."""

from __future__ import annotations

import itertools
from collections import deque
from typing import Final

SECOND_NS: Final = 1_000_000_000
# So many gaps tell the rate; of a slow stream fewer, over so long.
MEASURED_GAPS: Final = 50
SLOW_GAPS: Final = 5
SLOW_NS: Final = 10 * SECOND_NS
# A rate is right if frames come about as fast.
TOLERANCE: Final = 0.1


class FrameRate:
    """Frames a second: what the stream says, until its frames are seen to come at another rate.

    By media time, the gap in the middle counts, so that lost frames do not, if the mean gap is wrong too, so
    that jitter does not; ``by_arrival``, the mean gap alone, since frames come in lumps.
    """

    def __init__(self, named: float, *, by_arrival: bool = False) -> None:
        self.fps = named
        self._by_arrival = by_arrival
        self._times: deque[int] = deque(maxlen=MEASURED_GAPS + 1)
        self._new = 0
        self._former = 0.0

    @property
    def least_gap_ns(self) -> int | None:
        """The least time between two frames of late, None before there are two."""
        return min(self._gaps(), default=None)

    def add_frame(self, at_ns: int) -> bool:
        """Add a frame; return whether ``fps`` is another one now."""
        if self._times and at_ns <= self._times[-1]:
            # Media time that begins anew.
            self._times.clear()
        self._times.append(at_ns)
        self._new += 1
        if not self._is_time():
            return False
        self._new = 0
        measured = self._measured()
        former, self._former = self._former, measured[0]
        changed = not any(_agree(fps, self.fps) for fps in measured)
        # Seen twice: a camera that was held up itself may send a burst.
        if not (changed and _agree(former, measured[0])):
            return False
        self.fps = measured[0]
        return True

    def _is_time(self) -> bool:
        gaps, seen_ns = len(self._times) - 1, self._times[-1] - self._times[0]
        enough = gaps >= MEASURED_GAPS or (gaps >= SLOW_GAPS and seen_ns >= SLOW_NS)
        return enough and self._new >= gaps

    def _measured(self) -> list[float]:
        """Return the rates that frames may have been coming at, the best first."""
        gaps = sorted(self._gaps())
        # The shorter one of the two in the middle: memory for many frames is better than for few.
        middle_ns = gaps[(len(gaps) - 1) // 2]
        mean_ns = sum(gaps) / len(gaps)
        return [SECOND_NS / each for each in ([] if self._by_arrival else [middle_ns]) + [mean_ns]]

    def _gaps(self) -> list[int]:
        return [late - early for early, late in itertools.pairwise(self._times)]


def _agree(fps: float, other: float) -> bool:
    return abs(fps / other - 1) <= TOLERANCE
