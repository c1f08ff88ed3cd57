"""The limit of open files: sources take several each, so nodes raise it, and say so where it is not enough."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from framepair.protocol.transport import sockets
from framepair.protocol.transport.endpoints import EndpointError
from tests.lib.processes import Running, python

SAY_LIMIT = """
import cyclopts, resource
from framepair.nodes.common import runtime
app = cyclopts.App()
@app.default
def say():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    print("soft is hard" if soft == hard else soft)
runtime.run(app, "node")
"""


@pytest.fixture
def context() -> Iterator[sockets.Context]:
    """Give a context that has all that it needs for itself.

    Its socket stays open: closed, it would give descriptors back during the test, and libzmq aborts if they do
    for a part of what it opens.
    """
    with sockets.new_context() as made, sockets.pull(made, "tcp://127.0.0.1:*"):
        yield made


@pytest.mark.parametrize("scheme", ["ipc", "tcp"])
def test_the_message_names_the_limit(
    scheme: str, context: sockets.Context, directory: Path
) -> None:
    address = f"ipc://{directory}/left" if scheme == "ipc" else "tcp://127.0.0.1:*"
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, limits[1]))
    try:
        with (
            pytest.raises(EndpointError, match=r"Too many open files: .*\(ulimit -n\)"),
            sockets.pull(context, address),
        ):
            pytest.fail("it listens")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_a_node_raises_the_limit_as_far_as_it_may() -> None:
    node = python("-c", SAY_LIMIT)
    command = ["sh", "-c", 'ulimit -Sn 256; exec "$@"', "sh", *node]
    with Running(command) as running:
        running.wait_for("soft is hard")
        assert running.wait() == 0
