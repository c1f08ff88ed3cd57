"""What the headers of pairs in a recording say of one of its sources: pure logic, without files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from msgspec.structs import replace

from framepair.nodes.producer.sources.source import Retold
from framepair.protocol.client.losses import TotalsSum
from framepair.protocol.recording.ledger import Announcement, LedgerEntry, Received
from framepair.protocol.wire import reasons
from framepair.protocol.wire.pair import ClipHeader, PairHeader, Totals

Lost = Mapping[str, int]


class PairRecords:
    """Says of each announcement what it means for ``source``, given the frames that are on disk before it.

    ``former`` is what earlier passes through the recording came to, all of which counts.
    """

    def __init__(self, source: str, former: Sequence[tuple[Totals, Lost]] = ()) -> None:
        self._source = source
        self._former = former
        self._sum = TotalsSum()
        self._on_disk: dict[tuple[int, int], int] = {}
        """Run and seq of the frames that are on disk and of windows still open, and when they were captured."""
        self._base: Totals | None = None
        self._paired = 0
        self._lacking = 0
        """How many frames of pairs are not on disk."""
        self._sessions: dict[int, Received] = {}
        self._was_away = False
        """Whether no recorder ran for a time, or at the beginning."""

    def summed(self) -> Sequence[tuple[Totals, Lost]]:
        """Return what this pass and those before came to, for the next."""
        return [(self._totals(), self._lost())] if self._base else self._former

    def add_frame(self, run: int, seq: int, captured_ns: int) -> None:
        """Note a frame that is on disk."""
        self._on_disk[run, seq] = captured_ns

    def add_announcement(self, header: Announcement, entry: LedgerEntry) -> Retold | None:
        """Return what a pair, or the end of a stream, says of the source; None if nothing."""
        self._sessions[entry.session] = entry.sources.get(self._source, Received())
        if isinstance(header, PairHeader):
            clip = header.clips.get(self._source)
            return None if clip is None else self._of_pair(header, clip)
        totals = header.totals.get(self._source)
        if totals is None or self._base is None:
            return None
        self._sum.update(header.run, {self._source: totals}, ended=True)
        return Retold(clip=ClipHeader(totals=self._totals()), lost=self._lost())

    def _of_pair(self, header: PairHeader, clip: ClipHeader) -> Retold:
        self._sum.update(header.run, {self._source: clip.totals}, ended=False)
        total = self._sum.sum()[self._source]
        here = sum(name in self._on_disk for name in _names(clip))
        if self._base is None:
            self._begin(header, clip, total)
            self._was_away = here < clip.frames
        # Of pairs whose header is not on disk some frames may be.
        before = sum(at_ns < header.start_ns for at_ns in self._on_disk.values())
        unheard = total.paired - self._paired - clip.frames - before
        self._lacking += clip.frames - here + max(0, unheard)
        self._paired = total.paired
        self._on_disk = {
            name: at_ns for name, at_ns in self._on_disk.items() if at_ns >= header.end_ns
        }
        window_ns = header.end_ns - header.start_ns
        previous_ns = None if header.previous is None else header.previous * window_ns
        complete = header.complete if clip.complete is None else clip.complete
        told = replace(clip, spans=(), totals=self._totals(), complete=complete)
        return Retold(
            told,
            header.start_ns,
            header.end_ns,
            previous_ns,
            header.partial,
            clip.frames,
            self._lost(),
        )

    def _begin(self, header: PairHeader, clip: ClipHeader, total: Totals) -> None:
        """Begin to count: with the combiner, or if it had begun before, with this pair."""
        self._base = Totals()
        if header.seq:
            self._base = replace(
                total,
                captured=total.captured - clip.frames - total.open,
                paired=total.paired - clip.frames,
                open=0,
            )
        self._paired = self._base.paired

    def _totals(self) -> Totals:
        """Return what became of the source's frames since the beginning, over all combiners."""
        total, base = self._sum.sum()[self._source], self._base or Totals()
        former = [totals for totals, _ in self._former]
        dropped = Counter(total.dropped) - Counter(base.dropped)
        for each in former:
            dropped.update(each.dropped)
        return replace(
            total,
            captured=total.captured - base.captured + sum(each.captured for each in former),
            paired=total.paired - base.paired + sum(each.paired for each in former),
            late=total.late - base.late + sum(each.late for each in former),
            gaps=total.gaps + sum(each.gaps for each in former),
            rejected=total.rejected + sum(each.rejected for each in former),
            runs=total.runs + sum(each.runs for each in former),
            reopened=total.reopened + sum(each.reopened for each in former),
            outage_ns=max([total.outage_ns, *(each.outage_ns for each in former)]),
            restamped=total.restamped + sum(each.restamped for each in former),
            dropped=dict(dropped),
        )

    def _lost(self) -> dict[str, int]:
        """Return why frames of pairs are not on disk: as the recorder says, or else on their way to it."""
        lost = Counter(self._former[0][1] if self._former else {})
        before = lost.total()
        for received in self._sessions.values():
            lost.update(received.lost)
        rest = self._lacking - lost.total() + before
        away = self._was_away or len(self._sessions) > 1
        lost[reasons.RECORDER_AWAY if away else reasons.PUBLISHER_OVERFLOW] += max(0, rest)
        return dict(+lost)


def _names(clip: ClipHeader) -> Iterator[tuple[int, int]]:
    for span in clip.spans:
        yield from ((span.run, span.first + i) for i in range(span.count))
