"""What a subscriber got, and what was announced that it did not get."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from protocol.header import ProtocolError
from protocol.pair import PairHeader, StreamEnd, Totals


@dataclass(frozen=True, slots=True)
class SubscriberStats:
    """What a subscriber got and what it did not, so far; frames by source.

    ``lost_frames`` are the frames of ``lost_pairs``, ``missed_frames`` those of pairs that had begun before
    it joined, ``rejected`` malformed messages. ``totals`` are the newest that the combiner announced.
    """

    pairs: int
    queued: int
    lost_pairs: int
    lost_frames: Mapping[str, int]
    missed_frames: Mapping[str, int]
    rejected: int
    totals: Mapping[str, Totals]
    end: StreamEnd | None


class Losses:
    """Counts the pairs that were announced and didn't get here, and their frames, over all its runs.

    For each source and run, the combiner's ``totals.paired`` is at any moment the sum of the frames that
    were delivered, lost (``frames``) or missed (``missed``), and of those in pairs that wait.
    """

    def __init__(self) -> None:
        self.pairs = 0
        self.frames: Counter[str] = Counter()
        self.missed: Counter[str] = Counter()
        self.totals: Mapping[str, Totals] = {}
        self._run: int | None = None
        self._next_seq = 0
        self._joined = False

    def announced(self, header: PairHeader) -> int:
        """Count what was announced before ``header`` without reaching us; return how many pairs were lost.

        Raises ProtocolError, and counts nothing, if the header contradicts an earlier one.
        """
        totals = {source: clip.totals for source, clip in header.clips.items()}
        lost = self._advance(header.run, header.seq, totals, _frames(header))
        self._next_seq = header.seq + 1
        return lost

    def ended(self, end: StreamEnd) -> int:
        """Count likewise what was announced before the end."""
        lost = self._advance(end.run, end.seq, end.totals, {})
        self._next_seq = end.seq
        return lost

    def whole(self) -> None:
        """Say that the announced pair is whole: from here on we ought to get all."""
        self._joined = True

    def not_whole(self, header: PairHeader) -> int:
        """Count the announced pair, of which frames aren't here; return how many pairs were lost: 0 or 1."""
        if self._joined:
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
        known = {} if new else self.totals
        skipped = 0 if new else seq - self._next_seq
        unseen = {
            source: total.paired - frames.get(source, 0) - known.get(source, Totals()).paired
            for source, total in totals.items()
        }
        if skipped < 0 or any(count < 0 for count in unseen.values()):
            raise ProtocolError(f"pair {seq} contradicts what was announced before")
        (self.missed if new else self.frames).update(unseen)
        self.pairs += skipped
        self.totals = {**known, **totals}
        self._run = run
        self._joined = self._joined and not new
        return skipped


def _frames(header: PairHeader) -> dict[str, int]:
    return {source: clip.frames for source, clip in header.clips.items()}
