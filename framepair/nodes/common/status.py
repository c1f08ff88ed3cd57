"""A node's status as the times of a small file, for health checks of containers, which are not its parent."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

# Names the file; nodes that don't have it in their environment write none.
STATUS_VARIABLE = "FRAMEPAIR_STATUS"
WRITE_S = 1.0


class StatusFile:
    """Writes how many frames have passed, at most each WRITE_S, whole or not at all.

    Its modification time is when the newest frame had passed, 1970 before the first; its change time is when
    the work loop wrote it. So a check is one command without an interpreter: deploy/container/healthcheck.sh.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._new = path.with_name(f".{path.name}.new")
        self._frames = 0
        self._frame_s: float | None = None
        self._next_s = 0.0

    def write(self, now_s: float, frames: int) -> None:
        """Note a turn of the work loop, and that ``frames`` have passed so far."""
        if frames != self._frames:
            self._frames, self._frame_s = frames, now_s
        if now_s >= self._next_s:
            self._next_s = now_s + WRITE_S
            # Anew from the age: a step of the wall clock makes the times wrong for WRITE_S only.
            frame_utc_s = 0.0 if self._frame_s is None else time.time() - (now_s - self._frame_s)
            # Where it can't be written a health check finds an old one: that is no reason to stop working.
            with contextlib.suppress(OSError):
                self._new.write_text(f"{self._frames} frames\n")
                os.utime(self._new, (frame_utc_s, frame_utc_s))
                self._new.replace(self._path)


def status_file() -> StatusFile | None:
    """Return the file that the environment names, None if it names none."""
    path = os.environ.get(STATUS_VARIABLE)
    return StatusFile(Path(path)) if path else None
