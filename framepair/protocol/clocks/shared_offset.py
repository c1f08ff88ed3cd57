"""The UTC offset that the nodes of a pipeline on one machine have in common, in a file beside its ipc sockets.

A node that starts after the wall clock was set would read another offset than those that run, and its frames
would be of another time. The launcher hands its reading to its nodes; those that are started by hand agree so:

1. Each node keeps the file locked, shared with the others, for as long as it runs.
2. A node that gets the lock for itself alone is the first, whatever the file says: it writes its own reading.
3. Any other counts from what the file says.
4. The last node to end removes the file. After a kill it stays, and is the next pipeline's to write anew.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import stat
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from framepair.protocol.clocks import clock
from framepair.protocol.transport import endpoints

NAME = "utc_offset"
# A first node writes within microseconds; one that was stopped in between must not keep the others.
PATIENCE_S, POLL_S = 1.0, 0.005
MAX_BYTES = 32

log = logging.getLogger(__name__)


@contextlib.contextmanager
def agreed(addresses: Iterable[str]) -> Iterator[None]:
    """While entered, count time as the other nodes at these addresses do; enter it before any time is read.

    Without effect over tcp, with an offset from the launcher, and where the directory is missing or can't be
    written to: the node counts from its own reading then.
    """
    paths = [] if clock.is_handed_over() else map(endpoints.ipc_path, addresses)
    directories = dict.fromkeys(path.parent for path in paths if path is not None)
    with contextlib.ExitStack() as entered:
        for directory in directories:
            entered.enter_context(_member(directory / NAME))
        yield


@contextlib.contextmanager
def _member(path: Path) -> Iterator[None]:
    try:
        file = _join(path)
    except OSError as error:
        log.debug("this node counts time by itself: %s: %s", path, error)
        yield
        return
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(file, path):
                path.unlink()
        os.close(file)


def _join(path: Path) -> int:
    """Return a descriptor that holds the file locked, after agreeing; raises OSError if that can't be done."""
    until_s = time.monotonic() + PATIENCE_S
    while True:
        file = _open(path)
        try:
            if _try_lock(file, fcntl.LOCK_EX) and _is_at(file, path):
                _write(file, clock.utc_offset_ns())
            # To share a lock gives it up for a moment: another node may have written since.
            if _try_lock(file, fcntl.LOCK_SH) and _is_at(file, path):
                clock.agree(int(os.pread(file, MAX_BYTES, 0)))
                return file
            if time.monotonic() > until_s:
                raise TimeoutError("another node has it for itself")
        except ValueError:
            os.close(file)
            raise OSError("it holds no offset") from None
        except OSError:
            os.close(file)
            raise
        os.close(file)
        time.sleep(POLL_S)


def _open(path: Path) -> int:
    # O_NOFOLLOW: no symlinks. O_NONBLOCK: opening a FIFO must not block.
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    file = os.open(path, flags, 0o600)
    status = os.fstat(file)
    if status.st_uid != os.getuid() or not stat.S_ISREG(status.st_mode):
        os.close(file)
        raise PermissionError("it is not a file of this user")
    return file


def _try_lock(file: int, kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(file: int, path: Path) -> bool:
    """Return whether ``path`` still leads to ``file``: the last of the former nodes may have removed it."""
    try:
        return os.path.samestat(os.fstat(file), path.lstat())
    except FileNotFoundError:
        return False


def _write(file: int, offset_ns: int) -> None:
    os.ftruncate(file, 0)
    os.pwrite(file, f"{offset_ns}\n".encode(), 0)
