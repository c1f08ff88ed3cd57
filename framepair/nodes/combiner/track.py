"""How long a window is, how long it is waited for, and which stamps make sense."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from framepair.nodes.combiner.continuity import Arrival, Continuity
from framepair.protocol.wire.frame import EndReason, FrameHeader, Pace, SourceEnd
from framepair.protocol.wire.pair import Missing, Totals

# A camera that slows down in bad light still covers its time; one that says nothing for longer does not.
MIN_OUTAGE_NS = 250_000_000
OUTAGE_PERIODS = 3
IDLE_PERIODS = 2


@dataclass(frozen=True, slots=True)
class Outage:
    """Of what was captured in [from_ns, until_ns), if anything was, nothing will come."""

    from_ns: int
    until_ns: int
    reason: Missing


@dataclass(slots=True)
class Track:
    """One source as the combiner sees it.

    ``watermark_ns``: no frame captured before it will still come, as the last word of ``run`` promises.
    ``newest`` is the frame of that run that was captured last. ``over_ns`` is about when a run ended.
    """

    continuity: Continuity = field(default_factory=Continuity)
    run: int | None = None
    newest: FrameHeader | None = None
    watermark_ns: int = 0
    over_ns: int = 0
    arrived_ns: int = 0
    ended: EndReason | None = None
    outages: list[Outage] = field(default_factory=list)
    paired: int = 0
    open: int = 0
    late: int = 0
    rejected: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    longest_outage_ns: int = 0
    announced_late: int = 0
    announced_dropped: int = 0

    def advance(self, header: FrameHeader, arrival: Arrival, promise_ns: int) -> None:
        """Move the watermark to ``promise_ns``, back as well: a promise that was not kept is void.

        Frames that come out of order, or after another run has begun, say nothing of how far the source is.
        """
        overtaken = header.run != self.run and not arrival.begins
        if arrival.filled or (overtaken and promise_ns <= self.watermark_ns):
            return
        newest = self.newest if header.run == self.run else None
        if newest is None or header.captured_ns >= newest.captured_ns:
            self.newest = header
        self.run = header.run
        self.watermark_ns = promise_ns
        self.ended = None

    def end(self, end: SourceEnd, arrival: Arrival) -> None:
        """Take a producer's last word, unless another producer has taken its place already."""
        if end.run != self.run and not arrival.begins:
            return
        self.ended = end.reason
        if arrival.lost and self.newest and end.run == self.run:
            self.over_ns = self.newest.captured_ns + (arrival.lost + 1) * self.newest.period_ns

    def note_outage(self, header: FrameHeader, arrival: Arrival, *, idle: bool) -> None:
        """Remember that the source was away before ``header``, if it was: ``idle`` says so for sure."""
        until_ns = header.captured_ns - header.period_ns + 1
        if self.newest is None:
            self._leave(0, until_ns, "not_started")
        elif arrival.begins:
            # The run before may have captured more until then, and taken it with it.
            self._leave(self.watermark_ns, header.captured_ns, "offline")
        elif idle or self._was_silent(header, self.newest, arrival.lost):
            self._leave(self.watermark_ns, until_ns, "offline")

    def ends_within(self, start_ns: int, end_ns: int) -> bool:
        """Return whether the source is over, and ended after ``start_ns`` and before ``end_ns``."""
        return self.ended is not None and start_ns < max(self.watermark_ns, self.over_ns) < end_ns

    def is_idle(self, now_ns: int, idle_timeout_ns: int) -> bool:
        """Return whether nothing came for so long that nobody waits any longer."""
        period_ns = self.newest.period_ns if self.newest else 0
        return now_ns - self.arrived_ns > max(idle_timeout_ns, IDLE_PERIODS * period_ns)

    def why_missing(self, start_ns: int, end_ns: int, *, idle: bool) -> Missing | None:
        """Return why not all of [start_ns, end_ns) is covered when it closes; None: all of it is."""
        for outage in self.outages:
            if outage.from_ns < end_ns and outage.until_ns > start_ns:
                return outage.reason
        if self.watermark_ns >= end_ns:
            return None
        if self.ended:
            return "ended"
        if self.newest is None:
            return "not_started"
        if idle:
            # It goes on: how long it is in all, only its end will tell.
            self.longest_outage_ns = max(self.longest_outage_ns, end_ns - self.watermark_ns)
        return "offline" if idle else "slow"

    def expected(self, start_ns: int, end_ns: int) -> int:
        """Return how many frames [start_ns, end_ns) has at the nominal rate, given when the newest came."""
        if self.newest is None:
            return 0
        anchor_ns, period_ns = self.newest.captured_ns, self.newest.period_ns
        return (end_ns - 1 - anchor_ns) // period_ns - (start_ns - 1 - anchor_ns) // period_ns

    def announce(self, frames: int, end_ns: int) -> tuple[int, int]:
        """Count ``frames`` of a window up to ``end_ns`` as paired.

        Return how many were late and how many dropped since the last time.
        """
        self.paired += frames
        self.open -= frames
        self.outages = [outage for outage in self.outages if outage.until_ns > end_ns]
        dropped = (self.continuity.dropped() + self.refused).total()
        news = self.late - self.announced_late, max(0, dropped - self.announced_dropped)
        self.announced_late, self.announced_dropped = self.late, dropped
        return news

    def refuse(self, frames: int, reason: str) -> None:
        """Drop ``frames`` that were open."""
        self.open -= frames
        self.refused[reason] += frames

    def totals(self) -> Totals:
        """Return what became of this source's frames until now."""
        missing = self.continuity.dropped()
        return Totals(
            captured=self.continuity.captured,
            paired=self.paired,
            open=self.open,
            late=self.late,
            gaps=missing.total(),
            rejected=self.rejected,
            dropped=dict(missing + self.refused),
            runs=self.continuity.runs,
            reopened=self.continuity.reopened,
            outage_ns=self.longest_outage_ns,
            began=self.continuity.began,
            reached=self.continuity.reached,
        )

    def _was_silent(self, header: FrameHeader, newest: FrameHeader, lost: int) -> bool:
        """Return whether more time passed between two frames than the ``lost`` ones explain."""
        silence_ns = header.captured_ns - newest.captured_ns - lost * header.period_ns
        return silence_ns > max(MIN_OUTAGE_NS, OUTAGE_PERIODS * header.period_ns)

    def _leave(self, from_ns: int, until_ns: int, reason: Missing) -> None:
        if from_ns < until_ns:
            if reason == "offline":
                self.longest_outage_ns = max(self.longest_outage_ns, until_ns - from_ns)
            self.outages.append(Outage(from_ns, until_ns, reason))


