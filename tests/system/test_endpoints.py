"""The lock on an address that is bound, between two processes."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from framepair.protocol.transport import endpoints
from framepair.protocol.transport.endpoints import EndpointError
from tests.lib.processes import Running, python

HOLD = """
import signal, sys
from framepair.protocol.transport import endpoints
with endpoints.reserved(sys.argv[1]):
    print("READY", flush=True)
    signal.pause()
"""


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(path))


def test_an_address_in_use_is_refused_with_its_holders_pid(directory: Path) -> None:
    address = f"ipc://{directory}/pairs"
    with Running(python("-c", HOLD, address)) as holder:
        holder.wait_for("READY")
        make_socket(directory / "pairs")
        expected = f"{address} is in use by process {holder.process.pid}$"
        with pytest.raises(EndpointError, match=expected), endpoints.reserved(address):
            pass
        assert sorted(path.name for path in directory.iterdir()) == ["pairs", "pairs.lock"]
    with endpoints.reserved(address):
        pass
    assert list(directory.iterdir()) == []
