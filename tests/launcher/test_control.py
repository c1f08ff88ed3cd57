"""The socket at which a launcher hears what is to change: requests, answers, and peers that make no sense."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from framepair.nodes.launcher.control import MAX_BYTES, Control, Reply, Request, ask
from framepair.nodes.launcher.signal_queue import SignalQueue
from framepair.protocol.transport.endpoints import EndpointError
from tests.lib.processes import PATIENCE_S


@pytest.fixture
def signals() -> Iterator[SignalQueue]:
    with SignalQueue([]) as signals:
        yield signals


@pytest.fixture
def path(directory: Path) -> Path:
    return directory / "run" / "control"


@pytest.fixture
def control(path: Path, signals: SignalQueue) -> Iterator[Control]:
    control = Control(path, signals)
    control.open()
    yield control
    control.close()


def taken(control: Control, signals: SignalQueue) -> tuple[socket.socket, Request]:
    """Let the launcher's loop turn until there is a request."""
    deadline_s = time.monotonic() + PATIENCE_S
    while (found := control.take()) is None:
        assert time.monotonic() < deadline_s
        signals.wait(time.monotonic() + 0.1)
    return found


@pytest.mark.parametrize(
    "request_",
    [Request(), Request(("left=ü.mp4", "right=0")), Request(config="[sources]\n" * 9999)],
)
def test_a_request_gets_its_answer(
    control: Control, signals: SignalQueue, path: Path, request_: Request
) -> None:
    with ThreadPoolExecutor(1) as pool:
        reply = pool.submit(ask, path, request_)
        peer, found = taken(control, signals)
        assert found == request_
        control.answer(peer, Reply(2, "no, as it does not fit"))
        assert reply.result(PATIENCE_S) == Reply(2, "no, as it does not fit")


def test_whoever_waits_when_the_pipeline_ends_hears_of_it(signals: SignalQueue, path: Path) -> None:
    control = Control(path, signals)
    control.open()
    with ThreadPoolExecutor(1) as pool:
        reply = pool.submit(ask, path, Request())
        deadline_s = time.monotonic() + PATIENCE_S
        while not control._requests:
            assert time.monotonic() < deadline_s
            signals.wait(time.monotonic() + 0.1)
        control.close()
        with pytest.raises(ConnectionResetError):
            reply.result(PATIENCE_S)
    assert not path.parent.exists()


@pytest.mark.parametrize(
    "line",
    [
        b"{",
        b"[]",
        b'{"sources": "left"}',
        b'{"config": 1}',
        b"\xff",
        pytest.param(b"[" * 50_000, id="deep"),
    ],
)
def test_what_is_no_request_is_answered_and_the_next_one_heard(
    control: Control, signals: SignalQueue, path: Path, line: bytes
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as peer, ThreadPoolExecutor(1) as pool:
        peer.connect(str(path))
        peer.sendall(line + b"\n")
        reply = pool.submit(ask, path, Request())
        second, _ = taken(control, signals)
        control.answer(second, Reply(0, ""))
        reply.result(PATIENCE_S)
        peer.settimeout(PATIENCE_S)
        assert b'"code": 2' in peer.recv(1000)


def test_peers_that_say_nothing_or_too_much_are_in_nobodys_way(
    control: Control, signals: SignalQueue, path: Path
) -> None:
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as silent,
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as endless,
        ThreadPoolExecutor(2) as pool,
    ):
        silent.connect(str(path))
        endless.connect(str(path))
        endless.settimeout(PATIENCE_S)
        sent = pool.submit(endless.sendall, b"x" * 4 * MAX_BYTES)
        reply = pool.submit(ask, path, Request())
        peer, _ = taken(control, signals)
        control.answer(peer, Reply(0, "done"))
        assert reply.result(PATIENCE_S).sentence == "done"
        deadline_s = time.monotonic() + PATIENCE_S
        while not sent.done():
            assert time.monotonic() < deadline_s
            signals.wait(time.monotonic() + 0.1)
        assert isinstance(sent.exception(), OSError)


def test_what_a_killed_launcher_left_is_replaced_and_one_that_listens_is_not(
    control: Control, signals: SignalQueue, path: Path
) -> None:
    with pytest.raises(EndpointError, match="another launcher listens at"):
        Control(path, signals).open()
    left = path.with_name("left")
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(str(left))
    again = Control(left, signals)
    again.open()
    again.close()
    assert path.exists()
    assert not left.exists()
