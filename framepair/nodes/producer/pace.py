"""How fast a source is played, and what that means for its stamps and for sending."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Protocol

from framepair.nodes.producer.sources.source import Format
from framepair.nodes.producer.stamps import LiveStamps, MediaStamps, PacedStamps, Stamps
from framepair.protocol.clocks.clock import Clock
from framepair.protocol.wire import frame


class Pace(Protocol):
    """All that depends on ``--pace``."""

    name: ClassVar[frame.Pace]
    lossless: ClassVar[bool]
    """Whether a frame waits until it can be sent; else it is dropped."""
    compares_clocks: ClassVar[bool]
    """Whether stamps are times that another machine may see otherwise."""
    says_alive: ClassVar[bool]
    """Whether the combiner is told that there is no frame yet; else it waits, however long that takes."""

    def stamps(self, source_format: Format, offset_ns: int | None, now_ns: Clock) -> Stamps:
        """Return the rule for the frames of a source, beginning now.

        ``offset_ns`` is what the combiner's clock is ahead of ``now_ns``, None if it is the same.
        """

    def total(self, source_format: Format, until_s: float) -> int:
        """Return how many frames will come in all until ``until_s``, 0 if that is not known."""


@dataclass(frozen=True, slots=True)
class RealTime:
    """As the source plays: frames that cannot be sent in time are dropped.

    A source that is ``recorded`` has a beginning, which is to be that of a window. ``offset_ns`` is added to
    stamps; a recording is played so much later. One with times of its own begins at ``play_at_ns`` or a little
    later, as far into a window as it was recorded.
    """

    window_s: float
    recorded: bool
    offset_ns: int = 0
    play_at_ns: int | None = None

    name: ClassVar[frame.Pace] = "realtime"
    lossless: ClassVar[bool] = False
    compares_clocks: ClassVar[bool] = True
    says_alive: ClassVar[bool] = True

    def stamps(self, source_format: Format, offset_ns: int | None, now_ns: Clock) -> Stamps:
        """Return stamps by the clock, or on a schedule; see Pace."""
        if source_format.live:
            return LiveStamps(source_format.fps, now_ns, self.offset_ns)
        start_ns = now_ns()
        if source_format.begins_ns is not None:
            play_at_ns = start_ns if self.play_at_ns is None else self.play_at_ns
            begins_ns = source_format.begins_ns + source_format.start_ns
            start_ns = _same_phase_ns(play_at_ns, begins_ns, self.window_s)
            return PacedStamps(
                source_format.fps, start_ns + self.offset_ns, now_ns, is_put_off=False
            )
        if self.recorded:
            start_ns = _window_start_ns(start_ns, self.window_s, source_format.fps, offset_ns)
        return PacedStamps(source_format.fps, start_ns + self.offset_ns, now_ns)

    def total(self, source_format: Format, until_s: float) -> int:  # noqa: ARG002
        """Return how many frames the source has: when frames come decides how many there are by then."""
        return source_format.total


@dataclass(frozen=True, slots=True)
class Offline:
    """As fast as all can: stamps are times within the video and ``offset_ns``, and no frame is dropped."""

    offset_ns: int = 0

    name: ClassVar[frame.Pace] = "max"
    lossless: ClassVar[bool] = True
    compares_clocks: ClassVar[bool] = False
    says_alive: ClassVar[bool] = False

    def stamps(self, source_format: Format, offset_ns: int | None, now_ns: Clock) -> Stamps:  # noqa: ARG002
        """Return stamps within the video; see Pace."""
        begins_ns = (source_format.begins_ns or 0) + source_format.start_ns
        return MediaStamps(self.offset_ns + begins_ns)

    def total(self, source_format: Format, until_s: float) -> int:
        """Return how many frames of the video are before ``until_s``."""
        if math.isinf(until_s):
            return source_format.total
        until = max(0, math.ceil((until_s - self.offset_ns / 1e9) * source_format.fps))
        return min(source_format.total or until, until)


def named(
    name: frame.Pace,
    *,
    window_s: float,
    recorded: bool,
    offset_ns: int = 0,
    play_at_ns: int | None = None,
) -> Pace:
    """Return the pace that ``--pace`` names, for pairs of ``window_s``."""
    if name == Offline.name:
        return Offline(offset_ns)
    return RealTime(window_s, recorded, offset_ns, play_at_ns)


def _same_phase_ns(from_ns: int, begins_ns: int, window_s: float) -> int:
    """Return the first time from ``from_ns`` on that is as far into its window as ``begins_ns`` is."""
    window_ns = round(window_s * 1e9)
    return from_ns + (begins_ns - from_ns) % window_ns


def _window_start_ns(now_ns: int, window_s: float, fps: float, clock_offset_ns: int | None) -> int:
    """Return when a video with a beginning begins: with a window, or its first frames would be in no pair."""
    window_ns = round(window_s * 1e9)
    if clock_offset_ns is None:
        return -(-now_ns // window_ns) * window_ns
    # By the combiner's clock; half a period later, as at the very start of a window it might be just before it.
    start_ns = -(-(now_ns + clock_offset_ns) // window_ns) * window_ns
    return start_ns + round(0.5e9 / fps) - clock_offset_ns
