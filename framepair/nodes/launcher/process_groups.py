"""Process groups: who is in them, and their end. A process that only waits to be reaped is in none."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Collection
from pathlib import Path

POLL_S = 0.02


def members(groups: Collection[int]) -> dict[int, int]:
    """Return the group of each process that is in one of ``groups`` and has not ended, by its pid."""
    pids = [path.name for path in Path("/proc").iterdir() if path.name.isdecimal()]
    found = ((int(pid), group) for pid in pids if (group := _group(pid)) is not None)
    return {pid: group for pid, group in found if group in groups}


def wait_until_empty(groups: Collection[int], for_s: float) -> set[int]:
    """Wait until all of ``groups`` are empty, ``for_s`` at most; return those that never were."""
    until_s = time.monotonic() + for_s
    # Only what was never seen empty: the id of a group that was may have become another's.
    while (left := set(members(groups).values())) and time.monotonic() < until_s:
        groups = left
        time.sleep(POLL_S)
    return left


def send(number: signal.Signals, groups: Collection[int]) -> None:
    """Send a signal to all processes of ``groups``, as far as they are there and ours."""
    for group in groups:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, number)


def terminate_children(groups: Collection[int]) -> None:
    """Ask the processes of ``groups`` to stop, but for the leaders: those were asked, or have ended."""
    for pid, group in members(groups).items():
        if pid != group:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGTERM)


def parent(pid: int) -> int | None:
    """Return the process that is the parent of ``pid``, None if that has ended."""
    status = _status(str(pid))
    return int(status[1]) if status else None


def _group(pid: str) -> int | None:
    """Return the group of a process, None if it has ended."""
    status = _status(pid)
    return None if status is None or status[0] in b"ZX" else int(status[2])


def _status(pid: str) -> list[bytes] | None:
    """Return what the kernel says of a process: its state, parent, group and more; None if it has ended."""
    try:
        status = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    # Before the last parenthesis is the command's name, which may hold anything.
    return status.rpartition(b")")[2].split()
