"""What a recording says of one source's windows: so a replay need not work it out, and could not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from msgspec.structs import replace

from framepair.protocol.wire.pair import ClipHeader, Totals
from framepair.protocol.wire.reasons import (
    COMBINER_LOST,
    FRAGMENTED,
    PRODUCER_DROPPED,
    TRANSPORT,
)
from framepair.protocol.wire.recorded import RecordedClip

# So many wait for their windows to close at most: producers send one when its window is over.
MAX_WAITING: Final = 4096
# The recorded totals have these: what they are of was recorded, and then announced in no pair.
COUNTED_THEN: Final = (FRAGMENTED, COMBINER_LOST)
NOTHING: Final = Totals()


@dataclass(frozen=True, slots=True)
class Said:
    """What the recording says of a window, and what this combiner had counted when it said so."""

    word: RecordedClip
    then: Totals

    def clip(self, clip: ClipHeader) -> ClipHeader:
        """Return the clip of frames that came, as it was announced, less what did not come here."""
        told = self.word.clip or ClipHeader()
        lacking = max(0, self.word.frames - clip.frames)
        return replace(
            clip,
            expected=told.expected,
            gaps=told.gaps + lacking,
            late=told.late,
            dropped=told.dropped + lacking,
            missing=told.missing,
            restamped=told.restamped,
            delay_ns=told.delay_ns,
            pause_ns=told.pause_ns,
            complete=told.complete is True and not lacking,
        )


class Recorded:
    """The recorded clips of one source that wait for their windows, and its totals as of the newest.

    ``whole``: they began with the recording. Else a former combiner has counted what was before.
    """

    def __init__(self, *, whole: bool) -> None:
        self._whole = whole
        self._waiting: dict[int, Said] = {}
        self._newest: Said | None = None
        self._base: Said | None = None
        self._taken_ns = -1

    @property
    def following(self) -> RecordedClip | None:
        """The first clip that waits."""
        return next((said.word for said in self._waiting.values()), None)

    def add(self, word: RecordedClip, then: Totals) -> bool:
        """Add a clip, or the totals at the end; return False if there are too many, or it is out of turn."""
        said = Said(word, then)
        if not self._whole and self._base is None:
            self._base = said
        if word.end_ns:
            newest_ns = next(reversed(self._waiting), self._taken_ns)
            if len(self._waiting) >= MAX_WAITING or word.start_ns <= newest_ns:
                return False
            self._waiting[word.start_ns] = said
        if word.clip is not None:
            self._newest = said
        return True

    def take(self, start_ns: int) -> Said | None:
        """Return what is said of the window from ``start_ns`` on, and forget it and those before."""
        self._taken_ns = max(self._taken_ns, start_ns)
        while self._waiting and (first_ns := next(iter(self._waiting))) <= start_ns:
            said = self._waiting.pop(first_ns)
            if first_ns == start_ns:
                return said
        return None

    def totals(self, now: Totals, refused: Mapping[str, int], said: Said | None = None) -> Totals:
        """Return the recorded totals, as of ``said`` or of ``now``, with what was lost here besides.

        ``now`` is what this combiner counts, ``refused`` the frames in it that came and are of no use.
        """
        if said is not None:
            open_then = _came(said.then) - _came(now) + now.open
            now = replace(now, captured=said.then.captured, open=max(0, open_then))
        said = said or self._newest
        if said is None or said.word.clip is None:
            return now
        told, base = said.word.clip.totals, self._base_totals()
        captured = told.captured - base.captured + now.captured - said.then.captured
        dropped = Counter(told.dropped) - Counter(base.dropped) + self._lost(said)
        dropped += Counter({r: n for r, n in refused.items() if r not in COUNTED_THEN})
        late = max(0, told.late - base.late) + now.late
        rest = captured - now.paired - now.open - late - dropped.total()
        dropped[TRANSPORT] += max(0, rest)
        return replace(
            told,
            captured=captured - min(0, rest),
            paired=now.paired,
            open=now.open,
            late=late,
            rejected=told.rejected + now.rejected,
            dropped=dict(+dropped),
        )

    def _lost(self, said: Said) -> Counter[str]:
        lost = Counter(said.word.lost) + Counter({PRODUCER_DROPPED: said.word.unsent})
        if self._base is not None:
            lost -= Counter(self._base.word.lost)
            lost -= Counter({PRODUCER_DROPPED: self._base.word.unsent})
        return lost

    def _base_totals(self) -> Totals:
        """Return what had been counted before this combiner heard of the recording."""
        if self._base is None or self._base.word.clip is None:
            return NOTHING
        told = self._base.word.clip.totals
        return replace(told, captured=max(0, told.captured - self._base.then.captured))


def _came(totals: Totals) -> int:
    """Return how many frames came, whatever became of them."""
    refused = sum(totals.dropped.values()) - totals.gaps
    return totals.paired + totals.open + totals.late + refused
