"""When frames are due, and what stamps they bear."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from framepair.nodes.common.runtime import Stop
from framepair.nodes.producer.sources.source import Position
from framepair.protocol.clocks import clock
from framepair.protocol.clocks.clock import Clock
from framepair.protocol.wire.frame import StampGrade

# A player that is behind by more than this, because it was stopped or is too slow, goes on from now.
MAX_BEHIND_NS = 500_000_000
# A frame is begun so many times sooner than the slowest one lately would have needed.
HEAD_START = 3
FORGETTING = 0.99


@dataclass(frozen=True, slots=True)
class Stamp:
    """Capture time of a frame, and the earliest one that the next frame can bear; nanoseconds.

    ``grade`` says how it is known, ``uncertainty_ns`` how far it may be wrong (None: not known). ``anew``: it
    is by another clock than the stamp before, and may be earlier: a new run has to begin. ``late``: it is of no
    use any more, as others have played on.
    """

    captured_ns: int
    next_ns: int
    grade: StampGrade = "exact"
    uncertainty_ns: int | None = 0
    anew: bool = False
    late: bool = False


class Stamps(Protocol):
    """A rule that stamps frames in the order of capture."""

    def rest(self, stop: Stop) -> None:
        """Wait until it is time to grab the next frame, or until ``stop``."""

    def stamp(self, position: Position | None) -> Stamp:
        """Return the stamp of the frame that was just grabbed."""

    def wait(self, stamp: Stamp, stop: Stop) -> None:
        """Wait until the frame is due, or until ``stop``."""

    def earliest_ns(self) -> int:
        """Return the earliest stamp that the next frame can bear, if none was grabbed yet."""

    def of_position(self, at_ns: int) -> int:
        """Return the stamp of a frame at ``at_ns`` within the video."""

    def wait_until(self, at_ns: int, stop: Stop) -> None:
        """Wait until frames that are stamped ``at_ns`` are due, or until ``stop``."""


class LiveStamps:
    """Stamps of a live source: its own, else the time right after the grab; ``offset_ns`` is added to both.

    The next may come half a period later; a stamp of the source's own that is earlier waits for that, so that
    what was promised holds. What was promised by one clock is void once stamps go over to a camera's, or back.
    """

    def __init__(self, fps: float, now_ns: Clock = clock.now_ns, offset_ns: int = 0) -> None:
        self._half_period_ns = round(0.5e9 / fps)
        self._now_ns = now_ns
        self._offset_ns = offset_ns
        self._promised_ns = 0
        self._stamps_itself = False
        self._grade: StampGrade | None = None

    def earliest_ns(self) -> int:
        """Return the time now, unless the source has stamps of its own: its next frame may be under way."""
        return self._promised_ns if self._stamps_itself else self._now_ns() + self._offset_ns

    def stamp(self, position: Position | None) -> Stamp:
        """Return the source's stamp of the frame that was just grabbed, or the time now."""
        self._stamps_itself = position is not None
        if position is None:
            now_ns = self._now_ns() + self._offset_ns
            return Stamp(now_ns, now_ns + self._half_period_ns, "arrival", None)
        anew = self._goes_over_to(position.grade)
        if anew:
            self._promised_ns = 0
        at_ns, next_ns = position.at_ns + self._offset_ns, position.next_ns + self._offset_ns
        late_ns = max(0, self._promised_ns - at_ns)
        captured_ns = at_ns + late_ns
        # One more at least: no two frames bear the same stamp.
        self._promised_ns = max(next_ns, captured_ns + 1)
        known = position.uncertainty_ns
        uncertainty_ns = None if known is None else known + late_ns
        return Stamp(captured_ns, self._promised_ns, position.grade, uncertainty_ns, anew)

    def _goes_over_to(self, grade: StampGrade) -> bool:
        """Return whether ``grade`` means another clock than that of the stamp before."""
        former, self._grade = self._grade, grade
        return former is not None and (former == "camera") is not (grade == "camera")

    def of_position(self, at_ns: int) -> int:
        """Return ``at_ns`` with the offset: a live source's positions are stamps."""
        return at_ns + self._offset_ns

    def wait_until(self, at_ns: int, stop: Stop) -> None:
        """Return at once."""

    def rest(self, stop: Stop) -> None:
        """Return at once: the camera makes one wait."""

    def wait(self, stamp: Stamp, stop: Stop) -> None:
        """Return at once: the camera has waited."""


