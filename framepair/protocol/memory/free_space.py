"""Whether a ring fits: into its file system, and into the memory that this process may have."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
CGROUPS = Path("/sys/fs/cgroup")
MEBIBYTE = 1024 * 1024


class NoRoom(RuntimeError):  # noqa: N818 - it says what there is
    """Memory for a frame, or for a ring of them, cannot be had; the message says what to do."""


def check(directory: Path, nbytes: int, promised: int = 0) -> None:
    """Raise NoRoom if a ring of ``nbytes`` does not fit into ``directory``, or into memory.

    ``promised`` bytes of what is free are others' already.
    """
    status = os.statvfs(directory)
    # A file system without a limit has no blocks to count.
    if status.f_blocks:
        free = status.f_bavail * status.f_frsize - promised
        _compare(nbytes, free, str(directory), "that more (docker: --shm-size, compose: shm_size)")
    _compare(nbytes, free_memory() - promised, "memory", "the machine or container more of it")


def free_memory() -> int:
    """Return how many bytes can be had: of the machine, and of each control group that this process is in."""
    rows = (PROC / "meminfo").read_text().splitlines()
    available = next(int(row.split()[1]) * 1024 for row in rows if row.startswith("MemAvailable"))
    return min([available, *(left for group in _groups() if (left := group.left()) is not None)])


def _compare(nbytes: int, free: int, where: str, more: str) -> None:
    if nbytes > free:
        raise NoRoom(
            f"a ring of {nbytes / MEBIBYTE:.1f} MiB is needed and {where} has {max(0, free) / MEBIBYTE:.1f} MiB"
            f" free: choose a smaller --history (two windows at the least), or give {more}"
        )


@dataclass(frozen=True, slots=True)
class _Group:
    """A control group, and what the version of its kind calls things."""

    path: Path
    limit: str
    usage: str
    file_pages: tuple[str, str]

    def left(self) -> int | None:
        """Return how many bytes may still be used; None if there is no limit, or no such group here."""
        with contextlib.suppress(OSError, ValueError):
            limit = int((self.path / self.limit).read_text())
            usage = int((self.path / self.usage).read_text())
            rows = (row.split() for row in (self.path / "memory.stat").read_text().splitlines())
            # Videos that were read stay in memory and in the count, but give way.
            cached = sum(int(count) for name, count in rows if name in self.file_pages)
            return max(0, limit - usage + cached)
        return None


def _groups() -> Iterator[_Group]:
    """Yield the groups that this process is in, innermost first; those not visible in a container too."""
    with contextlib.suppress(OSError):
        for line in (PROC / "self/cgroup").read_text().splitlines():
            _, controllers, name = line.split(":", 2)
            inner = Path(name.lstrip("/"))
            for path in (inner, *inner.parents):
                if not controllers:
                    pages = ("inactive_file", "active_file")
                    yield _Group(CGROUPS / path, "memory.max", "memory.current", pages)
                elif "memory" in controllers.split(","):
                    pages = ("total_inactive_file", "total_active_file")
                    usage = "memory.usage_in_bytes"
                    yield _Group(CGROUPS / "memory" / path, "memory.limit_in_bytes", usage, pages)
