"""Kills what tests have started once their own process is gone, however it went: reaper PID."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

# In the environment of all that a test starts, and of all that this starts: the pid of pytest, and which it is.
MARK_VARIABLE = "FRAMEPAIR_TEST_PROCESS"


def start() -> None:
    """Start a reaper for this process, and mark what it will start: a pytest that is killed leaves nothing."""
    environment = {name: value for name, value in os.environ.items() if name != MARK_VARIABLE}
    os.environ[MARK_VARIABLE] = f"{os.getpid()}-"
    # A session of its own, or what kills the group that pytest is in would kill it too.
    os.posix_spawn(
        sys.executable,
        [sys.executable, str(Path(__file__)), str(os.getpid())],
        environment,
        file_actions=[(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_RDWR, 0) for fd in (0, 1, 2)],
        setsid=True,
    )


def environment(pid: int) -> list[bytes]:
    """Return the environment that a process was started with, nothing if it has ended."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return []


def pids() -> Iterator[int]:
    """Yield the pid of every process that there is."""
    return (int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal())


def _kill_those_of(tests: int) -> None:
    mark = f"{MARK_VARIABLE}={tests}-".encode()
    # Again, as what was found may have started more before it was killed.
    while found := [pid for pid in pids() if any(e.startswith(mark) for e in environment(pid))]:
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def main() -> None:
    tests = int(sys.argv[1])
    with contextlib.suppress(ProcessLookupError):
        select.select([os.pidfd_open(tests)], [], [])
    _kill_those_of(tests)


if __name__ == "__main__":
    main()
