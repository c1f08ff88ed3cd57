"""The ledger: what became of every frame that was captured, as far as this consumer can tell.

For each source ``captured = delivered + late + sum(dropped) + in_flight``. All but ``delivered`` is
what the combiner and the subscriber say; ``delivered`` is counted here, frame by frame, so that the two sides
can differ.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from framepair.nodes.sink.latency import CaptureRate
from framepair.protocol.client.clip import Pair
from framepair.protocol.client.losses import SubscriberStats
from framepair.protocol.wire import reasons
from framepair.protocol.wire.pair import Totals


@dataclass(frozen=True, slots=True)
class Account:
    """One source's frames. ``fps`` is the measured rate of capture, None if it isn't known.

    ``gaps`` counts holes in seq, which are in ``dropped`` too; ``in_flight`` frames are in open windows, or in
    pairs that wait. The producer was started again ``restarts`` times, and opened its source again ``reopened``
    times; ``outage_ns`` is the longest time that it was away. Stamps went over to another clock ``restamped``
    times.
    """

    captured: int
    delivered: int
    late: int
    gaps: int
    rejected: int
    in_flight: int
    dropped: Mapping[str, int]
    restarts: int
    reopened: int
    outage_ns: int
    fps: float | None
    ended: bool
    restamped: int = 0

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

    def add_pair(self, pair: Pair) -> None:
        """Count the frames of a pair that the consumer got."""
        for source, clip in pair.items():
            self._delivered[source] += len(clip.frames)
            self._rates.setdefault(source, CaptureRate()).add_clip(clip)

    def accounts(self, stats: SubscriberStats) -> dict[str, Account]:
        """Return each source's account as it is now, if ``stats`` are of after the last pair."""
        sources = set(stats.totals).union(self._delivered, stats.lost_frames)
        return {source: self._account(source, stats) for source in sorted(sources)}

    def _account(self, source: str, stats: SubscriberStats) -> Account:
        total = stats.totals.get(source, Totals())
        dropped = Counter(total.dropped)
        dropped.update(stats.lost_frames.get(source, {}))
        dropped[reasons.CORRUPT] += stats.damaged_frames.get(source, 0)
        rate = self._rates.get(source)
        return Account(
            captured=total.captured,
            delivered=self._delivered[source],
            late=total.late,
            gaps=total.gaps,
            rejected=total.rejected,
            in_flight=total.open + stats.waiting_frames.get(source, 0),
            dropped=dict(+dropped),
            restarts=max(0, total.runs - 1 - total.restamped),
            reopened=total.reopened,
            outage_ns=total.outage_ns,
            fps=rate.fps if rate else None,
            # Pairs that wait may still be taken.
            ended=stats.end is not None and not stats.queued,
            restamped=total.restamped,
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


def no_pair(accounts: Mapping[str, Account]) -> str | None:
    """Say why it is a failure that no pair came; None if no source had any frame."""
    captured = sum(account.captured for account in accounts.values())
    if not captured:
        return None
    lost: Counter[str] = Counter()
    for account in accounts.values():
        lost.update(account.dropped)
    return (
        f"no pair came of {captured} frames captured ({_counted(lost) or 'none was dropped'}): run for longer"
        " than two windows, with a smaller --window or with --pace max"
    )


def shortfall(accounts: Mapping[str, Account]) -> str | None:
    """Say what a strict consumer does not accept: frames that weren't delivered, or can't be accounted for.

    What was captured before the first pair is no loss.
    """
    if not all(account.balanced for account in accounts.values()):
        return sentence(accounts)
    lost: Counter[str] = Counter()
    for account in accounts.values():
        lost.update(account.dropped)
        lost["late"] += account.late
    del lost[reasons.STARTUP]
    told = _counted(lost)
    return f"Not every frame was delivered: {told}." if told else None


def _counted(lost: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in sorted(lost.items()) if count)


def told_failures(account: Account, before: Account | None = None) -> list[str]:
    """Return how often a source failed, and in which way, since ``before`` or since the start."""
    times = {
        "producer started again": account.restarts - (before.restarts if before else 0),
        "source opened again": account.reopened - (before.reopened if before else 0),
        "stamps went over to another clock": account.restamped
        - (before.restamped if before else 0),
        "malformed messages": account.rejected - (before.rejected if before else 0),
    }
    return [f"{what}: {count}" for what, count in times.items() if count]
