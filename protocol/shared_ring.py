"""Rings in shared memory: files below one directory, each locked by the process that writes it.

A lock goes with its owner, however that ends, so that what a crash left behind is told from what is in use.
(multiprocessing.shared_memory cannot be used instead: before Python 3.13 its resource tracker unlinks the
segments of other processes, cpython #82300.)
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from protocol import endpoint
from protocol.header import ProtocolError
from protocol.ring import Ring, Shape, file_bytes, whole_pages

DIRECTORY_VARIABLE = "FRAMEPAIR_SHM_DIR"
# SOURCE.RUN.COUNT.SLOTS.ring: the name says what a reader has to know before it maps the file.
NAME = re.compile(r"[A-Za-z0-9_-]{1,64}\.[0-9a-f]{1,16}\.\d{1,9}\.(\d{1,9})\.ring\Z")
MEBIBYTE = 1024 * 1024


class NoRoom(RuntimeError):  # noqa: N818 - it says what there is
    """A ring does not fit; the message has the figures and says what to do."""


def default_directory() -> Path:
    """Return where rings are: FRAMEPAIR_SHM_DIR, else this user's directory below /dev/shm."""
    named = os.environ.get(DIRECTORY_VARIABLE)
    return Path(named) if named else Path("/dev/shm") / f"framepair-{os.getuid()}"  # noqa: S108


class SharedRing:
    """A ring that this process writes and others read, until ``close``.

    All of its memory is reserved here: later there is no page fault, and no SIGBUS either.
    """

    def __init__(self, directory: Path, stem: str, slots: int, shape: Shape) -> None:
        slots = whole_pages(slots, shape)
        nbytes = file_bytes(slots, shape)
        self.name = f"{stem}.{slots}.ring"
        self._path = endpoint.make_run_dir(directory) / self.name
        with _locked(directory):
            _remove_stale(directory)
            _check_room(directory, nbytes)
            self._lock = os.open(
                self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600
            )
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.posix_fallocate(self._lock, 0, nbytes)
                self.ring = Ring(slots, shape, self._lock)
            except OSError as error:
                self.close()
                raise NoRoom(
                    f"no {nbytes // MEBIBYTE} MiB in {directory}: {error.strerror}"
                ) from None

    def close(self) -> None:
        """Remove the ring; who has mapped it keeps what it holds."""
        self._path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            os.close(self._lock)


def attach(directory: Path, name: str, shape: Shape) -> Ring:
    """Return another process's ring, to be read; raises ProtocolError if it isn't there or isn't one."""
    match = NAME.match(name)
    if match is None:
        raise ProtocolError("that is not the name of a ring")
    slots = int(match.group(1))
    try:
        descriptor = os.open(directory / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise ProtocolError(f"no ring {name} in {directory}: {error.strerror}") from None
    try:
        status = os.fstat(descriptor)
        wanted = (os.getuid(), file_bytes(slots, shape))
        if not stat.S_ISREG(status.st_mode) or (status.st_uid, status.st_size) != wanted:
            raise ProtocolError(f"{name} is not a ring of {slots} frames of shape {shape}")
        return Ring(slots, shape, descriptor, writable=False)
    except OSError as error:
        raise ProtocolError(f"cannot map {name}: {error.strerror}") from None
    finally:
        os.close(descriptor)


def remove_stale(directory: Path) -> None:
    """Remove the rings of owners that are dead, and the directory if nothing is left in it."""
    if directory.is_dir():
        with contextlib.suppress(OSError), _locked(directory):
            _remove_stale(directory)
        with contextlib.suppress(OSError):
            directory.rmdir()


def _remove_stale(directory: Path) -> None:
    for path in directory.glob("*.ring"):
        with contextlib.suppress(OSError):
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()
            finally:
                os.close(descriptor)


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Keep others from looking for stale rings, or for room, while one is being made."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _check_room(directory: Path, nbytes: int) -> None:
    """Raise NoRoom if a ring of ``nbytes`` does not fit into the file system, or into memory."""
    status = os.statvfs(directory)
    free = {str(directory): status.f_bavail * status.f_frsize, "memory": _free_memory()}
    for where, free_bytes in free.items():
        if nbytes > free_bytes:
            raise NoRoom(
                f"a ring of {nbytes // MEBIBYTE} MiB is needed and {where} has {free_bytes // MEBIBYTE} MiB"
                " free: choose a smaller --history, or give more (docker: --shm-size, compose: shm_size)"
            )


def _free_memory() -> int:
    """Return how many bytes can be had: of the machine and, in a container, of its share."""
    rows = Path("/proc/meminfo").read_text().splitlines()
    free = next(int(row.split()[1]) * 1024 for row in rows if row.startswith("MemAvailable"))
    with contextlib.suppress(OSError, ValueError):
        group = Path("/sys/fs/cgroup")
        limit = int((group / "memory.max").read_text())
        free = min(free, limit - int((group / "memory.current").read_text()))
    return free
