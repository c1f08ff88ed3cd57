"""One source as the combiner sees it: how far it has come, what is missing, and what became of its frames."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from framepair.nodes.combiner.continuity import Continuation, Continuity
from framepair.nodes.combiner.open_windows import OpenClip
from framepair.nodes.combiner.pace import Policy
from framepair.nodes.combiner.recorded import Recorded, Said
from framepair.protocol.wire.frame import Alive, EndReason, FrameHeader, SourceEnd
from framepair.protocol.wire.pair import ClipHeader, Missing, Totals
from framepair.protocol.wire.reasons import COMBINER_OVERFLOW, CORRUPT, FRAGMENTED, FUTURE
from framepair.protocol.wire.recorded import FromProducer, RecordedClip

S = 1_000_000_000
# A camera that slows down in bad light still covers its time; one that says nothing for longer does not.
MIN_OUTAGE_NS = 250_000_000
OUTAGE_PERIODS = 3
# A run is named after the moment of its start by its producer's clock, which may be wrong by so much.
MIN_RUN_AGE_NS = 86400 * S

# What is to be said to the user: its kind, so that it is not said too often, and the message.
Say = Callable[[str, str], None]


@dataclass(frozen=True, slots=True)
class Outage:
    """Of what was captured in [from_ns, until_ns), if anything was, nothing will come."""

    from_ns: int
    until_ns: int
    reason: Missing


class Track:
    """One source. ``watermark_ns``: no frame captured before it will still come, as its last word promises."""

    def __init__(self, source: str, policy: Policy, say: Say) -> None:
        self._source = source
        self._policy = policy
        self._say = say
        self.continuity = Continuity()
        self.delays = policy.delays()
        self.outages: list[Outage] = []
        self.watermark_ns = 0
        # The run that frames came of last, and the frame of it that was captured last.
        self._run: int | None = None
        self._newest: FrameHeader | None = None
        # About when a run ended whose last frames are missing.
        self._over_ns = 0
        self._heard_ns = 0
        self._ended: EndReason | None = None
        self._paired = self._open = self._late = self._rejected = 0
        self._refused: Counter[str] = Counter()
        self._longest_outage_ns = 0
        # Of the run that ended because its stamps went over to another clock; its frames and those of the next
        # may overlap in [from, until).
        self._restamping: int | None = None
        self._restamped_ns: tuple[int, int] = 0, 0
        self._restamped = 0
        self._announced_late = self._announced_dropped = 0
        self._is_beyond = False
        # The run that is known to stamp frames ahead of the clock.
        self._future_run: int | None = None
        self._recorded: Recorded | None = None

    @property
    def is_recorded(self) -> bool:
        """Whether a recording says what its pairs lack."""
        return self._recorded is not None

    @property
    def following(self) -> RecordedClip | None:
        """What the recording says of the next of its windows, as far as it is known."""
        return self._recorded.following if self._recorded else None

    @property
    def ended(self) -> EndReason | None:
        """Why the source is over, None if it is not."""
        return self._ended

    @property
    def begun(self) -> bool:
        """Whether a frame of it came, ever."""
        return self._newest is not None

    @property
    def period_ns(self) -> int:
        """The nominal time between two frames, 0 if none came."""
        return self._newest.period_ns if self._newest else 0

    def is_offline(self, now_ns: int) -> bool:
        """Return whether nothing was heard of the source for so long that it is not waited for."""
        return self._policy.is_silent(max(self._heard_ns, self.watermark_ns), now_ns)

    def is_waited_for(self, now_ns: int) -> bool:
        """Return whether windows wait for the source's watermark."""
        if self._ended:
            return False
        if self._policy.lossless:
            return True
        return self.begun and not self._is_beyond and not self.is_offline(now_ns)

    def frame(self, header: FrameHeader, received_ns: int, furthest_ns: int) -> bool:
        """Note a frame, stamped ``furthest_ns`` at most; return whether it can be used: it is open then."""
        if not self._is_plausible(header, received_ns):
            return False
        if header.captured_ns > furthest_ns:
            self._refuse_future(header, received_ns)
            return False
        continuation = self.continuity.frame(header)
        if not continuation.new:
            self._rejected += 1
            return False
        self._note_outage(header, continuation, offline=self.is_offline(received_ns))
        self._advance(header, continuation, received_ns)
        self._heard_ns = received_ns
        self._measure(header, received_ns)
        self._open += 1
        return True

    def alive(self, alive: Alive, received_ns: int) -> None:
        """Note a sign of life. Until its first frame, a run moves nothing: it is not known what it captures."""
        if not self._is_plausible(alive, received_ns) or not self.continuity.count(alive).new:
            return
        if alive.run == self._run and not self._ended:
            if not self._recorded:
                self.watermark_ns = self._policy.renewed_ns(alive, self.watermark_ns, received_ns)
            self._heard_ns = received_ns

    def retell(self, word: RecordedClip, received_ns: int) -> None:
        """Note what a recording says of a window that is over: from now on that moves the watermark."""
        if self._recorded is None:
            self._recorded = Recorded(whole=word.clip is None)
        if not self._recorded.add(word, self._worked_totals()):
            self._rejected += 1
        self.watermark_ns = max(self.watermark_ns, word.end_ns)
        self._heard_ns = received_ns

    def end(self, end: SourceEnd, received_ns: int) -> None:
        """Note a producer's last word: the source is over, unless another has taken its place already.

        A run that was restamped goes on as the next one.
        """
        if not self._is_plausible(end, received_ns):
            return
        continuation = self.continuity.count(end)
        if not continuation.new:
            self._rejected += 1
        elif end.reason == "restamped":
            self._restamping = end.run
        elif end.run == self._run or continuation.begins:
            self._ended = end.reason
            if continuation.lost and self._newest and end.run == self._run:
                lost_ns = (continuation.lost + 1) * self._newest.period_ns
                self._over_ns = self._newest.captured_ns + lost_ns

    def return_anew(self) -> None:
        """Begin again after the source was removed: its account goes on, the time without it was no outage."""
        self.delays = self._policy.delays()
        self.outages = []
        self.watermark_ns = self._heard_ns = self._over_ns = 0
        self._run = self._newest = self._ended = self._restamping = None
        self._restamped_ns = 0, 0
        self._is_beyond = False

    def stop(self) -> None:
        """Note that nothing more will come, since the combiner stops."""
        self._ended = self._ended or "stopped"

    def reject(self) -> None:
        """Count a message that is of no use; it may explain why a frame is missing."""
        self._rejected += 1
        self.continuity.explain(CORRUPT)

    def reject_rival(self, message: FromProducer) -> None:
        """Count a message of a second producer, which may take the source over later."""
        self._rejected += 1
        if isinstance(message, FrameHeader):
            self.continuity.refuse_rival(message.run)

    def overflow(self, count: int) -> None:
        """Count messages that had to be dropped unread."""
        self.continuity.explain(COMBINER_OVERFLOW, count)

    def drop(self, frames: int, reason: str) -> None:
        """Drop ``frames`` that were open."""
        self._open -= frames
        self._refused[reason] += frames

    def miss_window(self) -> None:
        """Count a frame, open until now, as late."""
        self._open -= 1
        self._late += 1

    def ends_within(self, start_ns: int, end_ns: int) -> bool:
        """Return whether the source is over, and ended after ``start_ns`` and before ``end_ns``.

        Of a recorded window, before it is announced, whether its pair said so.
        """
        following = self.following
        if following is not None and following.start_ns == start_ns:
            return following.partial
        over_ns = max(self.watermark_ns, self._over_ns)
        return self._ended is not None and start_ns < over_ns < end_ns

    def announce(
        self, clip: OpenClip, start_ns: int, end_ns: int, max_spans: int, now_ns: int
    ) -> ClipHeader:
        """Return the clip of [start_ns, end_ns). Counts its frames.

        Beyond ``max_spans`` a clip's frames are dropped: their stamps are in disorder, or most of them lost.
        """
        spans = clip.spans()
        left_out = sum(span.count for span in spans[max_spans:])
        self.drop(left_out, FRAGMENTED)
        missing = self._why_missing(start_ns, end_ns, now_ns)
        lost, may_lack = self.continuity.lost_in(start_ns, end_ns)
        expected = self._expected(start_ns, end_ns)
        restamped = self._restamped_ns[0] < end_ns and self._restamped_ns[1] > start_ns
        late, dropped = self._count(len(clip.stamps) - left_out, end_ns)
        said = self._recorded.take(start_ns) if self._recorded else None
        if missing == "offline":
            # It goes on: how long it is in all, only its end will tell.
            self._longest_outage_ns = max(self._longest_outage_ns, end_ns - self.watermark_ns)
        worked_out = ClipHeader(
            spans=spans[:max_spans],
            received_ns=clip.received_ns,
            expected=expected,
            gaps=lost,
            late=late,
            dropped=dropped,
            missing=missing,
            restamped=restamped,
            delay_ns=self.delays.delay_ns,
            pause_ns=self.delays.pause_ns,
            totals=self.totals(said),
            complete=missing is None and not (may_lack or left_out or restamped),
        )
        described = clip.described(worked_out)
        return said.clip(described) if said else described

    def totals(self, said: Said | None = None) -> Totals:
        """Return what became of this source's frames until now, or when a recording ``said`` so."""
        worked_out = self._worked_totals()
        if self._recorded is None:
            return worked_out
        return self._recorded.totals(worked_out, self._refused, said)

    def _worked_totals(self) -> Totals:
        missing = self.continuity.dropped()
        return Totals(
            captured=self.continuity.captured,
            paired=self._paired,
            open=self._open,
            late=self._late,
            gaps=missing.total(),
            rejected=self._rejected,
            dropped=dict(missing + self._refused),
            runs=self.continuity.runs,
            restamped=self._restamped,
            reopened=self.continuity.reopened,
            outage_ns=self._longest_outage_ns,
            began=self.continuity.began,
            reached=self.continuity.reached,
        )

    def _is_plausible(self, message: FrameHeader | Alive | SourceEnd, received_ns: int) -> bool:
        """Return whether its run can have captured as many frames by now; else count it as rejected."""
        if message.run == self._run:
            elapsed_ns = received_ns - self._heard_ns
        else:
            elapsed_ns = max(MIN_RUN_AGE_NS, received_ns - message.run)
        ahead = self.continuity.ahead(message)
        if ahead <= self._policy.most_frames(elapsed_ns):
            return True
        self._rejected += 1
        self._say(
            f"seq of {self._source}",
            f"{self._source}: refused a message: it says that {ahead} frames were captured in"
            f" {elapsed_ns / S:.1f} s: restart its producer",
        )
        return False

    def _refuse_future(self, header: FrameHeader, received_ns: int) -> None:
        self._rejected += not self.continuity.refuse(header, FUTURE).new
        if header.run == self._future_run:
            return
        self._future_run = header.run
        ahead_s = (header.captured_ns - received_ns) / S
        self._say(
            f"future of {self._source}",
            f"{self._source}: refused frames that are stamped {ahead_s:.1f} s ahead of this clock: let its"
            " producer compare clocks (--sync), or restart it",
        )

    def _measure(self, header: FrameHeader, received_ns: int) -> None:
        """Measure a frame's delay; name the source, once, when no window waits for its frames any more."""
        self.delays.add(header.captured_ns, received_ns)
        was_beyond, self._is_beyond = self._is_beyond, self._policy.is_beyond(self.delays)
        if self._is_beyond and not was_beyond:
            delay_s = self.delays.delay_ns / S
            self._say(
                f"delay of {self._source}",
                f"{self._source} delivers {delay_s:.1f} s late, longer than a pair waits: its frames will be"
                f" late, unless you give --max-wait {math.ceil(delay_s + 0.5)}",
            )

    def _advance(self, header: FrameHeader, continuation: Continuation, received_ns: int) -> None:
        """Move the watermark as ``header`` promises, back as well: a promise that was not kept is void.

        Frames that come out of order, or after another run has begun, say nothing of how far the source is.
        """
        promise_ns = self._policy.promise_ns(header, received_ns)
        overtaken = header.run != self._run and not continuation.begins
        if continuation.filled or (overtaken and promise_ns <= self.watermark_ns):
            return
        newest = self._newest if header.run == self._run else None
        if newest is None or header.captured_ns >= newest.captured_ns:
            self._newest = header
        self._run = header.run
        if not self._recorded:
            self.watermark_ns = promise_ns
        self._ended = None

    def _note_outage(
        self, header: FrameHeader, continuation: Continuation, *, offline: bool
    ) -> None:
        """Remember that the source was away before ``header``, if it was: ``offline`` says so for sure."""
        until_ns = header.captured_ns - header.period_ns + 1
        if self._newest is None:
            self._leave(0, until_ns, "not_started")
        elif continuation.begins and self._restamping == self._run:
            self._restamp(header, self._newest)
            if offline or self._was_silent(header, self._newest, continuation.lost):
                self._leave(self.watermark_ns, until_ns, "offline")
        elif continuation.begins:
            # The run before may have captured more until then, and taken it with it.
            self._leave(self.watermark_ns, header.captured_ns, "offline")
        elif offline or self._was_silent(header, self._newest, continuation.lost):
            self._leave(self.watermark_ns, until_ns, "offline")

    def _restamp(self, header: FrameHeader, newest: FrameHeader) -> None:
        """Remember that from ``newest`` to ``header``, the next run's first, stamps changed their clock."""
        self._restamped += 1
        from_ns, until_ns = sorted((newest.captured_ns, header.captured_ns))
        self._restamped_ns = from_ns, max(until_ns, self.watermark_ns) + 1

    def _was_silent(self, header: FrameHeader, newest: FrameHeader, lost: int) -> bool:
        """Return whether more time passed between two frames than the ``lost`` ones explain."""
        silence_ns = header.captured_ns - newest.captured_ns - lost * header.period_ns
        return silence_ns > max(MIN_OUTAGE_NS, OUTAGE_PERIODS * header.period_ns)

    def _leave(self, from_ns: int, until_ns: int, reason: Missing) -> None:
        if from_ns < until_ns:
            if reason == "offline":
                self._longest_outage_ns = max(self._longest_outage_ns, until_ns - from_ns)
            self.outages.append(Outage(from_ns, until_ns, reason))

    def _why_missing(self, start_ns: int, end_ns: int, now_ns: int) -> Missing | None:
        """Return why not all of [start_ns, end_ns) is covered when it closes; None: all of it is."""
        for outage in self.outages:
            if outage.from_ns < end_ns and outage.until_ns > start_ns:
                return outage.reason
        if self.watermark_ns >= end_ns:
            return None
        if self._ended:
            return "ended"
        if not self.begun:
            return "not_started"
        return "offline" if self.is_offline(now_ns) else "slow"

    def _expected(self, start_ns: int, end_ns: int) -> int:
        """Return how many frames [start_ns, end_ns) has at the nominal rate, given when the newest came."""
        if self._newest is None:
            return 0
        anchor_ns, period_ns = self._newest.captured_ns, self._newest.period_ns
        return (end_ns - 1 - anchor_ns) // period_ns - (start_ns - 1 - anchor_ns) // period_ns

    def _count(self, frames: int, end_ns: int) -> tuple[int, int]:
        """Count ``frames`` of a window up to ``end_ns`` as paired.

        Return how many were late and how many dropped since the last time.
        """
        self._paired += frames
        self._open -= frames
        self.outages = [outage for outage in self.outages if outage.until_ns > end_ns]
        dropped = (self.continuity.dropped() + self._refused).total()
        news = self._late - self._announced_late, max(0, dropped - self._announced_dropped)
        self._announced_late, self._announced_dropped = self._late, dropped
        return news
