"""One source as the headers of pairs describe it, without its pixels."""

from __future__ import annotations

from collections import deque
from typing import Final, Literal

from framepair.nodes.monitor.counters import FrameCounters
from framepair.protocol.client.clip import Pair
from framepair.protocol.wire.pair import ClipHeader

S: Final = 1_000_000_000
# The rate is measured over so many windows with frames.
RATE_WINDOWS: Final = 10
# A source is silent if it is expected to go on, and its newest frame is older than the window, this, and a
# pause of so many periods.
SILENT_NS, PAUSE_PERIODS = S, 3

Word = Literal["on", "silent", "slow", "offline", "not_started", "ended", "stopped", "unknown"]
UP: Final = ("on", "slow")


class SourceState:
    """What is known of a source; all times are this monitor's, but for stamps of frames."""

    def __init__(self, counters: FrameCounters) -> None:
        self.counters = counters
        self.clip = ClipHeader()
        self.over: Word | None = None
        """Why nothing more comes, once the combiner has said its last word."""
        self.described = ClipHeader()
        """The newest clip that had a frame."""
        self.is_gone = False
        """Whether the pipeline has no such source any more."""
        self._captured_ns: int | None = None
        self._start_ns = self._end_ns = 0
        self._rate: deque[tuple[int, int]] = deque(maxlen=RATE_WINDOWS + 1)

    def add_clip(
        self, clip: ClipHeader, pair: Pair, ahead_ns: int | None, *, follows: bool
    ) -> None:
        """Note the clip of a ``pair`` that came just now, by a clock that is ``ahead_ns`` of the combiner's.

        None: stamps are media time. ``follows``: its window is the one after the former clip's.
        """
        self.clip, self.over = clip, None
        self._start_ns, self._end_ns = pair.start_ns, pair.end_ns
        if not (follows and clip.newest_ns):
            self._rate.clear()
        if not clip.newest_ns:
            return
        self.described = clip
        self._captured_ns = None if ahead_ns is None else clip.newest_ns + ahead_ns
        self._rate.append((clip.frames + clip.gaps, clip.newest_ns))

    def age_ns(self, now_ns: int) -> int | None:
        """Return how long ago the newest frame was captured; None: none came, or no clock says so."""
        return None if self._captured_ns is None else max(0, now_ns - self._captured_ns)

    def word(self, now_ns: int) -> Word:
        """Return how the source is."""
        if self.over or (self.clip.missing and not self._is_back):
            return self.over or self.clip.missing or "on"
        age_ns, window_ns = self.age_ns(now_ns), self._end_ns - self._start_ns
        patience_ns = window_ns + SILENT_NS + self._pause_ns
        return "silent" if age_ns is not None and age_ns > patience_ns else "on"

    @property
    def _is_back(self) -> bool:
        """Whether it was away for a part of the window, and frames came up to its end."""
        return self.clip.missing != "ended" and self.clip.newest_ns > self._end_ns - self._pause_ns

    @property
    def _pause_ns(self) -> int:
        """How long a source that is there may be without a frame."""
        return round(PAUSE_PERIODS * S / (self.described.fps or 1.0))

    @property
    def fps(self) -> float | None:
        """Frames a second that it captures, by its stamps; None before two windows with frames came."""
        if len(self._rate) < 2:
            return None
        frames = sum(count for count, _ in list(self._rate)[1:])
        time_ns = self._rate[-1][1] - self._rate[0][1]
        return frames * S / time_ns if time_ns > 0 else None
