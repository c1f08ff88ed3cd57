"""A consumer for tests that takes every pair, and checks its pixels and what it says of itself."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Sequence

from framepair import Overwritten, Pair
from framepair.nodes.sink.ledger import Account, Ledger
from framepair.protocol.client.subscriber import Subscription
from framepair.protocol.wire.frame import FrameHeader
from tests.lib.pipeline import check
from tests.lib.processes import Running


class Watcher:
    """Checks the pairs of a ``pipeline`` as they come; ``patience_s`` is how long one is waited for.

    ``seen`` counts ``pairs``, those that are ``complete``, and those that were ``overwritten`` before their
    pixels could be checked, as happens in shared memory.
    """

    def __init__(self, pairs: Subscription, pipeline: Running, patience_s: float) -> None:
        self.seen: Counter[str] = Counter()
        self._pairs = pairs
        self._pipeline = pipeline
        self._patience_s = patience_s
        self._ledger = Ledger()
        self._names: set[tuple[str, int, int]] = set()
        self._before: Pair | None = None

    def watch(self, seconds: float) -> None:
        """Check what comes for so long."""
        until_s = time.monotonic() + seconds
        while (left_s := until_s - time.monotonic()) > 0:
            self._check(self._pairs.get(left_s))

    def watch_pairs(self, count: int, *, complete: bool = False) -> None:
        """Check so many pairs more, of those that are ``complete``; fail if they don't come."""
        kind = "complete" if complete else "pairs"
        until, deadline_s = self.seen[kind] + count, time.monotonic() + self._patience_s
        while self.seen[kind] < until:
            assert time.monotonic() < deadline_s, self._said(f"no such pair came after {self.seen}")
            self._check(self._pairs.get(1))

    def finish(self) -> dict[str, Account]:
        """Check what is on its way; return the account of each source."""
        self._pairs.stop()
        while not self._pairs.ended:
            self._check(self._pairs.get(1))
        return self._ledger.accounts(self._pairs.stats())

    def _said(self, what: str) -> str:
        return "\n".join((what, *self._pipeline.lines))

    def _check(self, pair: Pair | None) -> None:
        if pair is None:
            return
        self._ledger.add_pair(pair)
        self.seen.update(pairs=1, complete=int(pair.complete))
        self._check_frames(pair)
        self._before = pair if pair.complete else None
        try:
            check(pair.copy())
        except Overwritten:
            self.seen["overwritten"] += 1

    def _check_frames(self, pair: Pair) -> None:
        """Check that no frame comes twice, and that none is missing in complete pairs and between two."""
        before = self._before
        adjacent = before if before and before.index + 1 == pair.index else None
        for source, clip in pair.items():
            names = {(source, header.run, header.seq) for header in clip.frames}
            assert len(names) == len(clip)
            assert not names & self._names, f"twice in pair {pair.index}"
            self._names |= names
            if pair.complete:
                last = adjacent[source].frames[-1:] if adjacent else ()
                check_whole((*last, *clip.frames))


def check_whole(frames: Sequence[FrameHeader]) -> None:
    """Check that no frame of a run is missing between two of ``frames``."""
    for first, second in itertools.pairwise(frames):
        assert first.run != second.run or first.seq + 1 == second.seq, (first, second)
