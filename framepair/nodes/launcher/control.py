"""The socket at which a launcher hears what is to change: one request and one answer, a line of JSON each."""

from __future__ import annotations

import contextlib
import json
import socket
from collections import deque
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from framepair.nodes.launcher.signal_queue import SignalQueue
from framepair.protocol.transport import endpoints
from framepair.protocol.transport.endpoints import EndpointError

# A configuration is a few kilobytes.
MAX_BYTES = 1 << 20
CHUNK_BYTES = 65536
BACKLOG = 8
ANSWER_S = 1.0


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for: other ``sources``, or what ``config`` says, the text of a file.

    Neither: what the launcher's own file says now.
    """

    sources: tuple[str, ...] = ()
    config: str | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of it: an exit code, and a sentence."""

    code: int
    sentence: str


class Control:
    """Listens at ``path``, which only this user reaches; requests are kept until they are taken."""

    def __init__(self, path: Path, signals: SignalQueue) -> None:
        self._path = path
        self._signals = signals
        self._requests: deque[tuple[socket.socket, Request]] = deque()
        self._received: dict[socket.socket, bytes] = {}
        self._made = False
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)

    def open(self) -> None:
        """Listen; raises EndpointError or OSError if that can't be, as if another launcher does."""
        try:
            self._bind()
        except (EndpointError, OSError):
            self._listener.close()
            raise
        self._signals.watch(self._listener.fileno(), self._accept)

    def _bind(self) -> None:
        self._made = not self._path.parent.exists()
        endpoints.make_run_dir(self._path.parent)
        if _is_listened_at(self._path):
            raise EndpointError(f"another launcher listens at {self._path}")
        # One that was killed has left it.
        self._path.unlink(missing_ok=True)
        self._listener.bind(str(self._path))
        self._listener.listen(BACKLOG)

    def close(self) -> None:
        """Listen no more."""
        for peer in [*self._received, *(peer for peer, _ in self._requests)]:
            self._forget(peer)
        self._signals.forget(self._listener.fileno())
        self._listener.close()
        self._path.unlink(missing_ok=True)
        if self._made and self._path.parent != endpoints.default_run_dir():
            with contextlib.suppress(OSError):
                self._path.parent.rmdir()

    def take(self) -> tuple[socket.socket, Request] | None:
        """Return the oldest request and whom to answer, None if there is none."""
        return self._requests.popleft() if self._requests else None

    def answer(self, peer: socket.socket, reply: Reply) -> None:
        """Answer a request; a peer that is gone is no failure."""
        with contextlib.suppress(OSError):
            peer.settimeout(ANSWER_S)
            peer.sendall(f"{json.dumps(asdict(reply))}\n".encode())
        self._forget(peer)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            peer, _ = self._listener.accept()
            peer.setblocking(False)
            self._received[peer] = b""
            self._signals.watch(peer.fileno(), partial(self._read, peer))

    def _read(self, peer: socket.socket) -> None:
        try:
            chunk = peer.recv(CHUNK_BYTES)
        except BlockingIOError:
            return
        except OSError:
            chunk = b""
        received = self._received[peer] + chunk
        if b"\n" in received:
            # Whether it waits for the answer or not: it is read no more.
            self._signals.forget(peer.fileno())
            del self._received[peer]
            self._add(peer, received.partition(b"\n")[0])
        elif not chunk or len(received) > MAX_BYTES:
            self._forget(peer)
        else:
            self._received[peer] = received

    def _add(self, peer: socket.socket, line: bytes) -> None:
        try:
            self._requests.append((peer, parse(json.loads(line))))
        # json: RecursionError for brackets in brackets in brackets.
        except (ValueError, RecursionError) as error:
            self.answer(peer, Reply(2, f"not understood: {error}"))

    def _forget(self, peer: socket.socket) -> None:
        self._received.pop(peer, None)
        if peer.fileno() >= 0:
            self._signals.forget(peer.fileno())
            peer.close()


def parse(fields: Any) -> Request:
    """Return what was asked for; raises ValueError for what is no request."""
    if not isinstance(fields, dict):
        raise ValueError("a request is an object")
    sources, config = fields.get("sources", []), fields.get("config")
    texts = isinstance(sources, list) and all(isinstance(source, str) for source in sources)
    if not texts or not (config is None or isinstance(config, str)):
        raise ValueError("sources is a list of texts, and config a text")
    return Request(tuple(sources), config)


def ask(path: Path, request: Request) -> Reply:
    """Ask the launcher at ``path`` and wait for what comes of it; raises OSError if none listens there."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as peer:
        peer.connect(str(path))
        peer.sendall(f"{json.dumps(asdict(request))}\n".encode())
        with peer.makefile("rb") as answer:
            line = answer.readline()
    if not line:
        raise ConnectionResetError("the pipeline has ended")
    fields = json.loads(line)
    return Reply(int(fields["code"]), str(fields["sentence"]))


def _is_listened_at(path: Path) -> bool:
    with (
        contextlib.suppress(OSError),
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as peer,
    ):
        peer.connect(str(path))
        return True
    return False
