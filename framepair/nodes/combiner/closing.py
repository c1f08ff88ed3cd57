"""When a pair's window closes: pure logic, without sockets, threads or a clock.

A window closes once the watermark of every source that is waited for has passed its end. In real time it closes
no more than 50 ms before its end (half a period of a source that may return unannounced), and no later than its
sources' longest delay and a margin after it, ``max_wait_ns`` at most.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from framepair.nodes.combiner.open_windows import OpenWindows
from framepair.nodes.combiner.pace import Policy
from framepair.nodes.combiner.track import Track


class Closing:
    """Decides for the window that closes next, from how far each source has come and the clock."""

    def __init__(self, policy: Policy, tracks: Mapping[str, Track], windows: OpenWindows) -> None:
        self._policy = policy
        self._tracks = tracks
        self._windows = windows
        self._empty = 0

    def due_ns(self, now_ns: int) -> int | None:
        """Return when it closes if nothing comes until then; None if that is not a matter of time."""
        end_ns = self._windows.end_ns
        if end_ns is None:
            return None
        waited_for = self._waited_for(now_ns)
        passed = all(track.watermark_ns >= end_ns for track in waited_for)
        if not waited_for:
            passed = self._policy.lossless and len(self._windows) > 0
        return self._policy.due_ns(
            end_ns, self._unpromised_ns(end_ns), _delays_ns(waited_for), passed
        )

    def is_due(self, now_ns: int) -> bool:
        """Return whether it closes now."""
        end_ns = self._windows.end_ns
        # With many sources this saves most of the work: it is asked after each frame.
        if end_ns is None or now_ns < self._policy.earliest_ns(end_ns):
            return False
        due_ns = self.due_ns(now_ns)
        return due_ns is not None and now_ns >= due_ns

    def count(self, *, empty: bool) -> None:
        """Take note of a window that was closed."""
        self._empty = self._empty + 1 if empty else 0

    def pass_over(self, now_ns: int) -> bool:
        """Pass over empty windows, if they are too many; return False if none was passed over."""
        delays_ns = _delays_ns(self._waited_for(now_ns))
        watermarks_ns = [track.watermark_ns for track in self._tracks.values() if not track.ended]
        last_ns = self._policy.last_passed(watermarks_ns, delays_ns, now_ns)
        return self.pass_over_until(self._windows.index(last_ns))

    def pass_over_until(self, last: int) -> bool:
        """Go on with the first window that holds a frame, or with ``last`` if that comes before."""
        following, oldest = self._windows.next or 0, self._windows.oldest()
        target = last if oldest is None else min(oldest, last)
        if target <= following or not self._policy.passes_over(self._empty, following, target):
            return False
        self._windows.go_on_with(target)
        return True

    def _unpromised_ns(self, end_ns: int) -> list[int]:
        """Return the periods of the sources that have not promised to be past ``end_ns``: they may return."""
        return [
            track.period_ns
            for track in self._tracks.values()
            if track.begun and not track.ended and track.watermark_ns < end_ns
        ]

    def _waited_for(self, now_ns: int) -> list[Track]:
        return [track for track in self._tracks.values() if track.is_waited_for(now_ns)]


def _delays_ns(tracks: Iterable[Track]) -> list[int]:
    return [track.delays.delay_ns for track in tracks]
