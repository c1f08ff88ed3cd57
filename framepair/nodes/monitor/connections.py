"""The connections of the web server, bounded in number and in time: uvicorn does neither."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

# What a connection takes is 30 kB; a browser opens six at most.
MAX_CONNECTIONS: Final = 256
# For the first whole request, for its answer, and for the next request.
REQUEST_S, ANSWER_S, IDLE_S = 5.0, 15.0, 15.0
# Those that the kernel holds until they are accepted: one more has to try again, after a second.
BACKLOG: Final = 1024

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class State(IntEnum):
    """How far a connection has come; when there are too many, those of the first state are dropped first."""

    SILENT = 0
    IDLE = 1
    BUSY = 2
    VIEWER = 3


@dataclass(slots=True)
class _Connection:
    socket: socket.socket
    state: State
    until_s: float


class Connections:
    """Keeps at most ``MAX_CONNECTIONS``, of which those that look at pictures stay. Not for several threads.

    One more drops another: the oldest of those that have not asked anything yet, if there is one. So any
    number of silent connections, or slow ones, keeps nothing out.
    """

    def __init__(self, most: int = MAX_CONNECTIONS) -> None:
        self._most = most
        self._connections: dict[tuple[str, int], _Connection] = {}

    def __len__(self) -> int:
        return len(self._connections)

    def add(self, peer: socket.socket, address: tuple[str, int]) -> None:
        """Add a connection that was accepted; drop another if there are too many."""
        if len(self._connections) >= self._most:
            self._forget_closed()
        if len(self._connections) >= self._most:
            self._drop(min(self._connections, key=lambda each: self._connections[each].state))
        self._connections[address] = _Connection(peer, State.SILENT, time.monotonic() + REQUEST_S)

    def note(self, address: tuple[str, int], state: State) -> None:
        """Note how far a connection has come; its time for the next step begins."""
        connection = self._connections.get(address)
        if connection is not None:
            allowed_s = {State.BUSY: ANSWER_S, State.IDLE: IDLE_S}.get(state, float("inf"))
            connection.state, connection.until_s = state, time.monotonic() + allowed_s

    def drop_late(self) -> None:
        """Drop the connections that have taken too long for a step; to be called every second or so."""
        self._forget_closed()
        now_s = time.monotonic()
        for address in [a for a, each in self._connections.items() if now_s > each.until_s]:
            self._drop(address)

    def _forget_closed(self) -> None:
        for address in [a for a, each in self._connections.items() if each.socket.fileno() < 0]:
            del self._connections[address]

    def _drop(self, address: tuple[str, int]) -> None:
        # The event loop, which owns the socket, sees its end and closes it.
        with contextlib.suppress(OSError):
            self._connections.pop(address).socket.shutdown(socket.SHUT_RDWR)


class Listener(socket.socket):
    """A listening socket that tells ``connections`` which it accepts; raises OSError if it can't be bound."""

    def __init__(self, host: str, port: int, connections: Connections) -> None:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        super().__init__(family, kind, protocol)
        self._connections = connections
        try:
            self.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.bind(address)
        except OSError:
            self.close()
            raise

    def accept(self) -> tuple[socket.socket, Any]:
        """Accept a connection; see socket.accept."""
        peer, address = super().accept()
        self._connections.add(peer, address[:2])
        return peer, address


def noting(app: App, connections: Connections) -> App:
    """Return ``app``, which tells ``connections`` when a request begins and ends."""

    async def noted(scope: Scope, receive: Receive, send: Send) -> None:
        address = tuple(scope.get("client") or ("", 0))
        connections.note(address, State.BUSY)

        async def accepting(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "websocket.accept":
                connections.note(address, State.VIEWER)
            await send(message)

        try:
            await app(scope, receive, accepting)
        finally:
            connections.note(address, State.IDLE)

    return noted
