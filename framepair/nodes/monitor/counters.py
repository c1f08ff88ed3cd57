"""What became of one source's frames: counters that begin at 0 with this monitor and never go back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Final

from framepair.protocol.wire.pair import Totals

LATE: Final = "late"


class FrameCounters:
    """Counts one source's frames from what the combiner's totals, and this monitor's own losses, grow by.

    ``totals`` are over all combiners one after another; what the first ones say is of before this monitor.
    The reason for a lost frame may still change while its window is open, and the frame may come after all. So
    a loss is counted once it has been announced twice: its window is closed by then. A later change of its
    reason moves nothing, so that no counter goes back; the sum over all reasons is that of the totals.
    """

    def __init__(self, first: Totals, own: Mapping[str, int]) -> None:
        self.captured = self.paired = self.reopened = self.restarts = 0
        self.lost: Counter[str] = Counter()
        self._first = first
        self._first_lost = self._announced = losses(first, own)
        self._first_paired = first.paired - sum(own.values())

    def update(self, totals: Totals, own: Mapping[str, int], *, final: bool = False) -> None:
        """Count up to ``totals``, of which ``own`` frames were lost on their way to this monitor, by reason.

        ``final``: no window is open any more.
        """
        first, announced = self._first, losses(totals, own)
        self.captured = max(self.captured, totals.captured - first.captured)
        paired = totals.paired - sum(own.values())
        self.paired = max(self.paired, paired - self._first_paired)
        self.reopened = max(self.reopened, totals.reopened - first.reopened)
        self.restarts = max(self.restarts, restarts(totals) - restarts(first))
        self._settle(announced if final else announced & self._announced)
        self._announced = announced

    def _settle(self, settled: Counter[str]) -> None:
        """Count the losses in ``settled``, each frame once, whatever reason was counted for it before."""
        room = settled.total() - self._first_lost.total() - self.lost.total()
        for reason, count in settled.items():
            more = min(room, count - self._first_lost[reason] - self.lost[reason])
            if more > 0:
                self.lost[reason] += more
                room -= more


def losses(totals: Totals, own: Mapping[str, int]) -> Counter[str]:
    """Return how many frames are in no pair that this monitor heard of, by reason."""
    return Counter(totals.dropped) + Counter(own) + Counter({LATE: totals.late})


def restarts(totals: Totals) -> int:
    """Return how often a producer took the place of one before."""
    return max(0, totals.runs - 1 - totals.restamped)
