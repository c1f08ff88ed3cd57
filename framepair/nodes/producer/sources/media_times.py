"""Times of a file's frames: what the container says of each, and what is made of times that can't be."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Final

SECOND_NS: Final = 1_000_000_000
# Recordings pause for an hour; a jump of more than this in a format whose times may be discontinuous is
# the place where two of them were joined.
MAX_JUMP_NS: Final = 10 * SECOND_NS


class MediaTimes:
    """Times of frames in the order in which they are shown, strictly increasing, in nanoseconds.

    A frame's own time counts, less ``start``, the container's. Where it is missing, goes back, or jumps
    forward although the format is ``discontinuous``, the nominal ``period_ns`` goes on from there, and
    ``say`` is called with what is wrong, once. ``tick`` is the container's unit in seconds: two frames within
    one keep their order. ``base_ns`` is where the video begins: after the passes before, if it is looped.
    """

    def __init__(
        self,
        *,
        period_ns: int,
        tick: Fraction,
        start: Fraction = Fraction(0),
        discontinuous: bool = False,
        base_ns: int = 0,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._period_ns = period_ns
        self._tick = tick
        self._tick_ns = max(1, round(tick * SECOND_NS))
        self._max_jump_ns = MAX_JUMP_NS if discontinuous else None
        self._base_ns = base_ns
        self._shift = -start
        self._last_ns: int | None = None
        self._say = say
        self._said = False

    def place(self, pts: int | None) -> int:
        """Return the time of the next frame, whose presentation time is ``pts`` ticks; None: it has none."""
        found_ns = self._place(pts)
        self._last_ns = found_ns
        return self._base_ns + found_ns

    def _place(self, pts: int | None) -> int:
        if pts is None:
            self._say_once("frames without times")
            return 0 if self._last_ns is None else self._last_ns + self._period_ns
        at_ns = self._ns(pts)
        if self._last_ns is None:
            return max(0, at_ns)
        if at_ns <= self._last_ns:
            return self._after_step_back(pts, self._last_ns - at_ns, self._last_ns)
        if self._max_jump_ns is not None and at_ns - self._last_ns > self._max_jump_ns:
            return self._go_on(pts, self._last_ns, f"a jump of {_seconds(at_ns - self._last_ns)}")
        return at_ns

    def _after_step_back(self, pts: int, back_ns: int, last_ns: int) -> int:
        if back_ns >= self._tick_ns:
            return self._go_on(pts, last_ns, f"times that go back by {_seconds(back_ns)}")
        # Rounded to the same tick: halfway to the next one, which then is still ahead.
        return last_ns + max(1, (self._tick_ns - back_ns) // 2)

    def _go_on(self, pts: int, last_ns: int, what: str) -> int:
        self._say_once(what)
        self._shift = Fraction(last_ns + self._period_ns, SECOND_NS) - pts * self._tick
        return last_ns + self._period_ns

    def _ns(self, pts: int) -> int:
        return round((pts * self._tick + self._shift) * SECOND_NS)

    def _say_once(self, what: str) -> None:
        if not self._said:
            self._said = True
            self._say(f"has {what}: going on at {SECOND_NS / self._period_ns:g} fps from there")


def _seconds(ns: int) -> str:
    return f"{ns / SECOND_NS:.3g} s"