class MediaStamps:
    """Stamps of a video that is read as fast as it can be: the time within the video, and ``offset_ns``."""

    def __init__(self, offset_ns: int = 0) -> None:
        self._offset_ns = offset_ns
        self._next_ns = offset_ns

    def stamp(self, position: Position | None) -> Stamp:
        """Return where in the video the frame is."""
        position = _within_video(position)
        self._next_ns = position.next_ns + self._offset_ns
        captured_ns = position.at_ns + self._offset_ns
        return Stamp(captured_ns, self._next_ns, position.grade, position.uncertainty_ns)

    def earliest_ns(self) -> int:
        """Return the next time in the video."""
        return self._next_ns

    def of_position(self, at_ns: int) -> int:
        """Return a time within the video as a stamp."""
        return at_ns + self._offset_ns

    def wait_until(self, at_ns: int, stop: Stop) -> None:
        """Return at once."""

    def rest(self, stop: Stop) -> None:
        """Return at once."""

    def wait(self, stamp: Stamp, stop: Stop) -> None:
        """Return at once."""


class PacedStamps:
    """Stamps of a video that is played: on an absolute schedule, so that no error adds up.

    If the player falls behind, the schedule is put off by as much; a promise that was given (``next_ns``)
    holds, since stamps only get later. ``fps`` is the nominal rate, ``start_ns`` when the video begins. One
    that is not ``is_put_off`` plays together with others: what is overdue is late, and to be left out.
    """

    def __init__(
        self,
        fps: float,
        start_ns: int,
        now_ns: Clock = clock.now_ns,
        *,
        is_put_off: bool = True,
    ) -> None:
        self._now_ns = now_ns
        self._is_put_off = is_put_off
        self._half_period_ns = 0.5e9 / fps
        self._start_ns = start_ns
        self._due_ns = start_ns
        self._rested_ns = start_ns
        self._needs_ns = 0.0
        self._played = False

    def rest(self, stop: Stop) -> None:
        """Wait until half a period before the next frame is due, or sooner if decoding takes long.

        The frame before is still on its way, and on a machine with few processors decoding the next one
        would keep it waiting.
        """
        ahead_ns = max(self._half_period_ns, HEAD_START * self._needs_ns)
        left_ns = self._due_ns - ahead_ns - self._now_ns()
        # How long the first one takes is not known.
        if left_ns > 0 and self._played:
            stop.wait(left_ns / 1e9)
        self._rested_ns = self._now_ns()

    def stamp(self, position: Position | None) -> Stamp:
        """Return when the frame that was just grabbed is due."""
        position = _within_video(position)
        behind_ns = self._now_ns() - (self._start_ns + position.at_ns)
        late = behind_ns > MAX_BEHIND_NS
        if late and self._is_put_off:
            self._start_ns += behind_ns
            late = False
        self._due_ns = self._start_ns + position.next_ns
        captured_ns, known = self._start_ns + position.at_ns, position.uncertainty_ns
        return Stamp(captured_ns, self._due_ns, position.grade, known, late=late)

    def wait(self, stamp: Stamp, stop: Stop) -> None:
        """Wait until the frame is due, or until ``stop``."""
        now_ns = self._now_ns()
        # The longest that decoding took, and slowly forgotten.
        self._needs_ns = max(now_ns - self._rested_ns, FORGETTING * self._needs_ns)
        self._played = True
        self.wait_until(stamp.captured_ns, stop)

    def of_position(self, at_ns: int) -> int:
        """Return when what is at ``at_ns`` within the video is due."""
        return self._start_ns + at_ns

    def wait_until(self, at_ns: int, stop: Stop) -> None:
        """Wait until ``at_ns``, or until ``stop``."""
        left_ns = at_ns - self._now_ns()
        if left_ns > 0:
            stop.wait(left_ns / 1e9)

    def earliest_ns(self) -> int:
        """Return when the next frame is due."""
        return self._due_ns


def _within_video(position: Position | None) -> Position:
    if position is None:
        raise ValueError("a live source has no position in a video: it is stamped by LiveStamps")
    return position
