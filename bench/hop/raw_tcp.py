"""framepair with the pixels in the message, over TCP on the loopback interface."""

from __future__ import annotations

import socket
from multiprocessing.context import SpawnContext
from pathlib import Path

from bench.hop.raw_ipc import receiver, sender

__all__ = ["NAME", "NEEDS", "link", "receiver", "sender"]

NAME = "framepair raw, tcp"
NEEDS: tuple[str, ...] = ()


def link(context: SpawnContext, directory: Path) -> str:  # noqa: ARG001
    """Return the address."""
    return f"tcp://127.0.0.1:{free_port()}"


def free_port() -> int:
    """Return a TCP port of the loopback interface that nobody uses."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port
