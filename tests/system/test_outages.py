"""A camera that breaks off and comes back, in a whole pipeline."""

from __future__ import annotations

import json
import re
import time

from tests.lib.launcher import launcher
from tests.lib.mjpeg_server import MjpegServer, once_connected
from tests.lib.pipeline import Pipeline
from tests.lib.processes import Running

BOTH = r"left +[1-9]\d*/\d+ +right 5/5"


def test_the_report_tells_of_a_camera_that_was_away() -> None:
    with Pipeline([]) as nodes, MjpegServer() as server:
        report = nodes.run_dir / "report.json"
        flags = ("--run-dir", nodes.run_dir / "run", "--json", report, "--window", "0.2")
        sources = (f"left={server.url}", "right=synthetic://160x120@25")
        command = launcher(*flags, "--verbose", "--idle-timeout", "0.4", *sources)
        with Running(command) as running:
            running.wait_for(BOTH, count=3)
            connections = server.connections
            server.refusing.set()
            lost_s = time.monotonic()
            server.cut()
            running.wait_for(r"left +0/\d+ +right 5/5 .* left offline")
            # At the second attempt the first one has been refused.
            with once_connected(server, connections + 2, server.refusing.clear):
                back = running.wait_for(r"source left is back after (\d+\.\d) s")
            running.wait_for(BOTH, count=whole(running) + 3)
            back_s = time.monotonic() - lost_s
            assert running.stop() == 0
        found = json.loads(report.read_text())
    left, right = (found["sources"][name] for name in ("left", "right"))
    assert (left["reopened"], left["restarts"]) == (1, 0)
    # It ends with the first frame afterwards, and began before the producer noticed: after the last frame, and
    # the time until the next one.
    assert float(back[1]) - 0.2 < left["longest_outage_s"] < back_s + 1
    assert float(back[1]) >= 0.5
    assert (right["reopened"], right["restarts"]) == (0, 0)
    assert found["ledger_balanced"]
    # What a camera did not capture is not lost.
    assert left["gaps"] == 0


def whole(running: Running) -> int:
    """Return how many pairs the sink has told of that have frames of both sources."""
    return sum(bool(re.search(BOTH, line)) for line in running.stdout)
