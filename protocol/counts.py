"""What a subscriber got, and what was announced that it did not get."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from protocol.header import ProtocolError
from protocol.pair import PairHeader, StreamEnd, Totals
from protocol.tally import Tally


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
