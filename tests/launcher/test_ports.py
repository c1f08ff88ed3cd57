"""Ports that nodes cannot listen at, before they try."""

from __future__ import annotations

import pytest

from framepair.nodes.common.runtime import Refused
from framepair.nodes.launcher.ports import refuse_taken_ports
from tests.lib.pipeline import free_ports
from tests.lib.processes import Running, python

LISTEN = """
import signal, socket
with socket.create_server(("127.0.0.1", 0)) as server:
    print(server.getsockname()[1], flush=True)
    signal.pause()
"""


def test_two_nodes_with_one_port_are_named() -> None:
    port = free_ports(1)
    pairs, page = f"tcp://127.0.0.1:{port}", f"tcp://*:{port}"
    with pytest.raises(Refused) as refused:
        refuse_taken_ports([pairs, page])
    assert str(refused.value).startswith(f"{pairs} and {page}, of two nodes, have the same port")
    refuse_taken_ports([pairs])


def test_a_port_that_a_node_of_this_launcher_still_has_is_waited_for() -> None:
    with Running(python("-c", LISTEN)) as node:
        address = f"tcp://127.0.0.1:{node.wait_for('^[0-9]+$')[0]}"
        with pytest.raises(Refused, match=f"{address} is in use by a node of this pipeline: "):
            refuse_taken_ports([address])
