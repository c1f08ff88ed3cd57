"""What a pair's pace means to its consumer: whether it may be lost, and what its times are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from framepair.protocol.wire import frame


@dataclass(frozen=True, slots=True)
class Pace:
    """The rules of one ``--pace``."""

    lossless: bool
    """Whether the pipeline waits for a consumer that is behind; else the oldest pairs are dropped."""

    timed: bool
    """Whether frames are stamped by a clock, so that lags mean something; else by the time of its video."""

    def lag_ns(self, captured_ns: int, ready_ns: int) -> int:
        """Return how long a frame took from its capture until it was here, 0 if no clock says so."""
        return ready_ns - captured_ns if self.timed else 0


REAL_TIME: Final = Pace(lossless=False, timed=True)
OFFLINE: Final = Pace(lossless=True, timed=False)
_PACES: Final[dict[frame.Pace, Pace]] = {"realtime": REAL_TIME, "max": OFFLINE}


def named(name: frame.Pace) -> Pace:
    """Return the rules of the pace that a pair's header names."""
    return _PACES[name]
