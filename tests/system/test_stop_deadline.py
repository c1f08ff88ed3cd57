"""How a node ends that is asked to: at once, as long as it gets on, or by the deadline."""

from __future__ import annotations

import signal

import pytest

from tests.lib.processes import Running, python

NODE = """
import sys, time
from framepair.nodes.common import runtime
from framepair.protocol.transport.heartbeat import Heartbeat
runtime.STOP_DEADLINE_S, runtime.LAST_DEADLINE_S = 1.0, 3.0
stop = runtime.stop_on_signals(Heartbeat())
print("READY", flush=True)
while not stop.wait(10):
    pass
if sys.argv[1] == "gets on":
    for _ in range(10):
        time.sleep(0.2)
        stop.extend_deadline()
if sys.argv[1] == "gets on for ever":
    while True:
        time.sleep(0.2)
        stop.extend_deadline()
if sys.argv[1] == "is done":
    stop.set_done()
if sys.argv[1] != "gets on":
    time.sleep(1000)
"""


@pytest.mark.parametrize(
    ("does", "code"),
    [
        ("gets on", 0),
        ("is done", 0),
        ("hangs", -signal.SIGALRM),
        ("gets on for ever", -signal.SIGALRM),
    ],
)
def test_the_deadline_of_a_stop(does: str, code: int) -> None:
    with Running(python("-c", NODE, does)) as node:
        node.wait_for("READY")
        assert node.stop(signal.SIGTERM) == code
