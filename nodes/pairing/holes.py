"""Holes in the seq of one run: which frames never came, and when they may have been captured."""

from __future__ import annotations

from dataclasses import dataclass

from protocol.frame import FrameHeader

# So many holes may still be filled by frames that come out of order; of older ones only the time is kept.
MAX_HOLES = 1024


@dataclass(frozen=True, slots=True)
class Times:
    """When the frames of a hole were captured: some time in [from_ns, until_ns).

    To tell how many of them are in which window they are taken to be spread evenly between
    ``spread_from_ns`` and ``spread_to_ns``.
    """

    from_ns: int = 0
    until_ns: int = 0
    spread_from_ns: int = 0
    spread_to_ns: int = 0


@dataclass(frozen=True, slots=True)
class Hole:
    """Frames ``first`` to ``end`` (exclusive) never came; ``before`` and ``after`` them did, unless None."""

    first: int
    end: int
    before: FrameHeader | None
    after: FrameHeader | None
    times: Times

    @classmethod
    def between(
        cls, first: int, end: int, before: FrameHeader | None, after: FrameHeader | None
    ) -> Hole:
        """Return the hole from ``first`` to ``end``, as far as the frames around it place it in time."""
        return cls(first, end, before, after, _times(end - first, before, after))

    def touches(self, start_ns: int, end_ns: int) -> bool:
        """Return whether any of the frames may have been captured in [start_ns, end_ns)."""
        return self.times.from_ns < end_ns and self.times.until_ns > start_ns

    def count_in(self, start_ns: int, end_ns: int) -> int:
        """Return how many of the frames fall in [start_ns, end_ns), if they are spread evenly."""
        return self._count_before(end_ns) - self._count_before(start_ns)

    def _count_before(self, limit_ns: int) -> int:
        count, times = self.end - self.first, self.times
        spread_ns = max(1, times.spread_to_ns - times.spread_from_ns)
        share = ((limit_ns - times.spread_from_ns) * (count + 1) - 1) // spread_ns
        return min(count, max(0, share))


class Holes:
    """The holes of one run, in order of seq."""

    def __init__(self) -> None:
        self._holes: list[Hole] = []
        self._forgotten_until_ns = 0

    @property
    def until_ns(self) -> int:
        """The time before which all that never came was captured."""
        return max([self._forgotten_until_ns, *(hole.times.until_ns for hole in self._holes)])

    def extend(
        self, first: int, end: int, before: FrameHeader | None, after: FrameHeader | None
    ) -> int:
        """Note that ``first`` to ``end`` (exclusive) did not come, and what came around them.

        A hole that ends at ``first`` becomes one with this. Return how many frames the hole now has.
        """
        if self._holes and self._holes[-1].end == first:
            adjacent = self._holes.pop()
            first, before = adjacent.first, adjacent.before
        if first < end:
            self._holes.append(Hole.between(first, end, before, after))
        if len(self._holes) > MAX_HOLES:
            oldest = self._holes.pop(0)
            self._forgotten_until_ns = max(self._forgotten_until_ns, oldest.times.until_ns)
        return end - first

    def fill(self, header: FrameHeader) -> bool:
        """Take a frame out of the hole that it was missing in; return False if there is none."""
        for i, hole in enumerate(self._holes):
            if hole.first <= header.seq < hole.end:
                rest = (
                    Hole.between(hole.first, header.seq, hole.before, header),
                    Hole.between(header.seq + 1, hole.end, header, hole.after),
                )
                self._holes[i : i + 1] = [hole for hole in rest if hole.first < hole.end]
                return True
        return False

    def touching(self, start_ns: int, end_ns: int) -> list[Hole]:
        """Return the holes of which any frame may have been captured in [start_ns, end_ns)."""
        return [hole for hole in self._holes if hole.touches(start_ns, end_ns)]

    def forgot(self, start_ns: int) -> bool:
        """Return whether a hole that is forgotten may reach beyond ``start_ns``."""
        return self._forgotten_until_ns > start_ns


def _times(count: int, before: FrameHeader | None, after: FrameHeader | None) -> Times:
    if before is None:
        return _times_of_start(count, after) if after else Times()
    before_ns = before.captured_ns
    after_ns = after.captured_ns if after else before_ns + (count + 1) * before.period_ns
    if before.next_ns < after_ns:
        return Times(before.next_ns, after_ns, before_ns, after_ns)
    # The promise was not kept, so it says nothing.
    earlier_ns, later_ns = sorted((before_ns, after_ns))
    return Times(earlier_ns, later_ns + 1, earlier_ns, later_ns)


def _times_of_start(count: int, after: FrameHeader) -> Times:
    """Return when the first frames of a run were captured: frames of a source keep their distance."""
    distance_ns = min(after.period_ns, after.next_ns - after.captured_ns)
    return Times(
        from_ns=0,
        until_ns=after.captured_ns - distance_ns + 1,
        spread_from_ns=after.captured_ns - (count + 1) * after.period_ns,
        spread_to_ns=after.captured_ns,
    )
