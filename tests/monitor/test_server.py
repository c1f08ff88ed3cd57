"""The thread of the monitor's web server: what ends it ends the monitor, which would have no page."""

from __future__ import annotations

from pathlib import Path

import pytest
import uvicorn

from framepair.nodes.common.runtime import Stop
from framepair.nodes.monitor import main, server
from framepair.nodes.monitor.connections import Connections
from framepair.nodes.monitor.state import State
from framepair.protocol.client.subscriber import subscribe
from framepair.protocol.transport.heartbeat import Heartbeat


async def page(*_: object) -> None:
    """Answer nothing."""


def fail(*_: object, **__: object) -> None:
    raise MemoryError("no more")


def test_a_server_that_does_not_start_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uvicorn.Server, "startup", fail)
    with (
        pytest.raises(RuntimeError, match="the web server has ended") as raised,
        server.serving(page, "127.0.0.1", 0),
    ):
        pass
    assert "no more" in repr(raised.value.__cause__)


def test_a_server_that_ends_ends_the_monitor(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "DROP_S", 0.01)
    board, stop, heartbeat = main.Board(State(0, 10**10)), Stop(), Heartbeat(None)
    with (
        server.serving(page, "127.0.0.1", 0) as web_server,
        subscribe(f"ipc://{directory}/pairs") as subscription,
    ):
        web_server.check()
        monkeypatch.setattr(Connections, "drop_late", fail)
        with pytest.raises(RuntimeError, match="the web server has ended"):
            main.watch(subscription, board, stop, heartbeat, web_server)
