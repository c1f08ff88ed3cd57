"""The thread that lets clients in: it survives what it is asked, and does not fail unseen."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from pathlib import Path

import pytest
import zmq
from zmq import auth
from zmq.utils import z85

from framepair.protocol.transport import authenticator, keys
from framepair.protocol.transport.authenticator import ADDRESS, Authenticator
from tests.lib.processes import python

WAIT_MS = 5000
KEY = bytes(range(32))
COME_AND_GO = """
import os, sys
for _ in range(100_000):
    os.link(*sys.argv[1:])
    os.unlink(sys.argv[2])
"""
GOOD = [b"1.0", b"7", b"framepair/left", b"192.0.2.1", b"", b"CURVE", KEY]


def ask(context: zmq.Context[zmq.Socket[bytes]], question: list[bytes]) -> list[bytes]:
    with context.socket(zmq.REQ) as asking:
        asking.linger = 0
        asking.connect(ADDRESS)
        asking.send_multipart(question)
        assert asking.poll(WAIT_MS), "no answer"
        return asking.recv_multipart()


@pytest.mark.parametrize(
    "bad",
    [
        [b""],
        GOOD[:4],
        [*GOOD[:6], KEY[:31]],
        [*GOOD[:2], b"\xff", *GOOD[3:]],
        [*GOOD[:3], b"\xff", *GOOD[4:6], KEY[::-1]],
    ],
)
def test_a_question_that_makes_no_sense_is_refused_and_the_next_is_answered(
    bad: list[bytes], caplog: pytest.LogCaptureFixture
) -> None:
    with zmq.Context() as context, Authenticator(context, {z85.encode(KEY): None}) as letting_in:
        assert ask(context, bad)[2] == b"400"
        assert ask(context, GOOD)[1:3] == [b"7", b"200"]
        letting_in.check()
    assert "refused a handshake that makes no sense" in caplog.text


def test_a_client_may_come_and_go_while_others_are_connected(
    directory: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """So that keys can be changed one by one: a new one is listed beside the former, which goes later."""
    monkeypatch.setattr(authenticator, "REREAD_S", 0.0)
    keys.make(directory / "keys")
    listed = directory / "keys" / "clients"
    server = keys.server(directory / "keys", ["tcp://192.0.2.1:7400"], insecure=False)
    assert server is not None
    (first,) = server.clients
    keys.make(directory / "more")
    second, _ = auth.load_certificate(directory / "more" / "client.key")

    def answers(context: zmq.Context[zmq.Socket[bytes]]) -> list[bytes]:
        return [ask(context, [*GOOD[:6], z85.decode(key)])[2] for key in (first, second)]

    with zmq.Context() as context, Authenticator(context, server.clients, server.reread):
        assert answers(context) == [b"200", b"400"]
        shutil.copy(directory / "more" / "client.key", listed / "second.key")
        assert answers(context) == [b"200", b"200"]
        (listed / "client.key").unlink()
        assert answers(context) == [b"400", b"200"]
        # A folder that cannot be trusted any more changes nothing.
        listed.chmod(0o777)
        (listed / "second.key").unlink()
        assert answers(context) == [b"400", b"200"]
    assert "the clients stay as they were" in caplog.text


@pytest.mark.parametrize("how", ["clients", "clients_", "while they are read"])
def test_keys_that_are_all_removed_let_nobody_in(
    directory: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(authenticator, "REREAD_S", 0.0)
    keys.make(directory / "keys")
    listed = directory / "keys" / "clients"
    if how == "clients_":
        (listed / "client.key").rename(directory / "keys" / "clients_client.key")
        listed.rmdir()
    server = keys.server(directory / "keys", ["tcp://192.0.2.1:7400"], insecure=False)
    assert server is not None
    question = [*GOOD[:6], z85.decode(next(iter(server.clients)))]
    with (
        zmq.Context() as context,
        Authenticator(context, server.clients, server.reread) as letting_in,
    ):
        assert ask(context, question)[2] == b"200"
        if how == "while they are read":
            statvfs = os.statvfs

            def remove_first(path: Path) -> os.statvfs_result:
                shutil.rmtree(path)
                return statvfs(path)

            with monkeypatch.context() as removing:
                removing.setattr(os, "statvfs", remove_first)
                ask(context, question)
        else:
            shutil.rmtree(directory / "keys")
        assert ask(context, question)[2] == b"400"
        letting_in.check()


def test_a_key_that_comes_and_goes_while_it_is_read_keeps_out_no_other(directory: Path) -> None:
    keys.make(directory / "keys")
    listed = directory / "keys" / "clients"
    server = keys.server(directory / "keys", ["tcp://192.0.2.1:7400"], insecure=False)
    assert server is not None
    (first,) = server.clients
    keys.make(directory / "more")
    other = directory / "more" / "client.key"
    # A process: a thread of this one would run between two of our calls seldom.
    with subprocess.Popen(python("-c", COME_AND_GO, other, listed / "a.key")) as process:
        seen = []
        while process.poll() is None:
            clients = server.reread()
            seen += [] if clients is None else [clients]
    assert process.returncode == 0
    assert all(first in clients for clients in seen)
    assert {len(clients) for clients in seen} == {1, 2}


def test_what_ends_the_thread_is_raised_by_check(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> bool:
        raise MemoryError("no more")

    monkeypatch.setattr(authenticator, "may", fail)
    with zmq.Context() as context:
        with Authenticator(context, {}) as letting_in:
            letting_in.check()
            with context.socket(zmq.REQ) as asking:
                asking.linger = 0
                asking.connect(ADDRESS)
                thread = next(one for one in threading.enumerate() if one.name == "authenticator")
                asking.send_multipart(GOOD)
                thread.join(WAIT_MS / 1000)
        with pytest.raises(MemoryError, match="no more"):
            letting_in.check()
