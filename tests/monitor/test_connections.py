"""Peers of the monitor's server that say nothing, or too much, or too slowly, or are too many."""

from __future__ import annotations

import contextlib
import resource
import socket
import threading
from collections.abc import Iterator

import pytest

from framepair.nodes.monitor import connections, server
from framepair.nodes.monitor.connections import Connections, State
from tests.lib.processes import PATIENCE_S
from tests.lib.served import ask, connected, is_ended, received, request, served, upgrade

HEADER = b"GET /api/state HTTP/1.1\r\nHost: 127.0.0.1\r\n"


@pytest.fixture
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REQUEST_S", "ANSWER_S", "IDLE_S"):
        monkeypatch.setattr(connections, name, 0.2)


@pytest.mark.usefixtures("_hasty")
def test_a_peer_that_does_not_go_on_is_dropped() -> None:
    said = (
        b"",
        b"G",
        HEADER,
        HEADER + b"X: 1",
        # Answered, and nothing after it.
        request("/api/state"),
        request("/api/state") + b"GET /api",
        request("/api/state", "Content-Length: 1000000") + b"x",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\x00" * 100,
    )
    with served() as port, contextlib.ExitStack() as stack:
        peers = [stack.enter_context(connected(port)) for _ in said]
        for peer, data in zip(peers, said, strict=True):
            peer.sendall(data)
        for peer in peers:
            assert is_ended(peer)
        assert ask(port, request("/healthz"))[0] == 200


@pytest.mark.usefixtures("_hasty")
def test_a_peer_that_goes_on_byte_by_byte_is_dropped() -> None:
    with served() as port, connected(port) as head, connected(port) as body:
        head.sendall(HEADER)
        body.sendall(request("/api/state", "Content-Length: 1000000"))
        dripping = {head, body}
        for peer in dripping:
            peer.settimeout(0.02)
        for _ in range(round(PATIENCE_S / 0.04)):
            dripping = {peer for peer in dripping if not _drips(peer)}
            if not dripping:
                return
        pytest.fail("they were never dropped")


def _drips(peer: socket.socket) -> bool:
    """Send a byte; return whether that is the end of the connection."""
    try:
        peer.sendall(b"x")
        return not peer.recv(65536)
    except TimeoutError:
        return False
    except OSError:
        return True


@pytest.mark.usefixtures("_hasty")
def test_a_peer_that_does_not_read_its_answers_is_dropped() -> None:
    with served() as port, connected(port) as peer:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with contextlib.suppress(OSError):
            while True:
                peer.sendall(request("/page.js") * 100)
        assert ask(port, request("/healthz"))[0] == 200


def test_a_request_that_is_too_large_or_makes_no_sense_is_refused_and_not_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    said = (
        HEADER + b"X: " + b"x" * 100_000,
        HEADER + b"X: x\r\n" * 20_000,
        b"GET /" + b"x" * 100_000,
        b"GET / HTTP/1.1\r\n\r\n",
        HEADER + b"Host: evil.example\r\n\r\n",
        HEADER + b"Content-Length: -1\r\n\r\n",
        HEADER + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
        HEADER + b"Nonsense\r\n\r\n",
    )
    with served() as port:
        for data in said:
            with connected(port) as peer:
                with contextlib.suppress(OSError):
                    peer.sendall(data)
                with contextlib.suppress(ConnectionResetError):
                    assert peer.recv(65536)[:12] in (b"HTTP/1.1 400", b"HTTP/1.1 431"), data[:80]
                assert is_ended(peer)
        assert ask(port, upgrade("Sec-WebSocket-Version: 1"))[0] == 400
        assert ask(port, request("/", "Connection: Upgrade", "Upgrade: h2c"))[0] == 200
        assert ask(port, request("/healthz"))[0] == 200
    # Else a peer would choose how much is logged.
    assert caplog.records == []


@pytest.fixture
def _files() -> Iterator[None]:
    """Allow this process both ends of thousands of connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 16_384), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("_files")
def test_thousands_of_connections_keep_nothing_out(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Connections(most=64)
    monkeypatch.setattr(server, "Connections", lambda: kept)
    with served() as port, contextlib.ExitStack() as stack:
        viewer = stack.enter_context(connected(port))
        viewer.sendall(upgrade())
        assert received(viewer).startswith(b"HTTP/1.1 101")
        for number in range(3000):
            peer = stack.enter_context(connected(port))
            peer.sendall(HEADER[: number % len(HEADER)])
            if number % 500 == 499:
                assert ask(port, request("/api/state"))[0] == 200
        # Those that are being closed are counted no more.
        assert len(kept) <= 64


def test_what_looks_at_pictures_stays_and_what_said_nothing_goes_first() -> None:
    kept = Connections(most=3)
    ends = [socket.socketpair() for _ in range(5)]
    with contextlib.ExitStack() as stack:
        for pair in ends:
            for end in pair:
                stack.enter_context(end)
        for number in range(3):
            kept.add(ends[number][0], ("peer", number))
        kept.note(("peer", 0), State.VIEWER)
        kept.note(("peer", 1), State.IDLE)
        kept.add(ends[3][0], ("peer", 3))
        assert ends[2][1].recv(1) == b""
        kept.note(("peer", 3), State.BUSY)
        kept.add(ends[4][0], ("peer", 4))
        assert ends[1][1].recv(1) == b""
        for number in (0, 3, 4):
            ends[number][1].setblocking(False)
            with pytest.raises(BlockingIOError):
                ends[number][1].recv(1)


def test_nothing_is_left_when_it_stops() -> None:
    before = threading.active_count()
    with contextlib.ExitStack() as stack:
        with served() as port:
            peer, viewer = (stack.enter_context(connected(port)) for _ in range(2))
            peer.sendall(request("/api/state"))
            viewer.sendall(upgrade())
            assert received(peer)
            assert received(viewer)
        assert is_ended(peer)
        assert is_ended(viewer)
    assert threading.active_count() == before
    with pytest.raises(OSError, match="refused"):
        connected(port)
