"""Whether the tcp addresses of a pipeline are free, before anything connects to somebody else's."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from framepair.nodes.common.runtime import Refused
from framepair.protocol.transport import endpoints
from framepair.protocol.transport.endpoints import EndpointError

# Of the guard of a pipeline whose launcher was killed: it has the directory until it has tidied up.
GUARD_PATIENCE_S = 3.0
POLL_S = 0.02


@contextlib.contextmanager
def held(path: Path) -> Iterator[tuple[int, bool]]:
    """Hold ``path`` for one pipeline; return the descriptor that does, and whether the directory was made.

    Raises EndpointError naming the holder's pid if another pipeline has it. The lock is on the directory
    itself, so that not even a launcher that was killed leaves a file.
    """
    lock, made = _lock(path)
    try:
        yield lock, made
    finally:
        os.close(lock)


def _lock(path: Path) -> tuple[int, bool]:
    """Return a descriptor of ``path`` that holds it locked, and whether the directory was made."""
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
    """Return who flocked the file with ``status``, as the kernel lists it; it doesn't always know."""
    file = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    with contextlib.suppress(OSError):
        for line in Path("/proc/locks").read_text().splitlines():
            fields = line.split()
            if file in fields and "FLOCK" in fields:
                return int(fields[fields.index(file) - 1])
    return None


LISTEN = "0A"


def refuse_taken(addresses: Iterable[str]) -> None:
    """Raise Refused, naming the process that has it, if one of ``addresses`` can't be listened at.

    Producers would connect to whoever is there, and a pipeline that runs well would lose frames to it.
    """
    for address in addresses:
        if address.startswith("tcp://"):
            host, _, port = address.removeprefix("tcp://").rpartition(":")
            host = "0.0.0.0" if host == "*" else host.strip("[]")  # noqa: S104 - it is what the user asked for
            _try(address, host, int(port))


def _try(address: str, host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As libzmq does: connections that have ended don't matter.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise Refused(
                    f"{address} is in use by {_listener(port)}: stop it, or choose another port"
                ) from None
            raise Refused(f"cannot listen on {address}: {error.strerror}") from None


def _listener(port: int) -> str:
    """Return who listens at ``port``, as far as we may know."""
    inodes = {f"socket:[{inode}]" for inode in _listening(port)}
    for process in Path("/proc").iterdir():
        if process.name.isdecimal():
            with contextlib.suppress(OSError):
                if any(str(path.readlink()) in inodes for path in (process / "fd").iterdir()):
                    return f"process {process.name}"
    return "another process"


def _listening(port: int) -> Iterable[str]:
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                    yield fields[9]
