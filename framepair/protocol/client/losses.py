"""What a subscriber got, and what was announced that it did not get."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from msgspec.structs import replace

from framepair.protocol.wire import reasons
from framepair.protocol.wire.header import ProtocolError
from framepair.protocol.wire.pair import PairHeader, Progress, StreamEnd, Totals


class Tally:
    """Takes totals as they are announced.

    A combiner counts from its own start; what producers captured before that it can only count as lost. If
    another combiner was heard of before, that one has accounted for those frames already.
    """

    def __init__(self) -> None:
        self._former: dict[str, Totals] = {}
        self._reached: dict[str, Progress] = {}
        self._newest: dict[str, Totals] = {}
        self._run: int | None = None
        self._ended = False

    def update(self, run: int, totals: Mapping[str, Totals], *, ended: bool) -> None:
        """Take the newest totals of combiner ``run``; once it has ``ended`` nothing is open."""
        if run != self._run:
            self._close()
        self._newest = {**self._newest, **totals}
        self._run, self._ended = run, ended

    def sum(self) -> dict[str, Totals]:
        """Return the totals over all combiners, by source."""
        own = {source: self._own(source, totals) for source, totals in self._newest.items()}
        sources = self._former.keys() | own.keys()
        nothing = Totals()
        return {
            source: add(self._former.get(source, nothing), own.get(source, nothing))
            for source in sources
        }

    def _close(self) -> None:
        """Add what the former combiner counted to what those before it did."""
        for source, totals in self._newest.items():
            closed = _closed(self._own(source, totals), ended=self._ended)
            self._former[source] = add(self._former.get(source, Totals()), closed)
            if totals.reached is not None:
                self._reached[source] = totals.reached
        self._newest = {}

    def _own(self, source: str, totals: Totals) -> Totals:
        """Return ``totals`` without the frames that a former combiner accounted for."""
        if source in self._former:
            totals = _begun_again(totals)
        reached, began = self._reached.get(source), totals.began
        if reached is None or began is None or reached.run != began.run:
            return totals
        again = min(reached.seq, began.seq)
        dropped = Counter(totals.dropped)
        by_producer = min(reached.dropped, dropped[reasons.PRODUCER_BACKPRESSURE], again)
        dropped[reasons.PRODUCER_BACKPRESSURE] -= by_producer
        sent = min(again - by_producer, dropped[reasons.BEFORE_COMBINER])
        dropped[reasons.BEFORE_COMBINER] -= sent
        return replace(
            totals,
            # What can't be taken off the one side isn't taken off the other: the sum must hold.
            captured=totals.captured - by_producer - sent,
            gaps=max(0, totals.gaps - by_producer - sent),
            dropped=dict(+dropped),
            runs=max(0, totals.runs - 1),
            reopened=max(0, totals.reopened - reached.reopened),
        )


def add(one: Totals, other: Totals) -> Totals:
    """Return the sum of what two combiners counted, the second after the first."""
    return Totals(
        captured=one.captured + other.captured,
        paired=one.paired + other.paired,
        open=one.open + other.open,
        late=one.late + other.late,
        gaps=one.gaps + other.gaps,
        rejected=one.rejected + other.rejected,
        dropped=dict(Counter(one.dropped) + Counter(other.dropped)),
        runs=one.runs + other.runs,
        reopened=one.reopened + other.reopened,
        outage_ns=max(one.outage_ns, other.outage_ns),
        began=one.began or other.began,
        reached=other.reached or one.reached,
    )


def _begun_again(totals: Totals) -> Totals:
    """Return the totals of a combiner that is not the first: what came before its first pair is lost by it."""
    dropped = Counter(totals.dropped)
    dropped[reasons.COMBINER_LOST] += dropped.pop(reasons.STARTUP, 0)
    return replace(totals, dropped=dict(+dropped))


def _closed(totals: Totals, *, ended: bool) -> Totals:
    """Return the last totals of a combiner, with nothing open: one that was killed lost what was."""
    lost = Counter() if ended else Counter({reasons.COMBINER_LOST: totals.open})
    return replace(totals, open=0, dropped=dict(+(Counter(totals.dropped) + lost)))


@dataclass(frozen=True, slots=True)
class SubscriberStats:
    """What a subscriber got and what it did not, so far; frames by source.

    ``lost_frames`` are the frames of ``lost_pairs``: ``overflow_frames`` of them are in pairs that did not
    all arrive, for the others the consumer was too slow. ``missed_frames`` are those of pairs that had begun
    before it joined, ``waiting_frames`` those of the ``queued`` pairs, ``damaged_frames`` those that came and
    were not what they should be, of pairs that were delivered without them, ``rejected`` malformed messages.
    ``totals`` are the newest that were announced, over all combiners, one after another.
    """

    pairs: int
    queued: int
    lost_pairs: int
    lost_frames: Mapping[str, int]
    overflow_frames: Mapping[str, int]
    missed_frames: Mapping[str, int]
    waiting_frames: Mapping[str, int]
    damaged_frames: Mapping[str, int]
    rejected: int
    totals: Mapping[str, Totals]
    end: StreamEnd | None


class Losses:
    """Counts the pairs that were announced and didn't get here, and their frames, over all its runs.

    For each source and run, the combiner's ``totals.paired`` is at any moment the sum of the frames that
    were delivered, damaged, lost (``frames``) or ``missed``, and of those in pairs that wait. Those lost in
    pairs that did not all arrive are in ``overflow`` too.
    """

    def __init__(self) -> None:
        self.pairs = 0
        self.frames: Counter[str] = Counter()
        self.overflow: Counter[str] = Counter()
        self.missed: Counter[str] = Counter()
        self._tally = Tally()
        self._known: Mapping[str, Totals] = {}
        self._run: int | None = None
        self._next_seq = 0
        self._joined = False

    @property
    def totals(self) -> dict[str, Totals]:
        """What was announced last of each source, over all combiners."""
        return self._tally.sum()

    def announced(self, header: PairHeader) -> int:
        """Count what was announced before ``header`` without reaching us; return how many pairs were lost.

        Raises ProtocolError, and counts nothing, if the header contradicts an earlier one.
        """
        totals = {source: clip.totals for source, clip in header.clips.items()}
        lost = self._advance(header.run, header.seq, totals, _frames(header))
        self._tally.update(header.run, totals, ended=False)
        self._next_seq = header.seq + 1
        return lost

    def ended(self, end: StreamEnd) -> int:
        """Count likewise what was announced before the end."""
        lost = self._advance(end.run, end.seq, end.totals, {})
        self._tally.update(end.run, end.totals, ended=True)
        self._next_seq = end.seq
        return lost

    def whole(self) -> None:
        """Say that the announced pair is whole: from here on we ought to get all."""
        self._joined = True

    def not_whole(self, header: PairHeader) -> int:
        """Count the announced pair, of which frames aren't here; return how many pairs were lost: 0 or 1."""
        if self._joined:
            self.overflow.update(_frames(header))
            self.dropped(header)
            return 1
        self.missed.update(_frames(header))
        return 0

    def dropped(self, header: PairHeader) -> None:
        """Count a pair that was lost."""
        self.pairs += 1
        self.frames.update(_frames(header))

    def _advance(
        self, run: int, seq: int, totals: Mapping[str, Totals], frames: Mapping[str, int]
    ) -> int:
        """Count what was paired between the last message and this one, which announces ``frames`` itself."""
        new = run != self._run
        known = {} if new else self._known
        skipped = 0 if new else seq - self._next_seq
        unseen = {
            source: total.paired - frames.get(source, 0) - known.get(source, Totals()).paired
            for source, total in totals.items()
        }
        if skipped < 0 or any(count < 0 for count in unseen.values()):
            raise ProtocolError(f"pair {seq} contradicts what was announced before")
        (self.missed if new else self.frames).update(unseen)
        if not new:
            self.overflow.update(unseen)
        self.pairs += skipped
        self._known = {**known, **totals}
        self._run = run
        self._joined = self._joined and not new
        return skipped


def _frames(header: PairHeader) -> dict[str, int]:
    return {source: clip.frames for source, clip in header.clips.items()}
