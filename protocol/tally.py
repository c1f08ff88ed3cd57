"""The totals of one combiner after another, added up so that no frame is counted twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from protocol import reasons
from protocol.pair import Progress, Totals


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
