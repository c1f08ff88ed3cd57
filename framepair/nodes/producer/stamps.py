"""When frames are due, and what stamps they bear."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from framepair.nodes.common.runtime import Stop
from framepair.protocol.clocks import clock
from framepair.protocol.clocks.clock import Clock

# A player that is behind by more than this, because it was stopped or is too slow, goes on from now.
MAX_BEHIND_NS = 500_000_000
# A frame is begun so many times sooner than the slowest one lately would have needed.
HEAD_START = 3
FORGETTING = 0.99


@dataclass(frozen=True, slots=True)
class Stamp:
    """Capture time of a frame, and the earliest one that the next frame can bear; nanoseconds."""

    captured_ns: int
    next_ns: int


class Stamps(Protocol):
    """A rule that stamps frames in the order of capture."""

    def rest(self, stop: Stop) -> None:
        """Wait until it is time to grab the next frame, or until ``stop``."""

    def stamp(self) -> Stamp:
        """Return the stamp of the frame that was just grabbed."""

    def wait(self, stamp: Stamp, stop: Stop) -> None:
        """Wait until the frame is due, or until ``stop``."""

    def earliest_ns(self) -> int:
        """Return the earliest stamp that the next frame can bear, if none was grabbed yet."""


class LiveStamps:
    """Stamps of a camera: the time right after the grab. The next may come half a period later."""

    def __init__(self, fps: float, now_ns: Clock = clock.now_ns) -> None:
        self._half_period_ns = round(0.5e9 / fps)
        self._now_ns = now_ns

    def earliest_ns(self) -> int:
        """Return the time now: the camera has captured nothing that was not grabbed."""
        return self._now_ns()

    def stamp(self) -> Stamp:
        """Return the time now."""
        captured_ns = self._now_ns()
        return Stamp(captured_ns, captured_ns + self._half_period_ns)

    def rest(self, stop: Stop) -> None:
        """Return at once: the camera makes one wait."""

    def wait(self, stamp: Stamp, stop: Stop) -> None:
        """Return at once: the camera has waited."""


class MediaStamps:
    """Stamps of a video that is read as fast as it can be: the time within the video."""

    def __init__(self, fps: float) -> None:
        self._fps = fps
        self._count = 0

    def stamp(self) -> Stamp:
        """Return the next time in the video."""
        self._count += 1
        return Stamp(_offset_ns(self._count - 1, self._fps), _offset_ns(self._count, self._fps))

    def earliest_ns(self) -> int:
        """Return the next time in the video."""
        return _offset_ns(self._count, self._fps)

    def rest(self, stop: Stop) -> None:
        """Return at once."""

    def wait(self, stamp: Stamp, stop: Stop) -> None:
        """Return at once."""


class PacedStamps:
    """Stamps of a video that is played: on an absolute schedule, so that no error adds up.

    If the player falls behind, the schedule is put off by whole periods; a promise that was given
    (``next_ns``) holds, since stamps only get later.
    """

    def __init__(self, fps: float, start_ns: int, now_ns: Clock = clock.now_ns) -> None:
        self._now_ns = now_ns
        self._fps = fps
        self._start_ns = start_ns
        self._count = 0
        self._rested_ns = start_ns
        self._needs_ns = 0.0
        self._played = False

    def rest(self, stop: Stop) -> None:
        """Wait until half a period before the next frame is due, or sooner if decoding takes long.

        The frame before is still on its way, and on a machine with few processors decoding the next one
        would keep it waiting.
        """
        ahead_ns = max(0.5e9 / self._fps, HEAD_START * self._needs_ns)
        left_ns = self._due_ns() - ahead_ns - self._now_ns()
        # How long the first one takes is not known.
        if left_ns > 0 and self._played:
            stop.wait(left_ns / 1e9)
        self._rested_ns = self._now_ns()

    def stamp(self) -> Stamp:
        """Return when the frame that was just grabbed is due."""
        behind_ns = self._now_ns() - self._due_ns()
        if behind_ns > MAX_BEHIND_NS:
            self._count += int(behind_ns * self._fps / 1e9)
        captured_ns = self._due_ns()
        self._count += 1
        return Stamp(captured_ns, self._due_ns())

    def wait(self, stamp: Stamp, stop: Stop) -> None:
        """Wait until the frame is due, or until ``stop``."""
        now_ns = self._now_ns()
        # The longest that decoding took, and slowly forgotten.
        self._needs_ns = max(now_ns - self._rested_ns, FORGETTING * self._needs_ns)
        self._played = True
        left_ns = stamp.captured_ns - now_ns
        if left_ns > 0:
            stop.wait(left_ns / 1e9)

    def earliest_ns(self) -> int:
        """Return when the next frame is due."""
        return self._due_ns()

    def _due_ns(self) -> int:
        return self._start_ns + _offset_ns(self._count, self._fps)


def _offset_ns(count: int, fps: float) -> int:
    return round(count * 1e9 / fps)
