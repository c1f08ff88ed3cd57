"""The launcher as a service: what its manager hears, what its log says, and how it went."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

from tests.lib.launcher import SMALL, launcher
from tests.lib.processes import PATIENCE_S, Running

PAIR = r"^\d\d:\d\d:\d\d\.\d{3} .*left +\d/\d"


def news(manager: socket.socket) -> Iterator[str]:
    """Yield what is told, line by line, as it comes."""
    manager.settimeout(PATIENCE_S)
    while True:
        yield from manager.recv(4096).decode().split("\n")


def test_a_service_manager_hears_of_the_start_the_state_and_the_stop(directory: Path) -> None:
    environment = {"NOTIFY_SOCKET": f"{directory}/notify", "WATCHDOG_USEC": "500000"}
    command = launcher("--run-dir", directory / "run", "--window", "0.2", "--verbose", *SMALL)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(environment["NOTIFY_SOCKET"])
        with Running([*command, "--log-format", "json"], env=environment) as running:
            told = news(manager)
            assert "STATUS=left, right: frames flow" in iter(told.__next__, "READY=1")
            # The launcher's own loop says that it lives.
            assert all("WATCHDOG=1" in told for _ in range(3))
            running.wait_for(PAIR)
            running.process.send_signal(signal.SIGUSR1)
            running.wait_for(
                r"^\d{4}-.* \d+ pairs in \d+ s, .*; left \d+ frames.*; right \d+ frames"
            )

            left = json.loads(running.wait_for(r'.*"message": "started producer left as.*')[0])
            os.kill(int(left["message"].split()[-1]), signal.SIGKILL)
            assert any("left: to be started again" in line for line in told)
            assert "STATUS=left, right: frames flow; restarts: left 1" in told
            running.process.send_signal(signal.SIGTERM)
            assert "STOPPING=1" in told
            assert running.wait() == 0
    said = [json.loads(line) for line in running.stderr]
    assert {line["process"] for line in said} == {"framepair", "producer", "combiner", "sink"}
    [killed] = [line for line in said if "ended with signal 9" in line["message"]]
    assert (killed["level"], killed["process"]) == ("warning", "framepair")
