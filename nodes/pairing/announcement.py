"""What is announced of one source when a window closes: its frames, and what is missing."""

from __future__ import annotations

from dataclasses import dataclass

from nodes.pairing.open_windows import OpenClip
from nodes.pairing.track import Track
from protocol.pair import ClipHeader
from protocol.reasons import FRAGMENTED


@dataclass(frozen=True, slots=True)
class ClosedWindow:
    """A window [start_ns, end_ns) as it is announced; a clip may be announced in ``max_spans`` pieces."""

    start_ns: int
    end_ns: int
    max_spans: int

    def clip(self, track: Track, clip: OpenClip, *, idle: bool) -> tuple[ClipHeader, bool]:
        """Return the clip of ``track``, and whether all that was captured is in it. Counts its frames."""
        spans = clip.spans()
        kept = spans[: self.max_spans]
        left_out = sum(span.count for span in spans[self.max_spans :])
        # Their stamps are in disorder, or nearly all of the others were lost.
        track.refuse(left_out, FRAGMENTED)
        missing = track.why_missing(self.start_ns, self.end_ns, idle=idle)
        lost, may_lack = track.continuity.lost_in(self.start_ns, self.end_ns)
        late, dropped = track.announce(len(clip.stamps) - left_out, self.end_ns)
        header = ClipHeader(
            spans=kept,
            received_ns=clip.received_ns,
            expected=track.expected(self.start_ns, self.end_ns),
            gaps=lost,
            late=late,
            dropped=dropped,
            missing=missing,
            totals=track.totals(),
        )
        return header, missing is None and not may_lack and not left_out
