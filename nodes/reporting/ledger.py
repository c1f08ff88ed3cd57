"""The ledger: what became of every frame that was captured, as far as this consumer can tell.

For each source ``captured = delivered + late + sum(dropped) + in_flight``. All but ``delivered`` is
what the combiner and the subscriber say; ``delivered`` is counted here, frame by frame, so that the two sides
can differ.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

from nodes.latency import CaptureRate
from protocol.clip import Pair
from protocol.counts import SubscriberStats
from protocol.pair import Totals

SUBSCRIBER_SLOW = "subscriber_slow"
NOT_SUBSCRIBED = "not_subscribed"
COMBINER_LOST = "combiner_lost"


@dataclass(frozen=True, slots=True)
class Account:
    """One source's frames. ``fps`` is the measured rate of capture, None if it isn't known.

    ``gaps`` counts holes in seq, which are in ``dropped`` too; ``in_flight`` frames are in open windows.
    """

    captured: int
    delivered: int
    late: int
    gaps: int
    rejected: int
    in_flight: int
    dropped: Mapping[str, int]
    fps: float | None
    ended: bool

    @property
    def missing(self) -> int:
        """How many captured frames nobody accounts for; below 0, so many are accounted for twice."""
        return self.captured - self.delivered - self.late - self.dropped_frames - self.in_flight

    @property
    def dropped_frames(self) -> int:
        """How many frames were dropped, for whatever reason."""
        return sum(self.dropped.values())

    @property
    def balanced(self) -> bool:
        """Whether every frame has its place, and none is still on its way after the end of the stream."""
        return self.missing == 0 and not (self.ended and self.in_flight)


class Ledger:
    """Counts the frames of the pairs that a consumer gets."""

    def __init__(self) -> None:
        self._delivered: Counter[str] = Counter()
        self._rates: dict[str, CaptureRate] = {}
        self._former: dict[str, Totals] = {}
        self._newest: Mapping[str, Totals] = {}
        self._run: int | None = None
        self._ended = False

    def deliver(self, pair: Pair) -> None:
        """Count the frames of a pair that the consumer got."""
        if pair.header.run != self._run:
            self._end_run()
            self._run = pair.header.run
        if not self._ended:
            self._newest = {source: clip.totals for source, clip in pair.header.clips.items()}
        for source, clip in pair.items():
            self._delivered[source] += len(clip.frames)
            self._rates.setdefault(source, CaptureRate()).add(clip)

    def note_end(self, stats: SubscriberStats) -> None:
        """Take the last word of the combiner that pairs come from, if it has said it."""
        if stats.end is not None and stats.end.run == self._run:
            self._newest = stats.end.totals
            self._ended = True

    def close(self, stats: SubscriberStats) -> dict[str, Account]:
        """Return each source's account, once no more pairs will come."""
        self._catch_up(stats)
        totals = _sum(self._former, self._newest)
        sources = set().union(totals, self._delivered, stats.lost_frames, stats.missed_frames)
        return {source: self._account(source, totals, stats) for source in sorted(sources)}

    def _catch_up(self, stats: SubscriberStats) -> None:
        """Take the totals that came with pairs which were lost after the last one that came here."""
        self.note_end(stats)
        newest = stats.totals
        if not newest or newest == self._newest:
            return
        if self._ended or _began_again(self._newest, newest):
            self._end_run()
        self._newest = newest
        self._ended = stats.end is not None and stats.end.totals == newest

    def _end_run(self) -> None:
        """Add up what a combiner counted, when another has begun to count from 0."""
        closed = {source: _closed(totals, self._ended) for source, totals in self._newest.items()}
        self._former = _sum(self._former, closed)
        self._newest = {}
        self._ended = False

    def _account(
        self, source: str, totals: Mapping[str, Totals], stats: SubscriberStats
    ) -> Account:
        total = totals.get(source, Totals())
        dropped = Counter(total.dropped)
        dropped[SUBSCRIBER_SLOW] += stats.lost_frames.get(source, 0)
        dropped[NOT_SUBSCRIBED] += stats.missed_frames.get(source, 0)
        rate = self._rates.get(source)
        return Account(
            captured=total.captured,
            delivered=self._delivered[source],
            late=total.late,
            gaps=total.gaps,
            rejected=total.rejected,
            in_flight=total.open,
            dropped=dict(+dropped),
            fps=rate.fps if rate else None,
            ended=self._ended,
        )


def sentence(accounts: Mapping[str, Account]) -> str:
    """Say whether the ledger balances, and if not, where."""
    wrong = {source: account for source, account in accounts.items() if not account.balanced}
    if wrong:
        faults = "; ".join(f"{source}: {_fault(account)}" for source, account in wrong.items())
        return f"The ledger does not balance: {faults}."
    captured = sum(account.captured for account in accounts.values())
    parts = {
        "delivered": sum(account.delivered for account in accounts.values()),
        "late": sum(account.late for account in accounts.values()),
        "dropped": sum(account.dropped_frames for account in accounts.values()),
        "in flight": sum(account.in_flight for account in accounts.values()),
    }
    told = " + ".join(f"{count} {what}" for what, count in parts.items())
    return f"The ledger balances: {captured} frames captured = {told}."


def _fault(account: Account) -> str:
    if account.missing > 0:
        return f"{account.missing} of {account.captured} captured frames are not accounted for"
    if account.missing < 0:
        return (
            f"{-account.missing} more frames are accounted for than the {account.captured} captured"
        )
    return f"{account.in_flight} frames are in flight after the end of the stream"


def _began_again(known: Mapping[str, Totals], newest: Mapping[str, Totals]) -> bool:
    """Return whether ``newest`` cannot be later totals of the same run: a count is smaller."""
    return any(
        source in newest
        and (newest[source].captured < totals.captured or newest[source].paired < totals.paired)
        for source, totals in known.items()
    )


def _closed(totals: Totals, ended: bool) -> Totals:
    """Return the last totals of a run, with nothing in flight; a combiner that was killed lost what was."""
    lost = 0 if ended else totals.open
    return replace(totals, open=0, dropped=Counter(totals.dropped) + Counter({COMBINER_LOST: lost}))


def _sum(former: Mapping[str, Totals], newest: Mapping[str, Totals]) -> dict[str, Totals]:
    """Return both runs' totals, added up by source."""
    sums = dict(former)
    for source, totals in newest.items():
        sums[source] = _add(sums.get(source, Totals()), totals)
    return sums


def _add(one: Totals, other: Totals) -> Totals:
    return Totals(
        captured=one.captured + other.captured,
        paired=one.paired + other.paired,
        open=one.open + other.open,
        late=one.late + other.late,
        gaps=one.gaps + other.gaps,
        rejected=one.rejected + other.rejected,
        dropped=Counter(one.dropped) + Counter(other.dropped),
    )
