"""How a node ends that is asked to: at once, as long as it gets on, or by the deadline."""

from __future__ import annotations

import signal
from pathlib import Path

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


# A sink whose receiving thread never ends, as far as its main thread can tell.
STUCK_SINK = """
import time
from framepair.nodes.common import runtime
from framepair.nodes.sink import main
from framepair.protocol.client.receiver import Receiver
runtime.STOP_DEADLINE_S = 2.0
Receiver.close = lambda receiver: time.sleep(1000)
main.main()
"""


def test_a_sink_reports_before_it_waits_for_its_threads(directory: Path) -> None:
    with Running(python("-c", STUCK_SINK, "--sub", f"ipc://{directory}/pairs")) as sink:
        sink.wait_for("READY")
        assert sink.stop(signal.SIGTERM) == 0
        sink.wait_for("No pair came from")
