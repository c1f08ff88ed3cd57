"""Which pairs of several pipelines belong together, and how long one that is late is waited for."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Head:
    """A pipeline's oldest pair that waits: its window, how many wait with it, whether none may be lost."""

    window: int
    queued: int = 1
    lossless: bool = False


@dataclass(frozen=True, slots=True)
class Turn:
    """Take the pairs of the pipelines ``taken``: they make up ``window``, or came too late (``late``)."""

    window: int
    taken: tuple[int, ...]
    late: bool = False


class Joiner:
    """Joins pipelines, numbered from 0 on, window by window; each window has one turn at most, in order.

    A window's turn comes when no pipeline can have an older pair: each one has a pair that waits, or has
    ended. A pipeline without a pair is waited for until the others' have waited ``wait_s``, or ``room`` of
    one of them wait; from then on it is away, and no window waits for it until it has a pair that is not more
    than ``room`` windows late. Where no pair may be lost it is waited for without limit. Time is an argument.
    """

    def __init__(self, pipelines: int, room: int, wait_s: float) -> None:
        self._pipelines = frozenset(range(pipelines))
        self._room = room
        self._wait_s = wait_s
        self._away: set[int] = set()
        self._since_s: float | None = None
        self._former = -1

    def turn(
        self, heads: Sequence[Head | None], ended: Collection[int], now_s: float
    ) -> Turn | None:
        """Return what to take of ``heads``, one for each pipeline (None: no pair waits); None: wait."""
        there = {number: head for number, head in enumerate(heads) if head is not None}
        late = tuple(number for number, head in there.items() if head.window <= self._former)
        if late:
            # One whose pairs always come a little later than the others' would never be back otherwise.
            near = self._former - self._room
            self._away -= {number for number in late if there[number].window > near}
            return Turn(self._former, late, late=True)
        if not there:
            self._since_s = None
            return None
        self._away -= there.keys()
        awaited = self._pipelines - there.keys() - self._away - set(ended)
        if awaited and not self._has_waited(there, now_s):
            return None
        self._away |= awaited
        self._since_s = None
        self._former = min(head.window for head in there.values())
        first = (number for number, head in there.items() if head.window == self._former)
        return Turn(self._former, tuple(first))

    def _has_waited(self, there: Mapping[int, Head], now_s: float) -> bool:
        """Return whether the pairs that are there have waited long enough for the others."""
        if any(head.lossless for head in there.values()):
            return False
        if self._since_s is None:
            self._since_s = now_s
        full = any(head.queued >= self._room for head in there.values())
        return full or now_s - self._since_s >= self._wait_s
