"""Lets listed clients in, to the sources that are theirs: libzmq asks this for each handshake with keys.

libzmq sends its questions to a fixed address within the process (ZAP, rfc.zeromq.org/spec/27).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future

import zmq
from zmq.utils import z85

from framepair.protocol.transport.endpoints import EndpointError
from framepair.protocol.transport.keys import Clients
from framepair.protocol.transport.rate_limited_log import RateLimitedLog

log = logging.getLogger(__name__)

ADDRESS = "inproc://zeromq.zap.01"
VERSION = b"1.0"
DOMAIN = "framepair"
POLL_MS = 100
# Warnings of refused keys in all: addresses are the peers' choice.
MAX_WARNINGS = 100
ALLOWED, REFUSED = (b"200", b"OK"), (b"400", b"not listed")

# How often it is looked whether other clients are listed than before, while some connect.
REREAD_S = 1.0


def domain(source: str) -> str:
    """Return the ZAP domain of the socket that receives ``source``; without a name that of all clients."""
    return f"{DOMAIN}/{source}" if source else DOMAIN


def may(clients: Clients, key: bytes, asked_domain: str) -> bool:
    """Return whether the client with the public ``key`` may connect to a socket of ``asked_domain``."""
    if key not in clients:
        return False
    sources, source = clients[key], asked_domain.partition("/")[2]
    return sources is None or not source or source in sources


class Authenticator:
    """Answers libzmq's questions in a thread, while entered; at most one for each context.

    A question that makes no sense is refused. ``check`` raises what ended the thread, if it failed: without it
    no further client could connect. ``reread`` returns other clients than before, if they have changed: those
    count for connections from then on.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        clients: Clients,
        reread: Callable[[], Clients | None] = lambda: None,
    ) -> None:
        self._context = context
        self._clients = clients
        self._reread = reread
        self._reread_s = 0.0
        self._bound: Future[None] = Future()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="authenticator")
        self._refused: set[tuple[str, str]] = set()
        self._failure: BaseException | None = None
        self._question_log = RateLimitedLog(log)

    def __enter__(self) -> Authenticator:
        self._thread.start()
        self._bound.result()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def check(self) -> None:
        """Raise what ended the thread, if it failed."""
        if self._failure:
            raise self._failure

    def _run(self) -> None:
        try:
            with self._context.socket(zmq.REP) as socket:
                socket.linger = 0
                socket.bind(ADDRESS)
                self._bound.set_result(None)
                self._answer_all(socket)
        except BaseException as error:  # noqa: BLE001 - the thread that started this one raises it again
            if self._bound.done():
                self._failure = error
            else:
                self._bound.set_exception(error)

    def _answer_all(self, socket: zmq.Socket[bytes]) -> None:
        while not self._over.is_set():
            if socket.poll(POLL_MS):
                socket.send_multipart(self._answer(socket.recv_multipart()))

    def _answer(self, question: list[bytes]) -> list[bytes]:
        try:
            allowed = self._is_allowed(question)
        except ValueError as error:
            # An answer all the same: without one, a REP socket takes no further question.
            self._question_log.warn("question", f"refused a handshake that makes no sense: {error}")
            allowed = False
        request = question[1] if len(question) > 1 else b""
        code, text = ALLOWED if allowed else REFUSED
        return [VERSION, request, code, text, b"", b""]

    def _is_allowed(self, question: list[bytes]) -> bool:
        """Return whether a client may connect; raises ValueError if that is not what ``question`` asks."""
        _version, _request, asked, address, _identity, mechanism, *credentials = question
        key = z85.encode(credentials[0]) if mechanism == b"CURVE" and credentials else b""
        self._look_for_others()
        allowed = may(self._clients, key, asked.decode())
        if not allowed:
            self._warn(address.decode(), asked.decode(), key)
        return allowed

    def _look_for_others(self) -> None:
        """Take other clients, if others are listed by now."""
        now_s = time.monotonic()
        if now_s < self._reread_s:
            return
        self._reread_s = now_s + REREAD_S
        try:
            clients = self._reread()
        except EndpointError as error:
            self._question_log.warn("clients", f"the clients stay as they were: {error}")
            return
        if clients is not None:
            self._clients = clients
            # A key that was refused may be listed now, and another be refused.
            self._refused.clear()

    def _warn(self, address: str, asked: str, key: bytes) -> None:
        """Log each address and socket once: a peer that is refused tries again for ever."""
        if (address, asked) in self._refused or len(self._refused) > MAX_WARNINGS:
            return
        self._refused.add((address, asked))
        source = asked.partition("/")[2]
        why = f"it may not send {source}" if source and key in self._clients else "it is not listed"
        log.warning("refused the key %s from %s: %s", key.decode(), address, why)
