"""The processor time of processes, from /proc."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

PROC = Path("/proc")
# Of /proc/PID/stat, counted behind the name, which is in parentheses and may hold anything.
PARENT, USER, SYSTEM = 1, 11, 12


def seconds(pids: Iterable[int]) -> float:
    """Return the seconds that processors have worked for ``pids`` so far, in user and kernel mode."""
    ticks = sum(int(fields[USER]) + int(fields[SYSTEM]) for fields in map(_stat, pids) if fields)
    return ticks / os.sysconf("SC_CLK_TCK")


def main_thread_seconds(pid: int) -> float:
    """Return the seconds that processors have worked for the main thread of ``pid`` so far."""
    fields = _stat(f"{pid}/task/{pid}")
    ticks = int(fields[USER]) + int(fields[SYSTEM]) if fields else 0
    return ticks / os.sysconf("SC_CLK_TCK")


def children(pid: int) -> list[int]:
    """Return the processes that ``pid`` has started and that still run."""
    pids = [int(path.name) for path in PROC.iterdir() if path.name.isdecimal()]
    return [child for child in pids if (fields := _stat(child)) and int(fields[PARENT]) == pid]


def _stat(pid: int | str) -> list[str]:
    try:
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
