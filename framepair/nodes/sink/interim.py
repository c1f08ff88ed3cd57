"""One line that says how it went since the last one: every now and then, and whenever SIGUSR1 asks for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime

from framepair.nodes.sink.latency import PairTimes
from framepair.nodes.sink.ledger import Account, told_failures
from framepair.protocol.client.clip import Pair
from framepair.protocol.wire import reasons


class Interim:
    """Counts what came since the last line, which is due each ``every_s``, unless None, and when asked for."""

    def __init__(self, every_s: float | None, now_s: float) -> None:
        self._every_s = every_s
        self._began_s = now_s
        self._asked = False
        self._lost_pairs = 0
        self._times = PairTimes()
        self._accounts: Mapping[str, Account] = {}

    def ask(self) -> None:
        """Make a line due now; a signal handler may call this at any moment."""
        self._asked = True

    def add_pair(self, pair: Pair) -> None:
        """Count a pair."""
        self._times.add_pair(pair)

    def is_due(self, now_s: float) -> bool:
        """Return whether a line should be printed at ``now_s``."""
        return self._asked or (self._every_s is not None and now_s >= self._began_s + self._every_s)

    def take_line(self, now_s: float, accounts: Mapping[str, Account], lost_pairs: int) -> str:
        """Return the line, and begin to count anew. ``accounts`` and ``lost_pairs`` are of the whole run."""
        said = [self._pairs(now_s - self._began_s, lost_pairs - self._lost_pairs)]
        said += [_source(name, each, self._accounts.get(name)) for name, each in accounts.items()]
        self._asked, self._began_s, self._lost_pairs = False, now_s, lost_pairs
        self._times, self._accounts = PairTimes(), accounts
        return f"{datetime.now():%Y-%m-%d %H:%M:%S} {'; '.join(said)}"

    def _pairs(self, took_s: float, lost: int) -> str:
        times, lag = self._times, self._times.lag.summary()
        words = [f"{times.pairs} pairs in {took_s:.0f} s", f"{times.complete} complete"]
        words += [f"{lost} lost"] if lost else []
        if lag:
            words.append(f"lag p50 {lag.p50:.1f} p99 {lag.p99:.1f} max {lag.max:.1f} ms")
        return ", ".join(words)


def _source(name: str, now: Account, before: Account | None) -> str:
    """Say what became of a source's frames between two accounts of it."""
    delivered = now.delivered - (before.delivered if before else 0)
    lost = ", ".join([*_lost(now, before), *told_failures(now, before)])
    return f"{name} {delivered} frames" + (f" ({lost})" if lost else "")


def _lost(now: Account, before: Account | None) -> Iterator[str]:
    lost = Counter(now.dropped) + Counter(late=now.late)
    if before:
        lost.subtract(before.dropped)
        lost["late"] -= before.late
    for reason, count in sorted(lost.items()):
        if count and reason != reasons.STARTUP:
            yield f"{count} {reason}"
