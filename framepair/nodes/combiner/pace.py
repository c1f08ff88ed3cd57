"""What differs between real time and offline work: which stamps make sense, and when a window closes."""

# Both policies are asked the same questions, and need not use all that they are told.
# ruff: noqa: ARG002

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from framepair.nodes.combiner.continuity import MAX_LOST
from framepair.nodes.combiner.delays import Delays, NoDelays
from framepair.protocol.wire.frame import Alive, FrameHeader, Pace
from framepair.protocol.wire.header import MAX_INT
from framepair.protocol.wire.limits import MAX_FPS

S = 1_000_000_000
# A promise holds for so long without a renewal; one that reaches further is believed for MAX_AHEAD_NS only,
# or a producer that was killed would look alive for ever.
MAX_PROMISE_NS = 60 * S
# How far ahead of the clock an alive message moves a watermark: two such messages may get lost.
MAX_AHEAD_NS = 1 * S
# A stamp further ahead than this is wrong: windows that cannot close yet would pile up behind it.
MAX_AHEAD_WINDOWS = 2
MAX_MEDIA_JUMP_NS = 3600 * S
# Promises close a window so much before its end at most, whatever a damaged or hostile source promises.
MAX_EARLY_NS = 50_000_000
# What a window waits beyond the longest delay that was measured: delays vary.
WAIT_MARGIN_NS = S // 2
# After so many windows in which nothing was captured, further ones are passed over, not announced: in real
# time if they all were over before the clock was looked at, with pace max in any case.
MAX_EMPTY = 10


@dataclass(frozen=True, slots=True)
class Rules:
    """Length of a window, and how long to wait, in nanoseconds. With pace max no clock matters.

    ``max_wait_ns`` is the bound: how long a window waits within it, the sources' delays decide. ``max_bytes``
    of each source's frames may wait for the first window (None: two windows of them).
    """

    window_ns: int = S
    max_wait_ns: int = S // 2
    idle_timeout_ns: int = 2 * S
    start_timeout_ns: int = 5 * S
    pace: Pace = "realtime"
    max_bytes: int | None = None


