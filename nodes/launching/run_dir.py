"""The run directory as the launcher holds it: one pipeline at a time, and nothing left in it afterwards."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from protocol import endpoint
from protocol.endpoint import EndpointError, Endpoints


@contextlib.contextmanager
def held(path: Path, endpoints: Endpoints) -> Iterator[None]:
    """Hold ``path`` for one pipeline, made if need be; afterwards remove the files of ``endpoints``.

    Raises EndpointError naming the holder's pid if another pipeline has it. The lock is on the directory
    itself, so that not even a launcher that was killed leaves a file.
    """
    made = not path.exists()
    lock = _lock(path)
    try:
        yield
    finally:
        _clear(endpoints)
        if made:
            # Somebody else's file keeps the directory.
            with contextlib.suppress(OSError):
                path.rmdir()
        os.close(lock)


def clear_shared_memory(directory: Path | None) -> None:
    """Remove the rings of producers that were killed."""
    from protocol import shared_ring

    shared_ring.remove_stale(directory or shared_ring.default_directory())


def _lock(path: Path) -> int:
    """Return a descriptor of ``path`` that holds it locked."""
    while True:
        lock = os.open(endpoint.make_run_dir(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The former holder may have removed the directory between our open and our lock.
            if path.exists() and os.path.samestat(os.fstat(lock), path.stat()):
                return lock
        except BlockingIOError:
            holder = _holder(os.fstat(lock))
            os.close(lock)
            raise EndpointError(
                f"the run directory {path} is in use by {holder}: stop it, or name another one"
            ) from None
        os.close(lock)


def _holder(status: os.stat_result) -> str:
    """Return who has flocked the file with ``status``, as the kernel lists it."""
    file = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    with contextlib.suppress(OSError):
        for line in Path("/proc/locks").read_text().splitlines():
            fields = line.split()
            if file in fields and "FLOCK" in fields:
                return f"process {fields[fields.index(file) - 1]}"
    return "another pipeline"


def _clear(endpoints: Endpoints) -> None:
    """Remove the sockets and locks that killed nodes left; one that somebody else holds stays."""
    for address in (*endpoints.pull.values(), endpoints.pub):
        with contextlib.suppress(EndpointError), endpoint.reserved(address):
            pass