# A stamp further ahead than this is wrong: windows that nobody can close would pile up behind it.
MAX_AHEAD_WINDOWS = 2
MAX_AHEAD_NS = 1_000_000_000
MAX_MEDIA_JUMP_NS = 3600 * 1_000_000_000


@dataclass(frozen=True, slots=True)
class Rules:
    """Length of a window, and how long to wait, in nanoseconds. With pace max no clock matters."""

    window_ns: int = 1_000_000_000
    max_wait_ns: int = 500_000_000
    idle_timeout_ns: int = 2_000_000_000
    start_timeout_ns: int = 5_000_000_000
    pace: Pace = "realtime"

    def furthest_ns(self, captured_ns: int, now_ns: int) -> int:
        """Return the last stamp that makes sense after ``captured_ns``, and now."""
        if self.pace == "max":
            return captured_ns + MAX_MEDIA_JUMP_NS
        return now_ns + max(MAX_AHEAD_NS, MAX_AHEAD_WINDOWS * self.window_ns)

    def promise_ns(self, header: FrameHeader, now_ns: int) -> int:
        """Return until when nothing will come after ``header``, as it says.

        It isn't believed for long: a producer that dies keeps any promise.
        """
        idle_ns = header.captured_ns + IDLE_PERIODS * header.period_ns
        return min(header.next_ns, max(idle_ns, self.furthest_ns(header.captured_ns, now_ns)))
