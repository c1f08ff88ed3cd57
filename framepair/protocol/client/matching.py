"""Which frames of several sources belong together: those that are nearest to each other in capture time.

Pure: a matcher is told windows of frames, and says which of them match.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar("Item")
Frames = Mapping[str, Sequence[tuple[int, Item]]]


@dataclass(slots=True)
class _Entry(Generic[Item]):
    item: Item
    used: bool = False


class _Track(Generic[Item]):
    """The frames of one source that still matter, in order of capture."""

    def __init__(self) -> None:
        self.stamps: list[int] = []
        self.entries: list[_Entry[Item]] = []

    def add(self, frames: Sequence[tuple[int, Item]]) -> None:
        """Add frames that were captured after all others."""
        for stamp, item in frames:
            self.stamps.append(stamp)
            self.entries.append(_Entry(item))

    def nearest(self, stamp: int) -> int | None:
        """Return the index of the frame nearest to ``stamp``; of several, the earliest."""
        after = bisect_left(self.stamps, stamp)
        if after == 0:
            return 0 if self.stamps else None
        before = self.last_before(after)
        if after < len(self.stamps) and self.stamps[after] - stamp < stamp - self.stamps[before]:
            return after
        return before

    def last_before(self, index: int) -> int:
        """Return the first of the frames with the same stamp as the one before ``index``."""
        return bisect_left(self.stamps, self.stamps[index - 1]) if index else 0

    def forget_before(self, stamp: float) -> list[_Entry[Item]]:
        """Remove the frames that are not nearest to any time from ``stamp`` on, and return them."""
        count = self.last_before(bisect_left(self.stamps, stamp))
        gone = self.entries[:count]
        del self.entries[:count], self.stamps[:count]
        return gone


class Matcher(Generic[Item]):
    """Finds, for each frame of ``reference``, the frames of all ``others`` that match it.

    A frame matches if it is the nearest of its source to the reference frame, the reference frame is the
    nearest to it, and they are at most ``within_ns`` apart; of frames that are equally near, the earlier one
    counts. A reference frame that lacks one of the others has no match at all. So each frame is in one match at
    most, and matches come in order. Frames without a match are added to ``unmatched``, by source.
    """

    def __init__(
        self, reference: str, others: Sequence[str], within_ns: int, unmatched: Counter[str]
    ) -> None:
        self._reference = reference
        self._within_ns = within_ns
        self._unmatched = unmatched
        self._unmatched.update(dict.fromkeys((reference, *others), 0))
        self._wanted: _Track[Item] = _Track()
        self._others: dict[str, _Track[Item]] = {source: _Track() for source in others}
        # How many of the wanted frames are decided: they stay as long as others may be nearest to them.
        self._decided = 0
        self._end_ns: float = -math.inf

    def add_window(self, frames: Frames[Item], start_ns: int, end_ns: int) -> list[dict[str, Item]]:
        """Return the matches that are certain now that all frames from ``start_ns`` to ``end_ns`` are known.

        ``frames`` has (capture time, item) for each source, in order. A window that begins before the end of
        the one before is of another time: nothing of it matches what was before.
        """
        found = self.end() if start_ns < self._end_ns else []
        self._wanted.add(frames.get(self._reference, ()))
        for source, track in self._others.items():
            track.add(frames.get(source, ()))
        self._end_ns = end_ns
        found += self._decide()
        self._forget()
        return found

    def end(self) -> list[dict[str, Item]]:
        """Return the matches that are left, as no more frames come; what is added after that is apart."""
        self._end_ns = math.inf
        found = list(self._decide())
        self._forget()
        self._end_ns = -math.inf
        self._wanted, self._decided = _Track(), 0
        for source, track in self._others.items():
            self._count(source, track.entries)
            self._others[source] = _Track()
        return found

    def replace_undecided(self, change: Callable[[Item], Item]) -> None:
        """Put ``change`` of an item in its place, for each frame that may still be in a match."""
        for entry in self._undecided():
            entry.item = change(entry.item)

    def _decide(self) -> Iterator[dict[str, Item]]:
        while self._decided < len(self._wanted.stamps):
            partners = self._partners(self._decided)
            if partners is None:
                return
            wanted = self._wanted.entries[self._decided]
            self._decided += 1
            if len(partners) < len(self._others):
                self._unmatched[self._reference] += 1
                continue
            for entry in partners.values():
                entry.used = True
            others = {source: entry.item for source, entry in partners.items()}
            yield {self._reference: wanted.item, **others}

    def _partners(self, index: int) -> dict[str, _Entry[Item]] | None:
        """Return what matches a wanted frame, fewer than all if it has no match; None: not known yet."""
        partners: dict[str, _Entry[Item]] = {}
        all_certain = True
        for source, track in self._others.items():
            certain, partner = self._partner(index, track)
            if certain and partner is None:
                return {}
            all_certain = all_certain and certain
            if partner is not None:
                partners[source] = partner
        return partners if all_certain else None

    def _partner(self, index: int, track: _Track[Item]) -> tuple[bool, _Entry[Item] | None]:
        """Return whether it is certain what matches a wanted frame, and the frame of ``track`` that does."""
        stamp = self._wanted.stamps[index]
        nearest = track.nearest(stamp)
        distance = abs(track.stamps[nearest] - stamp) if nearest is not None else math.inf
        if not self._certain(stamp, distance):
            return False, None
        if nearest is None or distance > self._within_ns:
            return True, None
        if self._wanted.nearest(track.stamps[nearest]) != index:
            return True, None
        return self._certain(track.stamps[nearest], distance), track.entries[nearest]

    def _certain(self, stamp: int, distance: float) -> bool:
        """Return whether no frame that is still to come can be nearer to ``stamp``, and near enough."""
        to_come = self._end_ns - stamp
        return distance <= to_come or self._within_ns < to_come

    @property
    def _open_ns(self) -> float:
        """From when on frames may still be in a match, as reference."""
        open_ = self._wanted.stamps[self._decided :]
        return open_[0] if open_ else self._end_ns

    def _undecided(self) -> Iterator[_Entry[Item]]:
        yield from self._wanted.entries[self._decided :]
        for track in self._others.values():
            first = bisect_left(track.stamps, self._open_ns - self._within_ns)
            for stamp, entry in zip(track.stamps[first:], track.entries[first:], strict=True):
                if not entry.used and not self._is_lost(stamp):
                    yield entry

    def _is_lost(self, stamp: int) -> bool:
        """Return whether the wanted frame nearest to ``stamp`` is certain, and has been decided."""
        nearest = self._wanted.nearest(stamp)
        if nearest is None or nearest >= self._decided:
            return False
        return self._certain(stamp, abs(self._wanted.stamps[nearest] - stamp))

    def _forget(self) -> None:
        """Remove what no frame from ``_open_ns`` on can be compared with."""
        open_ns = self._open_ns
        for source, track in self._others.items():
            self._count(source, track.forget_before(open_ns))
        self._decided -= len(self._wanted.forget_before(open_ns - self._within_ns))

    def _count(self, source: str, entries: Sequence[_Entry[Item]]) -> None:
        self._unmatched[source] += sum(not entry.used for entry in entries)