class RealTime:
    """The clock decides when a window closes, promises only how early; what is late is dropped, and counted."""

    lossless = False

    def __init__(self, rules: Rules) -> None:
        self._rules = rules

    def delays(self) -> Delays:
        """Return what measures a source's delays."""
        return Delays()

    def furthest_ns(self, watermark_ns: int, now_ns: int) -> int:
        """Return the last stamp that makes sense now, of a source that is at ``watermark_ns``."""
        return now_ns + max(MAX_AHEAD_NS, MAX_AHEAD_WINDOWS * self._rules.window_ns)

    def promise_ns(self, header: FrameHeader, now_ns: int) -> int:
        """Return until when nothing will come after ``header``, as far as it is believed."""
        if header.next_ns <= now_ns + MAX_PROMISE_NS:
            return header.next_ns
        return max(header.captured_ns, now_ns + MAX_AHEAD_NS)

    def renewed_ns(self, alive: Alive, watermark_ns: int, now_ns: int) -> int:
        """Return until when nothing will come after ``alive``, as far as it is believed."""
        return max(watermark_ns, min(alive.next_ns, now_ns + MAX_AHEAD_NS))

    def most_frames(self, elapsed_ns: int) -> int:
        """Return how many frames a source can have captured in ``elapsed_ns``, and a second of grace."""
        # No run captures frames faster than a header can name.
        return min(MAX_LOST, MAX_FPS * (max(0, elapsed_ns) + S) // S)

    def is_silent(self, expected_ns: int, now_ns: int) -> bool:
        """Return whether nothing was heard for too long of a source that was expected at ``expected_ns``."""
        return now_ns - expected_ns > self._rules.idle_timeout_ns

    def is_beyond(self, delays: Delays) -> bool:
        """Return whether a source's frames take longer than any window waits."""
        return delays.are_beyond(self._rules.max_wait_ns)

    def wait_ns(self, delays_ns: Collection[int]) -> int:
        """Return how long after its end a window closes at the latest, given the delays of its sources."""
        return min(self._rules.max_wait_ns, max(delays_ns, default=0) + WAIT_MARGIN_NS)

    def earliest_ns(self, end_ns: int) -> int:
        """Return the earliest time at which the window up to ``end_ns`` may close."""
        return end_ns - MAX_EARLY_NS

    def due_ns(
        self, end_ns: int, periods_ns: Collection[int], delays_ns: Collection[int], passed: bool
    ) -> int:
        """Return when the window up to ``end_ns`` closes, given whether the awaited watermarks ``passed`` it.

        ``periods_ns`` are those of sources that have promised nothing but are not waited for: such a source may
        return at any moment, and loses no more than half a period by an early end.
        """
        if passed:
            return end_ns - min(MAX_EARLY_NS, min(periods_ns, default=MAX_EARLY_NS * 2) // 2)
        return end_ns + self.wait_ns(delays_ns)

    def passes_over(self, empty: int, following: int, target: int) -> bool:
        """Return whether the empty windows from ``following`` to ``target`` are too many to be announced."""
        return target - following - 1 >= MAX_EMPTY

    def last_passed(
        self, watermarks_ns: Collection[int], delays_ns: Collection[int], now_ns: int
    ) -> int:
        """Return the time until which empty windows may be passed over."""
        return now_ns - self.wait_ns(delays_ns) - self._rules.window_ns

    def first_window(self, covered_from: Collection[int]) -> int:
        """Return the first window, given the first one that each source was there for from its start."""
        return max(covered_from)

    def covers(self, first: FrameHeader) -> bool:
        """Return whether nothing of its window can have been captured before ``first``, a source's first."""
        return first.captured_ns % self._rules.window_ns < first.period_ns

    def gives_up_start(self, since_ns: int, now_ns: int) -> bool:
        """Return whether sources that have not begun are waited for no longer."""
        return now_ns - since_ns > self._rules.start_timeout_ns


class Offline:
    """Media time: nothing is dropped, every source is waited for, and the clock does not matter."""

    lossless = True

    def __init__(self, rules: Rules) -> None:
        self._rules = rules

    def delays(self) -> Delays:
        """Return what measures nothing: media time has no delay."""
        return NoDelays()

    def furthest_ns(self, watermark_ns: int, now_ns: int) -> int:
        """Return the last stamp that makes sense of a source that is at ``watermark_ns``."""
        if not watermark_ns:
            # A recording has its times of UTC.
            return MAX_INT - self._rules.window_ns
        return min(watermark_ns + MAX_MEDIA_JUMP_NS, MAX_INT - self._rules.window_ns)

    def promise_ns(self, header: FrameHeader, now_ns: int) -> int:
        """Return until when nothing will come after ``header``, as far as it is believed."""
        return min(header.next_ns, self.furthest_ns(header.captured_ns, now_ns))

    def renewed_ns(self, alive: Alive, watermark_ns: int, now_ns: int) -> int:
        """Return the watermark as it was: offline, only frames move it."""
        return watermark_ns

    def most_frames(self, elapsed_ns: int) -> int:
        """Return how many frames a source can have captured: no clock limits that."""
        return MAX_LOST

    def is_silent(self, expected_ns: int, now_ns: int) -> bool:
        """Return False: a source may take as long as it likes."""
        return False

    def is_beyond(self, delays: Delays) -> bool:
        """Return False: a source may take as long as it likes."""
        return False

    def earliest_ns(self, end_ns: int) -> int:
        """Return 0: no clock keeps a window open."""
        return 0

    def due_ns(
        self, end_ns: int, periods_ns: Collection[int], delays_ns: Collection[int], passed: bool
    ) -> int | None:
        """Return 0, at once, if all watermarks have ``passed`` a window; else None: no clock closes it."""
        return 0 if passed else None

    def passes_over(self, empty: int, following: int, target: int) -> bool:
        """Return whether there were so many empty windows in a row that the next are not announced."""
        return empty >= MAX_EMPTY

    def last_passed(
        self, watermarks_ns: Collection[int], delays_ns: Collection[int], now_ns: int
    ) -> int:
        """Return the time until which empty windows may be passed over: as far as every source has come."""
        return min(watermarks_ns, default=MAX_INT)

    def first_window(self, covered_from: Collection[int]) -> int:
        """Return the first window: the first that holds a frame."""
        return min(covered_from)

    def covers(self, first: FrameHeader) -> bool:
        """Return True: a video may begin anywhere in a window."""
        return True

    def gives_up_start(self, since_ns: int, now_ns: int) -> bool:
        """Return False: every source is waited for."""
        return False


Policy = RealTime | Offline


def policy_for(rules: Rules) -> Policy:
    """Return what decides for the pace of ``rules``."""
    return RealTime(rules) if rules.pace == "realtime" else Offline(rules)
