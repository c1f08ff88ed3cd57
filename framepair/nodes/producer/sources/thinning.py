"""Fewer frames a second than a source has: which ones to take, by their time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import Final

from framepair.nodes.producer.sources.source import Capture, Format, Image, Position
from framepair.protocol.clocks import clock
from framepair.protocol.clocks.clock import Clock

SECOND_NS: Final = 1_000_000_000
# After a jump of so many periods, forward or back, the schedule begins anew.
MAX_BEHIND, MAX_AHEAD = 1, 2


class Thinning:
    """Chooses frames that are a period of ``fps`` apart in the mean, each near to its due time.

    Due times are multiples of the period, so that sources with the same clock keep frames of the same moments.
    Where frames come more seldom than that, all are taken. ``own_fps`` is the rate at which they come.
    """

    def __init__(self, fps: float, own_fps: float) -> None:
        self._period_ns = round(SECOND_NS / fps)
        own_ns = round(SECOND_NS / own_fps)
        # A frame that is nearer to its due time than the one after it. Where nearly all are taken, jitter must
        # not make it leave out more.
        self._early_ns = own_ns // 2 if self._period_ns >= 2 * own_ns else self._period_ns
        self._due_ns = 0

    @property
    def earliest_ns(self) -> int:
        """The earliest time of a frame that is taken next."""
        return self._due_ns - self._early_ns

    def takes(self, at_ns: int) -> bool:
        """Return whether to take a frame of this time."""
        behind_ns = at_ns - self._due_ns
        if behind_ns < -MAX_AHEAD * self._period_ns:
            self._begin(at_ns)
        elif behind_ns < -self._early_ns:
            return False
        elif behind_ns < MAX_BEHIND * self._period_ns:
            self._due_ns += self._period_ns
        else:
            self._begin(at_ns)
        return True

    def _begin(self, at_ns: int) -> None:
        self._due_ns = (at_ns // self._period_ns + 1) * self._period_ns


def thinned(
    capture: Capture,
    fps: float | None,
    *,
    stopped: Callable[[], bool] = lambda: False,
    beat: Callable[[], None] = lambda: None,
) -> Capture:
    """Return ``capture`` with at most ``fps`` frames a second, itself if that is None; see Thinned."""
    return capture if fps is None else Thinned(capture, fps, stopped=stopped, beat=beat)


class Thinned:
    """A capture with at most ``fps`` frames a second of another; ``skipped`` counts those left out.

    ``stopped`` is asked, and ``beat`` called, at each frame of the other: there may be very many.
    """

    def __init__(
        self,
        capture: Capture,
        fps: float,
        *,
        stopped: Callable[[], bool] = lambda: False,
        beat: Callable[[], None] = lambda: None,
        now_ns: Clock = clock.now_ns,
    ) -> None:
        self._capture, self._fps = capture, fps
        self._stopped, self._beat, self._now_ns = stopped, beat, now_ns
        self.skipped = 0

    @cached_property
    def _thinning(self) -> Thinning:
        # Only now: what a live source looks like isn't known before it was there.
        return Thinning(self._fps, self._capture.format.fps)

    @property
    def reopened(self) -> int:
        """How often the source was opened again; see Capture."""
        return self._capture.reopened

    @property
    def format(self) -> Format:
        """What frames look like; how many are left in all is not known."""
        known = self._capture.format
        return known if known.fps <= self._fps else replace(known, fps=self._fps, total=0)

    @property
    def position(self) -> Position | None:
        """Time of the grabbed frame, and the earliest one of the next that will be taken."""
        found = self._capture.position
        if found is None:
            return None
        # What a recorded frame was called would make holes of those that are left out.
        next_ns = max(found.next_ns, self._thinning.earliest_ns)
        return replace(found, next_ns=next_ns, named=None)

    def grab(self) -> bool:
        """Go on to the next frame that is wanted; see Capture."""
        while self._capture.grab():
            position = self._capture.position
            if self._thinning.takes(self._now_ns() if position is None else position.at_ns):
                return True
            self.skipped += 1
            self._beat()
            if self._stopped():
                break
        return False

    def retrieve(self, out: Image, seq: int, captured_ns: int) -> Image:
        """Decode the grabbed frame into ``out``; see Capture."""
        return self._capture.retrieve(out, seq, captured_ns)

    def close(self) -> None:
        """Let go of the source."""
        self._capture.close()
