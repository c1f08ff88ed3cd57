"""Which frames of a source came, which are missing, and why: bookkeeping by run and seq."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from framepair.protocol.wire.frame import Alive, FrameHeader, SourceEnd
from framepair.protocol.wire.header import MAX_INT
from framepair.protocol.wire.pair import Progress
from framepair.protocol.wire.reasons import BEFORE_COMBINER, PRODUCER_DROPPED, RIVAL, TRANSPORT

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


# So many producers' runs are told apart; those silent for longest are summed up and forgotten.
MAX_RUNS = 64
# A century at 240 frames a second. A seq further ahead than that is wrong, and would spoil all counts.
MAX_LOST = 10**12


@dataclass(slots=True)
class _Run:
    """One start of a producer: every seq below ``next_seq`` either came or is ``missing``.

    ``unseen`` of those before ``seen_from`` went to a former combiner, if there was one.
    """

    seen_from: int = 0
    unseen: int = 0
    next_seq: int = 0
    missing: int = 0
    producer_dropped: int = 0
    reopened: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    explained: Counter[str] = field(default_factory=Counter)
    holes: Holes = field(default_factory=Holes)
    newest: FrameHeader | None = None

    def lose(self, until_seq: int, after: FrameHeader | None) -> int:
        """Note that nothing below ``until_seq`` will come any more, but what came already.

        Return how many frames are missing in a row before ``until_seq``.
        """
        first, end = self.next_seq, max(self.next_seq, until_seq)
        self.missing += end - first
        self.next_seq = end
        return self.holes.extend(first, end, self.newest, after)

    def fill(self, header: FrameHeader) -> bool:
        """Take a frame that was given up; return False if it wasn't missing."""
        if not self.holes.fill(header):
            return False
        self.missing -= 1
        if header.seq < self.seen_from:
            self.unseen = max(0, self.unseen - 1)
        return True

    def add_reasons(self, total: Counter[str]) -> None:
        """Add to ``total`` why frames are missing: what is known for sure, ``transport`` for the rest."""
        rest = self.missing
        if not rest:  # As in most runs, and it is asked for each pair.
            return
        for reason, count in [
            (PRODUCER_DROPPED, self.producer_dropped),
            *self.refused.items(),
            (BEFORE_COMBINER, self.unseen),
            *self.explained.items(),
            (TRANSPORT, rest),
        ]:
            total[reason] += min(count, rest)
            rest -= min(count, rest)


@dataclass(frozen=True, slots=True)
class Continuation:
    """What the run and seq of a message say.

    ``new``: it makes sense and did not come before. ``lost`` frames right before it are missing.
    ``begins``: no frame of its run came before. ``filled``: it had been given up.
    """

    new: bool
    lost: int = 0
    begins: bool = False
    filled: bool = False


