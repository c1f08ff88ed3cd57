"""A pipeline that gets twice what it can take: no process needs more memory than the plan says."""

from __future__ import annotations

import itertools
import json
import os
import resource
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes import ROOT, Running, python

PAGE_BYTES = resource.getpagesize()
NODES = ("producer left", "producer right", "combiner", "sink")
# The combiner works for one of these in two.
TURN_S = 0.2


@pytest.fixture
def directory() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="fp-", dir="/tmp"))
    yield path
    shutil.rmtree(path)


def bounds(directory: Path, *arguments: str) -> dict[str, int]:
    """Return how much memory each process may take, as the plan says."""
    report = directory / "plan.json"
    with Running(python(ROOT / "launch.py", "--plan", "--json", report, *arguments)) as running:
        assert running.wait() == 0
    processes: dict[str, int] = json.loads(report.read_text())["processes"]
    return processes


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_BYTES


@pytest.mark.parametrize(
    ("size", "turns"),
    [("640x360", 20), pytest.param("1920x1080", 300, marks=pytest.mark.slow)],
)
def test_memory_stays_within_the_plan(directory: Path, size: str, turns: int) -> None:
    asked = [f"{name}=synthetic://{size}@25" for name in ("left", "right")]
    allowed = bounds(directory, *asked)
    command = python(
        ROOT / "launch.py",
        "--run-dir",
        directory / "run",
        "--verbose",
        "--health-timeout",
        "1000",
        *asked,
    )
    most = dict.fromkeys(NODES, 0)
    tick = threading.Event()
    with Running(command) as running:
        running.wait_for(r"left +\d+/\d+")
        pids = {node: int(running.wait_for(f"started {node} as process (.*)")[1]) for node in NODES}
        # A consumer that takes nothing at all, and a combiner that has half of the time that it needs.
        os.kill(pids["sink"], signal.SIGSTOP)
        for number in itertools.islice(itertools.cycle([signal.SIGSTOP, signal.SIGCONT]), turns):
            os.kill(pids["combiner"], number)
            tick.wait(TURN_S)
            for node, pid in pids.items():
                most[node] = max(most[node], resident_bytes(pid))
        os.kill(pids["sink"], signal.SIGCONT)
        running.wait_for(r"left +\d+/\d+", count=len(running.stdout) + 2)
        most["sink"] = max(most["sink"], resident_bytes(pids["sink"]))
        assert running.stop() == 0
        assert "The ledger balances" in running.stdout[-1]
    assert all(most[node] < allowed[node] for node in NODES)
