"""A pipeline that gets twice what it can take: it loses frames, and no process exceeds what the plan says."""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from framepair.protocol.wire import reasons
from tests.lib.launcher import launcher
from tests.lib.processes import Running, memory_bytes, python

NODES = ("producer left", "producer right", "combiner", "sink")
SOURCES = ("left", "right")
FPS = 25
WINDOWS_QUEUED = 2
# As long as this a node does nothing: two windows fill its queue, and the others are lost.
WINDOWS_AWAY = 5
PAIR = re.compile(r"left +\d+/\d+ +right +\d+/\d+")


def bounds(directory: Path, *arguments: str) -> dict[str, int]:
    """Return how much memory each process may take, as the plan says."""
    report = directory / "plan.json"
    with Running(launcher("--plan", "--json", report, *arguments)) as running:
        assert running.wait() == 0
    processes: dict[str, int] = json.loads(report.read_text())["processes"]
    return processes


class Overload:
    """A pipeline whose sink works on each pair for as long as two windows, and whose nodes can be stopped."""

    def __init__(self, running: Running, window_s: float) -> None:
        self._running = running
        self._window_s = window_s
        self._load = threading.Event()
        running.wait_for(PAIR.pattern)
        self._pids = {
            node: int(running.wait_for(f"started {node} as process (.*)")[1]) for node in NODES
        }

    def wait_for_pairs(self, count: int) -> None:
        """Wait until the sink has taken so many pairs more."""
        taken = sum(bool(PAIR.search(line)) for line in self._running.stdout)
        self._running.wait_for(PAIR.pattern, count=taken + count)

    def last(self, windows: float) -> None:
        """Let so many windows of frames be captured. That is the load itself, nothing is waited for."""
        self._load.wait(windows * self._window_s)

    @contextlib.contextmanager
    def stopped(self, node: str) -> Iterator[None]:
        """Stop a node; when left, let it go on."""
        os.kill(self._pids[node], signal.SIGSTOP)
        yield
        os.kill(self._pids[node], signal.SIGCONT)

    def memory_bytes(self, name: str) -> dict[str, int]:
        """Return what processes.memory_bytes says of each node."""
        return {node: memory_bytes(pid, name) for node, pid in self._pids.items()}


@pytest.mark.parametrize(
    ("width", "height", "window_s", "turns"),
    [
        (1280, 720, 0.2, 2),
        # A minute of it.
        pytest.param(1920, 1080, 1.0, 5, marks=pytest.mark.slow),
    ],
    ids=["720p", "1080p"],
)
def test_memory_stays_within_the_plan(
    directory: Path, width: int, height: int, window_s: float, turns: int
) -> None:
    sources = [f"{name}=synthetic://{width}x{height}@{FPS}" for name in SOURCES]
    asked = [*sources, "--window", str(window_s)]
    allowed = bounds(directory, *asked)
    with Running(command(directory, window_s, asked)) as running:
        overload = Overload(running, window_s)
        before = overload.memory_bytes("VmRSS")
        # A consumer that takes half of the pairs.
        overload.wait_for_pairs(4)
        # And a combiner that takes half of the frames.
        for _ in range(turns):
            with overload.stopped("combiner"):
                overload.last(WINDOWS_AWAY)
            overload.wait_for_pairs(1)
        # Now both at once, so that all the queues of the combiner fill up.
        with overload.stopped("sink"):
            overload.last(2 * WINDOWS_AWAY)
            with overload.stopped("combiner"):
                overload.last(WINDOWS_AWAY)
            overload.last(1)
        overload.wait_for_pairs(2)
        most = overload.memory_bytes("VmHWM")
        assert running.stop() == 0
    # Of a process that was started again, nobody would know what it took before.
    assert not any("restarts:" in line for line in running.stderr)
    frames_away = round(window_s * FPS) * (turns + 1)
    everything_was_lost_that_can_be(
        json.loads((directory / "report.json").read_text()), frames_away
    )
    assert all(most[node] < allowed[node] for node in NODES), (most, allowed)
    # Nobody had an easy time: queues were filled.
    queue_bytes = WINDOWS_QUEUED * window_s * FPS * math.prod((width, height, 3))
    assert all(most[node] - before[node] > queue_bytes / 2 for node in NODES), (before, most)


def command(directory: Path, window_s: float, asked: list[str]) -> list[str]:
    """Return the command of a launcher whose sink is ours, but takes half of the pairs."""
    work = ("--work-ms", f"{2000 * window_s:g}", "--json", directory / "report.json")
    sink = " ".join(python("-m", "framepair.nodes.sink", "--sub", "{sub}", *map(str, work)))
    run = ("--run-dir", directory / "run", "--verbose", "--health-timeout", "1000", "--sink", sink)
    return launcher(*map(str, run), *asked)


def everything_was_lost_that_can_be(report: dict[str, Any], frames_away: int) -> None:
    """Check that it was an overload at each place, a window of frames or more each time at the combiner."""
    assert report["ledger_balanced"]
    assert report["lost_pairs"] > 0
    for source in SOURCES:
        dropped = report["sources"][source]["dropped"]
        at_combiner = [
            dropped.get(reason, 0)
            for reason in (reasons.PRODUCER_DROPPED, reasons.COMBINER_OVERFLOW)
        ]
        assert sum(at_combiner) >= frames_away, dropped
        assert dropped[reasons.SUBSCRIBER_SLOW] > 0
        assert dropped[reasons.PUBLISHER_OVERFLOW] > 0
