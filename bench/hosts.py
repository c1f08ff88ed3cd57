"""Hosts of one network for measurements, each in a network namespace of its own; needs root."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

CLONE_NEWNET = 0x40000000
# Where ip(8) has the namespaces that it makes.
NAMESPACES = Path("/run/netns")
ADDRESS = "10.78.0.{}"


def can_be_made() -> bool:
    """Return whether this process may make network namespaces."""
    return os.getuid() == 0 and shutil.which("ip") is not None


@contextlib.contextmanager
def network(count: int) -> Iterator[list[str]]:
    """Make ``count`` hosts on one switch and yield their namespaces; host i has the address 10.78.0.(i + 1).

    Raises CalledProcessError where the kernel can't do that.
    """
    token = uuid.uuid4().hex[:6]
    switch, hosts = f"fps-{token}", [f"fph{number}-{token}" for number in range(count)]
    try:
        for name in (switch, *hosts):
            _ip("netns", "add", name)
        _ip("-n", switch, "link", "add", "bridge", "type", "bridge")
        _ip("-n", switch, "link", "set", "bridge", "up")
        for number, host in enumerate(hosts):
            _plug(switch, f"port{number}", host, ADDRESS.format(number + 1))
        yield hosts
    finally:
        for name in (switch, *hosts):
            subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)  # noqa: S603, S607


def enter(name: str) -> None:
    """Move this thread, and the processes that it starts, into a namespace; raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = os.open(NAMESPACES / name, os.O_RDONLY)
    try:
        if libc.setns(descriptor, CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"cannot enter the network namespace {name}")
    finally:
        os.close(descriptor)


def _plug(switch: str, port: str, host: str, address: str) -> None:
    _ip(
        *("link", "add", port, "netns", switch, "type", "veth"),
        *("peer", "name", "eth0", "netns", host),
    )
    _ip("-n", switch, "link", "set", port, "master", "bridge", "up")
    _ip("-n", host, "address", "add", f"{address}/24", "dev", "eth0")
    for device in ("lo", "eth0"):
        _ip("-n", host, "link", "set", device, "up")


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)  # noqa: S603, S607
