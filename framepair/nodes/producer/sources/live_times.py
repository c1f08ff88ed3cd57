"""Capture times of a live stream's frames, in grades: by the camera's clock, by media time, by arrival.

A stream says when a frame was taken in its own media time (``pts``), whose zero is unknown. Two things tell
where that is: the frames that came with the least delay (``MediaFloor``), and a camera's sender reports, which
pair media time with the camera's UTC (``CameraClock``). ``LiveTimes`` decides which one stamps frames.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from framepair.nodes.producer.sources.camera_clock import CameraClock, Plausible, duration
from framepair.nodes.producer.sources.media_floor import Grade, MediaFloor, Time

GRADES: Final[dict[str, Grade]] = {"camera": "camera", "media": "media", "arrival": "arrival"}
REPORT_WAIT_NS: Final = 10_000_000_000


class LiveTimes:
    """Times of a stream's frames in the order of showing, by the best of the clocks that can be trusted.

    Where the grade changes, the caller begins a new run: within a grade, times strictly increase. It gets
    better once, when the camera's clock has proved itself, and worse once, if that goes wrong later; if media
    time begins anew, so does the proof. ``say`` is called with each thing that a user should know. ``best`` is
    the best grade that may be used; ``by_hand``, the camera's clock is used from its first report on, whatever
    it says.
    """

    def __init__(
        self,
        period_ns: int,
        *,
        best: Grade = "camera",
        by_hand: bool = False,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._best, self._by_hand, self._say = best, by_hand, say
        self._floor = MediaFloor(period_ns)
        self._camera, self._plausible = CameraClock(), Plausible(period_ns)
        self._wrong = self._missed = self._used = False
        self._began_ns: int | None = None
        self._last: Time | None = None

    def add_report(self, pts_ns: int, camera_ns: int) -> None:
        """Add a sender report: at media time ``pts_ns`` it was ``camera_ns`` by the camera's clock."""
        self._camera.add_report(pts_ns, camera_ns)

    def set_period(self, period_ns: int) -> None:
        """Count on frames that come every ``period_ns``."""
        self._floor.period_ns = self._plausible.period_ns = period_ns

    def place(self, pts_ns: int | None, arrived_ns: int) -> Time:
        """Return the time of the next frame, which came at ``arrived_ns``."""
        found, last = self._place(pts_ns, arrived_ns), self._last
        behind_ns = 0
        if last is not None and last.grade == found.grade:
            behind_ns = max(0, last.captured_ns + 1 - found.captured_ns)
        self._last = Time(
            found.captured_ns + behind_ns, found.grade, found.uncertainty_ns + behind_ns
        )
        return self._last

    def _place(self, pts_ns: int | None, arrived_ns: int) -> Time:
        if pts_ns is None or self._best == "arrival":
            return Time(arrived_ns, "arrival", 0)
        beginnings = self._floor.beginnings
        media = self._floor.place(pts_ns, arrived_ns)
        if self._floor.beginnings > beginnings > 0:
            # What reports said is of another media time.
            self._camera, self._plausible = CameraClock(), Plausible(self._floor.period_ns)
            self._used, self._began_ns = False, arrived_ns
        by_camera = None if self._best == "media" else self._by_camera(pts_ns, arrived_ns)
        return by_camera or media

    def _by_camera(self, pts_ns: int, arrived_ns: int) -> Time | None:
        """Return the time by the camera's clock, None if that can't be trusted."""
        self._note_missing_reports(arrived_ns)
        if self._wrong or not self._camera.heard:
            return None
        camera_ns, error_ns = self._camera.time_ns(pts_ns), self._camera.error_ns
        by_camera = Time(camera_ns, "camera", error_ns)
        if self._by_hand:
            return by_camera
        wrong = self._plausible.contradiction(
            camera_ns, arrived_ns, error_ns, self._floor.jitter_ns
        )
        if self._used and not self._camera.known:
            wrong = f"unsteady by {duration(error_ns)}"
        if wrong:
            self._wrong = True
            self._say(f"clock is {wrong}: pairing by media time")
            return None
        self._used = self._used or (self._plausible.settled and self._camera.known)
        return by_camera if self._used else None

    def _note_missing_reports(self, arrived_ns: int) -> None:
        if self._began_ns is None:
            self._began_ns = arrived_ns
        late = arrived_ns - self._began_ns > REPORT_WAIT_NS
        if late and not self._missed and not self._camera.heard:
            self._missed = True
            self._say("clock is not known, 10 s after the first frame: pairing by media time")
