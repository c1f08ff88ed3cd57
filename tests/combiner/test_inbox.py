"""The threads that receive: one that cannot start leaves none behind, and is said."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from framepair.nodes.combiner import inbox
from framepair.protocol.transport import sockets
from framepair.protocol.transport.endpoints import EndpointError


def test_a_thread_that_cannot_start_is_said_and_the_others_end(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = threading.Thread.start

    def few(thread: threading.Thread) -> None:
        if thread.name == "receive right":
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", few)
    addresses = {name: f"ipc://{directory}/{name}" for name in ("left", "right", "top")}
    with (
        sockets.new_context() as context,
        pytest.raises(
            EndpointError, match=r"cannot receive right: can't start new thread: .*ulimit -u"
        ),
        inbox.receiving(context, addresses, threading.Event(), lossless=False, keys=None),
    ):
        pytest.fail("it listens")
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("receive ")]
    assert list(directory.iterdir()) == []
