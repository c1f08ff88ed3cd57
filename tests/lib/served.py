"""The monitor's server for tests, with a state that stays, and raw sockets that ask it."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from typing import Any

from framepair.nodes.monitor.pictures import Pictures
from framepair.nodes.monitor.server import application, serving
from tests.lib.processes import PATIENCE_S

STATE: dict[str, Any] = {"sentence": "All is well", "now_ns": "1764426441123456789"}


@contextlib.contextmanager
def served(
    *,
    token: str | None = None,
    hosts: tuple[str, ...] = (),
    pictures: Pictures | None = None,
    reason: str | None = None,
) -> Iterator[int]:
    """Serve on a free port of this machine, which is yielded."""
    app = application(
        snapshot=lambda: STATE,
        metrics=lambda: b"framepair_up 1\n",
        health=lambda complete: f"{reason}, {complete}" if reason else None,
        pictures=pictures,
        allowed_hosts=hosts,
        token=token,
    )
    with serving(app, "127.0.0.1", 0) as web_server:
        yield web_server.port


def connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), PATIENCE_S)


def request(path: str, *headers: str, host: str = "127.0.0.1", method: str = "GET") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", *headers, "", ""]
    return "\r\n".join(lines).encode()


def upgrade(*headers: str, path: str = "/pictures", host: str = "127.0.0.1") -> bytes:
    wanted = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13")
    return request(path, *wanted, f"Sec-WebSocket-Key: {'A' * 22}==", *headers, host=host)


def ask(port: int, data: bytes) -> tuple[int, str]:
    """Return status and all else of the answer."""
    with connected(port) as peer:
        peer.sendall(data)
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += received(peer)
        head, _, body = answer.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
        while len(body) < int(fields.get("content-length", 0)):
            body += received(peer)
    return int(answer.split(b" ", 2)[1]), (head + b"\r\n\r\n" + body).decode("latin-1")


def received(peer: socket.socket) -> bytes:
    """Return what comes next; fails if that is the connection's end."""
    data = peer.recv(65536)
    assert data, "the connection was closed"
    return data


def is_ended(peer: socket.socket) -> bool:
    """Wait for the end of a connection, and pass over what comes before it."""
    try:
        while peer.recv(65536):
            pass
    except ConnectionResetError:
        pass
    return True
