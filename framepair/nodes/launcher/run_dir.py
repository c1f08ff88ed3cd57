"""The run directory: one pipeline has it at a time."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from framepair.protocol.transport import endpoints
from framepair.protocol.transport.endpoints import EndpointError

# Of the guard of a pipeline whose launcher was killed: it has the directory until it has tidied up.
GUARD_PATIENCE_S = 3.0
POLL_S = 0.02


@contextlib.contextmanager
def locked(path: Path) -> Iterator[tuple[int, bool]]:
    """Lock ``path`` for one pipeline; yield the descriptor of the lock, and whether the directory was made.

    Raises EndpointError naming the holder's pid if another pipeline has it. The lock is on the directory
    itself, so that not even a launcher that was killed leaves a file.
    """
    lock, made = _lock(path)
    try:
        yield lock, made
    finally:
        os.close(lock)


def _lock(path: Path) -> tuple[int, bool]:
    """Return a descriptor of ``path`` that is locked, and whether the directory was made."""
    until_s = time.monotonic() + GUARD_PATIENCE_S
    while True:
        made = not path.exists()
        lock = os.open(endpoints.make_run_dir(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The former holder may have removed the directory between our open and our lock.
            if path.exists() and os.path.samestat(os.fstat(lock), path.stat()):
                return lock, made
        except BlockingIOError:
            holder = _holder(os.fstat(lock))
            if _is_alive(holder) or time.monotonic() > until_s:
                os.close(lock)
                raise EndpointError(_in_use(path, holder)) from None
            time.sleep(POLL_S)
        os.close(lock)


def _in_use(path: Path, holder: int | None) -> str:
    who = f"process {holder}" if holder else "another pipeline"
    return f"the run directory {path} is in use by {who}: stop it, or name another one"


def _is_alive(pid: int | None) -> bool:
    return pid is not None and Path(f"/proc/{pid}").exists()


def _holder(status: os.stat_result) -> int | None:
    """Return the pid that flocked the file with ``status``, as the kernel lists it; it doesn't always know."""
    file = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    with contextlib.suppress(OSError):
        for line in Path("/proc/locks").read_text().splitlines():
            fields = line.split()
            if file in fields and "FLOCK" in fields:
                return int(fields[fields.index(file) - 1])
    return None
