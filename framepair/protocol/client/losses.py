"""What a subscriber did not get of what was announced: counted by source and reason, over all combiners."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from msgspec.structs import replace

from framepair.protocol.wire import reasons
from framepair.protocol.wire.header import ProtocolError
from framepair.protocol.wire.pair import PairHeader, StreamEnd, Totals


@dataclass(frozen=True, slots=True)
class SubscriberStats:
    """What a subscriber got and what it did not, from its start until now; frames by source.

    ``pairs`` were delivered, ``queued`` wait, ``lost_pairs`` were announced since the first of them and not
    delivered. ``lost_frames`` counts frames by source and by reason (``wire.reasons``), ``damaged_frames``
    those that came and were not what they should be, of pairs that were delivered without them, ``rejected``
    malformed messages, ``left_out_frames`` those of delivered pairs that ``every`` leaves out.
    ``skipped_frames`` came, and were passed over by ``latest`` or ``frames``. ``unmatched_frames`` were
    delivered and in no match, while there were matches.
    ``totals`` are the newest that were announced, over all combiners one after another.
    At any moment and for each source

        totals.paired = delivered_frames + damaged_frames + left_out_frames + sum(lost_frames.values())
            + waiting_frames
    """

    pairs: int
    queued: int
    lost_pairs: int
    delivered_frames: Mapping[str, int]
    damaged_frames: Mapping[str, int]
    lost_frames: Mapping[str, Mapping[str, int]]
    waiting_frames: Mapping[str, int]
    rejected: int
    totals: Mapping[str, Totals]
    end: StreamEnd | None
    unmatched_frames: Mapping[str, int] = field(default_factory=dict)
    left_out_frames: Mapping[str, int] = field(default_factory=dict)
    skipped_frames: Mapping[str, int] = field(default_factory=dict)


class LossCounter:
    """Counts the pairs that were announced and didn't get here, and their frames, by source and reason.

    A hole in the numbers of one combiner's pairs is pairs that were lost on the way; their frames are what
    its totals grew by meanwhile. What another combiner announced before its first pair that came whole is
    lost because it was not subscribed to, and so is what it had announced of a source that comes back.
    """

    def __init__(self) -> None:
        self.pairs = 0
        self.frames: dict[str, Counter[str]] = {}
        self._totals = TotalsSum()
        self._newest: Mapping[str, Totals] = {}
        self._run: int | None = None
        self._next_seq = 0
        self._window = 0
        # Whether a pair of this run, and of any run, came whole.
        self._joined = self._began = False
        self._lost = self._skipped = 0

    @property
    def totals(self) -> dict[str, Totals]:
        """What was announced last of each source, over all combiners."""
        return self._totals.sum()

    def count_pair(self, header: PairHeader) -> None:
        """Count what was announced before ``header`` without getting here.

        Raises ProtocolError, and counts nothing, if the header contradicts an earlier one.
        """
        totals = {source: clip.totals for source, clip in header.clips.items()}
        lost = self._unheard(header)
        self._count_unheard(header.run, header.seq, totals, _frames(header))
        self._totals.update(header.run, totals, ended=False)
        if self._began:
            self._count_lost(lost)
            self._skipped += max(0, header.window - self._window - 1 - lost)
        self._next_seq, self._window = header.seq + 1, header.window

    def count_end(self, end: StreamEnd) -> None:
        """Count likewise what was announced before the end."""
        lost = end.seq - (self._next_seq if end.run == self._run else 0)
        self._count_unheard(end.run, end.seq, end.totals, {})
        self._totals.update(end.run, end.totals, ended=True)
        if self._began:
            self._count_lost(lost)
        self._next_seq = end.seq

    def take_gap(self) -> tuple[int, int]:
        """Return how many pairs were lost, and windows never announced, before the pair that came whole now."""
        self._joined = self._began = True
        gap, self._lost, self._skipped = (self._lost, self._skipped), 0, 0
        return gap

    def return_gap(self, lost: int, skipped: int) -> None:
        """Keep the gap before a pair that was dropped for the pair that comes next."""
        self._lost += lost
        self._skipped += skipped

    def count_incomplete(self, header: PairHeader, refused: str | None) -> None:
        """Count the pair that was announced just now and of which frames aren't here, or were ``refused``."""
        arrived_late = reasons.PUBLISHER_OVERFLOW if self._joined else reasons.NO_SUBSCRIBER
        self._count_frames(_frames(header), refused or arrived_late)
        if self._began or refused:
            self._count_lost(1)

    def count_dropped(self, header: PairHeader) -> None:
        """Count a whole pair that nothing took in time."""
        self._count_frames(_frames(header), reasons.SUBSCRIBER_SLOW)
        self.pairs += 1

    def count_shed(self, header: PairHeader, lost: int) -> None:
        """Count a whole pair that was dropped before any was taken; ``lost`` were missing beside it."""
        self._count_frames(_frames(header), reasons.STARTUP)
        self.pairs -= lost

    def _unheard(self, header: PairHeader) -> int:
        """Return how many pairs were announced since the newest that was heard of, as far as is known."""
        if header.run == self._run:
            return header.seq - self._next_seq
        if header.previous is None:
            return header.seq
        # Another combiner may have announced windows that the former had announced before.
        return min(header.seq, max(0, header.previous - self._window))

    def _count_unheard(
        self, run: int, seq: int, totals: Mapping[str, Totals], announced: Mapping[str, int]
    ) -> None:
        """Count the frames that were paired since the last message, without those ``announced`` now."""
        new = run != self._run
        known = {} if new else self._newest
        unheard = {
            source: total.paired - announced.get(source, 0) - known.get(source, Totals()).paired
            for source, total in totals.items()
        }
        if (not new and seq < self._next_seq) or any(count < 0 for count in unheard.values()):
            raise ProtocolError(f"pair {seq} contradicts what was announced before")
        # Where every pair was heard of, those of a source that was in none of them came before the first.
        before = unheard.keys() - known.keys() if new or seq == self._next_seq else set[str]()
        for source, count in unheard.items():
            reason = reasons.NO_SUBSCRIBER if source in before else reasons.PUBLISHER_OVERFLOW
            self._count_frames({source: count}, reason)
        self._newest = {**known, **totals}
        self._run = run
        self._joined = self._joined and not new

    def _count_frames(self, frames: Mapping[str, int], reason: str) -> None:
        for source, count in frames.items():
            if count:
                self.frames.setdefault(source, Counter())[reason] += count

    def _count_lost(self, pairs: int) -> None:
        self.pairs += pairs
        self._lost += pairs