class Continuity:
    """The runs of one source, and what their holes are put down to."""

    def __init__(self) -> None:
        self._runs: dict[int, _Run] = {}
        self._unexplained: Counter[str] = Counter()
        self._forgotten: Counter[str] = Counter()
        self._forgotten_until_ns = 0
        self._forgotten_reopened = 0
        self._rival: tuple[int, int] = 0, 0
        self.captured = 0
        self.runs = 0
        self.began: Progress | None = None

    @property
    def reached(self) -> Progress | None:
        """How far the run that was heard of last has come."""
        if not self._runs:
            return None
        number, run = next(reversed(self._runs.items()))
        dropped = min(run.producer_dropped, run.next_seq)
        return Progress(number, run.next_seq, dropped, run.reopened)

    @property
    def reopened(self) -> int:
        """How often producers opened their source again, as far as a header can say it."""
        reopened = sum(run.reopened for run in self._runs.values())
        return min(MAX_INT, self._forgotten_reopened + reopened)

    def ahead(self, message: FrameHeader | Alive | SourceEnd) -> int:
        """Return how many frames ``message`` is ahead of what was heard of its run."""
        run = self._runs.get(message.run)
        return message.seq - (run.next_seq if run else 0)

    def frame(self, header: FrameHeader) -> Continuation:
        """Note a frame; it is new if no frame with its run and seq came before."""
        run = self._use(header.run, header.seq, header.dropped)
        if run is None:
            return Continuation(new=False)
        if header.seq < run.next_seq:
            filled = run.fill(header)
            return Continuation(new=filled, filled=filled)
        run.reopened = max(run.reopened, header.reopened)
        begins = run.newest is None
        self.captured += header.seq + 1 - run.next_seq
        lost = run.lose(header.seq, header)
        run.newest = header
        run.next_seq += 1
        return Continuation(new=True, lost=lost, begins=begins)

    def refuse(self, header: FrameHeader, reason: str) -> Continuation:
        """Note a frame that came and is of no use: it is missing because of ``reason``."""
        run = self._use(header.run, header.seq, header.dropped)
        if run is None or header.seq < run.next_seq:
            return Continuation(new=False)
        self.captured += header.seq + 1 - run.next_seq
        run.lose(header.seq + 1, None)
        run.refused[reason] += 1
        return Continuation(new=True)

    def count(self, word: Alive | SourceEnd) -> Continuation:
        """Note how many frames a run has captured, by its sign of life or its end."""
        run = self._use(word.run, word.seq, word.dropped)
        if run is None:
            return Continuation(new=False)
        self.captured += max(0, word.seq - run.next_seq)
        lost = run.lose(word.seq, None)
        return Continuation(new=True, lost=lost, begins=run.newest is None)

    def explain(self, reason: str, count: int = 1) -> None:
        """Say why ``count`` frames of the run that was heard of last will be found missing."""
        run = next(reversed(self._runs.values()), None)
        explained = run.explained if run else self._unexplained
        explained[reason] += count

    def refuse_rival(self, run: int) -> None:
        """Note that a frame of ``run`` was refused: it will be missing if that run becomes the source's."""
        number, count = self._rival
        self._rival = run, (count + 1 if number == run else 1)

    def dropped(self) -> Counter[str]:
        """Return how many frames are missing, by reason."""
        total = Counter(self._forgotten)
        for run in self._runs.values():
            run.add_reasons(total)
        return +total

    def lost_in(self, start_ns: int, end_ns: int) -> tuple[int, bool]:
        """Return how many frames are likely to be missing in [start_ns, end_ns), and if any may be."""
        holes = [h for run in self._runs.values() for h in run.holes.touching(start_ns, end_ns)]
        forgot = self._forgotten_until_ns > start_ns or any(
            run.holes.forgot(start_ns) for run in self._runs.values()
        )
        return sum(hole.count_in(start_ns, end_ns) for hole in holes), forgot or bool(holes)

    def _use(self, number: int, seq: int, dropped: int) -> _Run | None:
        """Return a run and note what its producer dropped; None if ``seq`` is beyond all reason."""
        run = self._runs.get(number)
        lost = seq - run.next_seq if run else seq
        if lost > MAX_LOST or self.captured + lost >= MAX_INT:
            return None
        # Put back at the end: the first is the one that nothing was heard of for longest.
        run = self._runs.pop(number, None) or self._begin(number, seq, dropped)
        self._runs[number] = run
        run.producer_dropped = max(run.producer_dropped, dropped)
        self._forget_oldest()
        return run

    def _begin(self, number: int, seq: int, dropped: int) -> _Run:
        """Begin a run. What the first one lost before it was seen may have gone to a former combiner."""
        self.runs += 1
        rival, count = self._rival
        refused = Counter({RIVAL: count} if number == rival else {})
        if self._runs:
            return _Run(refused=refused)
        self.began = self.began or Progress(number, seq, min(seq, dropped))
        explained, self._unexplained = self._unexplained, Counter()
        return _Run(
            seen_from=seq, unseen=max(0, seq - dropped), refused=refused, explained=explained
        )

    def _forget_oldest(self) -> None:
        if len(self._runs) > MAX_RUNS:
            run = self._runs.pop(next(iter(self._runs)))
            run.add_reasons(self._forgotten)
            self._forgotten_reopened = min(MAX_INT, self._forgotten_reopened + run.reopened)
            self._forgotten_until_ns = max(self._forgotten_until_ns, run.holes.until_ns)
