"""When a window closes, and which ones are passed over."""

from __future__ import annotations

from collections.abc import Mapping

from nodes.pairing.open_windows import OpenWindows
from nodes.pairing.rules import Rules
from nodes.pairing.track import Track

# After so many windows in which nobody captured anything, further ones are passed over, not announced: in
# real time if they all were over before anybody looked at the clock, with pace max in any case.
MAX_EMPTY = 10


class Closing:
    """Decides for the window that closes next, from how far each source has come and the clock."""

    def __init__(self, rules: Rules, tracks: Mapping[str, Track], windows: OpenWindows) -> None:
        self._rules = rules
        self._tracks = tracks
        self._windows = windows
        self._empty = 0

    def is_due(self, now_ns: int) -> bool:
        """Return whether it closes now."""
        if self._windows.next is None:
            return False
        end_ns = (self._windows.next + 1) * self._rules.window_ns
        waited_for = [t for t in self._tracks.values() if self._is_waited_for(t, now_ns)]
        if waited_for and all(track.watermark_ns >= end_ns for track in waited_for):
            return True
        if self._rules.pace == "max":
            return not waited_for and len(self._windows) > 0
        return now_ns >= end_ns + self._rules.max_wait_ns

    def end_ns(self) -> int | None:
        """Return when the next window ends; None if that is not a matter of time."""
        if self._windows.next is None or self._rules.pace == "max":
            return None
        return (self._windows.next + 1) * self._rules.window_ns

    def is_idle(self, track: Track, now_ns: int) -> bool:
        """Return whether a source has been silent for so long that nobody waits for it."""
        if self._rules.pace == "max":
            return False
        return track.is_idle(now_ns, self._rules.idle_timeout_ns)

    def count(self, *, empty: bool) -> None:
        """Take note of a window that was closed."""
        self._empty = self._empty + 1 if empty else 0

    def pass_over(self, now_ns: int) -> bool:
        """Pass over empty windows, if they are too many; return False if none was passed over."""
        if self._rules.pace == "realtime":
            return self.pass_over_until(self._windows.index(now_ns - self._rules.max_wait_ns) - 1)
        watermarks = [track.watermark_ns for track in self._tracks.values() if not track.ended]
        if watermarks:
            return self.pass_over_until(self._windows.index(min(watermarks)))
        return self.pass_over_until(self._windows.oldest() or 0)

    def pass_over_until(self, last: int) -> bool:
        """Go on with the first window that holds a frame, or with ``last`` if that comes before."""
        following, oldest = self._windows.next or 0, self._windows.oldest()
        target = last if oldest is None else min(oldest, last)
        empty = self._empty if self._rules.pace == "max" else target - following - 1
        if target <= following or empty < MAX_EMPTY:
            return False
        self._windows.next = target
        return True

    def _is_waited_for(self, track: Track, now_ns: int) -> bool:
        if track.ended:
            return False
        if self._rules.pace == "max":
            return True
        return track.newest is not None and not self.is_idle(track, now_ns)