def _frames(header: PairHeader) -> dict[str, int]:
    return {source: clip.frames for source, clip in header.clips.items()}


class TotalsSum:
    """Adds up what combiners that ran one after another counted, each frame once.

    Each counts from its own start, but knows from the first header of a producer's run how many frames that
    had captured before, and counts those as lost. The ones that a former combiner saw are in its totals
    already: only those that were captured while no combiner was there are lost.
    """

    def __init__(self) -> None:
        self._former: dict[str, Totals] = {}
        self._newest: dict[str, Totals] = {}
        self._run: int | None = None
        self._ended = False

    def update(self, run: int, totals: Mapping[str, Totals], *, ended: bool) -> None:
        """Take the newest totals of combiner ``run``; once it has ``ended`` nothing is open."""
        if run != self._run:
            self._former = {
                source: _closed(sum_, ended=self._ended) for source, sum_ in self.sum().items()
            }
            self._newest = {}
        self._newest.update(totals)
        self._run, self._ended = run, ended

    def sum(self) -> dict[str, Totals]:
        """Return the totals over all combiners, by source."""
        later = {
            source: _add(self._former[source], totals) if source in self._former else totals
            for source, totals in self._newest.items()
        }
        return self._former | later


def _closed(totals: Totals, *, ended: bool) -> Totals:
    """Return the last totals of a combiner, with nothing open: one that was killed lost what was."""
    lost = 0 if ended else totals.open
    dropped = Counter(totals.dropped) + Counter({reasons.COMBINER_LOST: lost})
    return replace(totals, open=0, dropped=dict(dropped))


def _add(former: Totals, later: Totals) -> Totals:
    """Return the sum of what two combiners counted, the second after the first."""
    dropped = Counter(later.dropped)
    # What came before the first pair of a combiner that is not the first is lost by its start.
    dropped[reasons.COMBINER_LOST] += dropped.pop(reasons.STARTUP, 0)
    unsent, sent, same_run = _counted_before(former, later)
    dropped[reasons.PRODUCER_DROPPED] -= unsent
    dropped[reasons.BEFORE_COMBINER] -= sent
    reached = former.reached
    return Totals(
        captured=former.captured + later.captured - unsent - sent,
        paired=former.paired + later.paired,
        open=former.open + later.open,
        late=former.late + later.late,
        gaps=former.gaps + max(0, later.gaps - unsent - sent),
        rejected=former.rejected + later.rejected,
        dropped=dict(Counter(former.dropped) + dropped),
        runs=former.runs + max(0, later.runs - same_run),
        restamped=former.restamped + later.restamped,
        reopened=former.reopened
        + max(0, later.reopened - (reached.reopened if reached and same_run else 0)),
        outage_ns=max(former.outage_ns, later.outage_ns),
        began=former.began or later.began,
        reached=later.reached or former.reached,
    )


def _counted_before(former: Totals, later: Totals) -> tuple[int, int, bool]:
    """Return how many unsent and how many sent frames both count, and whether of one producer's run."""
    reached, began = former.reached, later.began
    if reached is None or began is None or reached.run != began.run:
        return 0, 0, False
    # Subtract no more than there is, and the same from both sides: the totals must balance.
    again = min(reached.seq, began.seq)
    unsent = min(reached.dropped, later.dropped.get(reasons.PRODUCER_DROPPED, 0), again)
    sent = min(again - unsent, later.dropped.get(reasons.BEFORE_COMBINER, 0))
    return unsent, sent, True
