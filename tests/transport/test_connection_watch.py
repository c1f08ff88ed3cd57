"""Why a consumer gets no answer, as far as it can know."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import zmq

from framepair.protocol.transport import connection_watch
from framepair.protocol.transport.connection_watch import Contact, may_connect


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to become another user")
def test_a_socket_of_another_user_is_told_from_one_that_is_not_there(directory: Path) -> None:
    private, public = directory / "private", directory / "public"
    for path, mode in ((private, 0o700), (public, 0o755)):
        path.mkdir(mode=mode)
        (path / "pairs").touch(mode=0o600)
    directory.chmod(0o755)
    asked = [private / "pairs", public / "pairs", directory / "missing" / "pairs"]
    child = os.fork()
    if child == 0:
        os.setuid(65534)
        os._exit(sum(may_connect(path) << i for i, path in enumerate(asked)))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0b100
    assert all(may_connect(path) for path in asked)


@pytest.mark.parametrize(
    ("may", "line"),
    [
        (False, "this user may not use {path}: run as the user that the combiner runs as."),
        (True, "nobody answers at ipc://{path}: is the combiner running, and is that"),
    ],
)
def test_silence_is_explained_once(
    may: bool,
    line: str,
    directory: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(connection_watch, "may_connect", lambda _: may)
    monkeypatch.setattr(connection_watch, "PATIENCE_S", 0.0)
    path = directory / "pairs"
    with zmq.Context() as context, context.socket(zmq.SUB) as sub:
        contact = Contact(sub, f"ipc://{path}", "where it publishes")
        for _ in range(3):
            contact.look()
        contact.close()
    (said,) = caplog.messages
    assert said.startswith(line.format(path=path))
