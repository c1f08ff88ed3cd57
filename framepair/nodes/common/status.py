"""A node's status as a small file, for health checks of containers, which are not its parent."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

# Names the file; nodes that don't have it in their environment write none.
STATUS_VARIABLE = "FRAMEPAIR_STATUS"
WRITE_S = 1.0


@dataclass(frozen=True)
class Status:
    """What a node wrote of itself, in seconds of CLOCK_MONOTONIC, which all containers of a machine share."""

    frames: int
    turn_s: float
    """When its work loop wrote this."""
    frame_s: float | None
    """When the newest frame had passed, None before the first."""


class StatusFile:
    """Writes the status at most each WRITE_S, whole or not at all."""

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
            status = Status(frames=frames, turn_s=now_s, frame_s=self._frame_s)
            # Where it can't be written a health check finds an old one: that is no reason to stop working.
            with contextlib.suppress(OSError):
                self._new.write_text(json.dumps(asdict(status)))
                self._new.replace(self._path)


def status_file() -> StatusFile | None:
    """Return the file that the environment names, None if it names none."""
    path = os.environ.get(STATUS_VARIABLE)
    return StatusFile(Path(path)) if path else None


def read(path: Path) -> Status:
    """Return what a node wrote to ``path``; raises OSError if there is none, ValueError if it isn't one."""
    fields = json.loads(path.read_text())
    try:
        frame_s = fields["frame_s"]
        return Status(
            frames=int(fields["frames"]),
            turn_s=float(fields["turn_s"]),
            frame_s=None if frame_s is None else float(frame_s),
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path} is not a status file") from error


def complaint(
    status: Status, now_s: float, max_age_s: float, *, frames_matter: bool = True
) -> str | None:
    """Return what is wrong with a node of this status, in a few words, or None."""
    if now_s - status.turn_s > max_age_s:
        return f"hangs: its work loop has not turned for {now_s - status.turn_s:.1f} s"
    if not frames_matter:
        return None
    if status.frame_s is None:
        return "no frame yet"
    if now_s - status.frame_s > max_age_s:
        return f"no frame for {now_s - status.frame_s:.1f} s"
    return None
