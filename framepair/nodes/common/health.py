"""What a node tells of itself while it works: that it goes on, and how many frames have passed."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from framepair.nodes.common.status import STATUS_VARIABLE, StatusFile
from framepair.protocol.transport.heartbeat import BEAT_S, DESCRIPTOR_VARIABLE


class Health:
    """A heartbeat that comes from the work itself: a node that hangs is silent, whatever its threads do.

    The work loop calls ``beat`` at each of its turns, with or without a frame; at most every BEAT_S a line
    ``frames=COUNT`` goes to the launcher, if there is one, and to ``file`` what a health check asks for.
    """

    def __init__(self, descriptor: int | None, file: StatusFile | None = None) -> None:
        self.frames = 0
        self._descriptor = descriptor
        self._file = file
        self._next_s = 0.0

    def frame(self) -> None:
        """Count a frame that has passed."""
        self.frames += 1

    def beat(self) -> None:
        """Say that the work goes on."""
        now_s = time.monotonic()
        if self._file is not None:
            self._file.beat(now_s, self.frames)
        if now_s >= self._next_s:
            self._next_s = now_s + BEAT_S
            self._tell(f"frames={self.frames}\n")

    def ready(self) -> None:
        """Say that the work has begun."""
        self._tell("ready\n")

    def done(self) -> None:
        """Say that the work is done, whatever the exit status will be: nobody should begin it again."""
        self._tell("done\n")

    def _tell(self, line: str) -> None:
        if self._descriptor is not None:
            # A launcher that is stopped doesn't read; one that is gone has its own signal.
            with contextlib.suppress(OSError):
                os.write(self._descriptor, line.encode())


def from_environment() -> Health:
    """Return what reports to the launcher that started this process, or to nobody, and to the status file."""
    path = os.environ.get(STATUS_VARIABLE)
    return Health(_descriptor(), StatusFile(Path(path)) if path else None)


def _descriptor() -> int | None:
    descriptor = os.environ.pop(DESCRIPTOR_VARIABLE, "")
    if not descriptor.isdecimal():
        return None
    with contextlib.suppress(OSError):
        os.set_blocking(int(descriptor), False)
        os.set_inheritable(int(descriptor), False)
        return int(descriptor)
    return None
