"""Whether the tcp addresses of a pipeline are free, before its nodes connect to another program's."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Iterable
from pathlib import Path

from framepair.nodes.common.runtime import Refused
from framepair.nodes.launcher import process_groups

# A listening socket's state in /proc/net/tcp.
LISTEN = "0A"


def refuse_taken_ports(addresses: Iterable[str]) -> None:
    """Raise Refused, naming the process that has it, if one of ``addresses`` can't be listened at.

    Producers would connect to the process that listens there, and send it frames. Two of them with one port are
    refused as well.
    """
    owners: dict[int, str] = {}
    for address in addresses:
        if address.startswith("tcp://"):
            host, _, text = address.removeprefix("tcp://").rpartition(":")
            host = "0.0.0.0" if host == "*" else host.strip("[]")  # noqa: S104 - it is what the user asked for
            port = int(text)
            if port and owners.setdefault(port, address) != address:
                raise Refused(
                    f"{owners[port]} and {address}, of two nodes, have the same port: choose another one"
                )
            _try(address, host, port)


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
                raise Refused(f"{address} is in use by {_listener(port)}") from None
            raise Refused(f"cannot listen on {address}: {error.strerror}") from None


def _listener(port: int) -> str:
    """Return which process listens at ``port``, as far as this user may know, and what to do."""
    pid = _pid_of_listener(port)
    if pid is not None and process_groups.parent(pid) == os.getpid():
        return (
            "a node of this pipeline: if that is for a source that has just gone, try again in some seconds,"
            " else choose another port"
        )
    what = "another process" if pid is None else f"process {pid}"
    return f"{what}: stop it, or choose another port"


def _pid_of_listener(port: int) -> int | None:
    inodes = {f"socket:[{inode}]" for inode in _listening(port)}
    for process in Path("/proc").iterdir():
        if process.name.isdecimal():
            with contextlib.suppress(OSError):
                if any(str(path.readlink()) in inodes for path in (process / "fd").iterdir()):
                    return int(process.name)
    return None


def _listening(port: int) -> Iterable[str]:
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                    yield fields[9]
