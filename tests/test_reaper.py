"""What tests start ends with them, also when they are killed."""

from __future__ import annotations

import signal

from tests.lib.processes import PATIENCE_S, Running, python, wait_for_exit

TESTS = """
import signal
from tests.lib import reaper
from tests.lib.processes import Running
reaper.start()
running = Running(["sh", "-c", "setsid sleep 3600 & echo $!; wait"])
print("started", running.process.pid, running.wait_for("[0-9]+")[0], flush=True)
signal.pause()
"""


def test_a_killed_pytest_leaves_no_process() -> None:
    with Running(python("-c", TESTS)) as tests:
        left = tests.wait_for("^started ([0-9]+) ([0-9]+)$").groups()
        tests.stop(signal.SIGKILL)
        assert all(wait_for_exit(int(pid), PATIENCE_S) for pid in left)
