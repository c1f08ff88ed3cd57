"""Measure the containers of compose.yaml and deploy/shm.yaml: processor time and lag, with one sink and three.

It needs a Docker engine on this machine, and the image: docker build --tag framepair .
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from bench import cpu_time

ROOT = Path(__file__).parents[1]
SETTLING_S = 5.0
POLL_S = 0.5
PATIENCE_S = 60.0
FULL_HD, HD = "synthetic://1920x1080@25", "synthetic://1280x720@25"
# What a row is called, its file, and its environment.
ROWS: tuple[tuple[str, str, dict[str, str]], ...] = (
    ("1080p, raw", "compose.yaml", {"PAYLOAD": "raw"}),
    ("1080p, JPEG", "compose.yaml", {"PAYLOAD": "jpeg"}),
    ("720p, JPEG", "compose.yaml", {"PAYLOAD": "jpeg", "LEFT": HD, "RIGHT": HD}),
    ("1080p, shared memory", "deploy/shm.yaml", {}),
)
SINKS = (1, 3)
HEALTH = "{{.State.Health.Status}}"
# A line that a sink prints on SIGUSR1, since the one before.
SAID = re.compile(r"(\d+) pairs in .*?, (\d+) complete.* p50 ([\d.]+) p99 ([\d.]+)")

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--seconds", type=float, default=30.0, help="how long to measure each")
parser.add_argument("--image", default="framepair", help="the image of all containers")
parser.add_argument("--only", default="", help="rows whose name has this in it")


class Said(NamedTuple):
    """What a sink said of the time that was measured; lags in milliseconds."""

    pairs: int
    complete: int
    p50: float
    p99: float


class Stack:
    """The containers of one file, as a project of their own."""

    def __init__(self, file: str, environment: dict[str, str]) -> None:
        docker = ["docker", "compose"] if _has_compose_2() else ["docker-compose"]
        self._command = [*docker, "--project-name", f"fpbench{os.getpid()}", "--file", file]
        self._environment = {**os.environ, **environment}

    def __call__(self, *arguments: str) -> str:
        """Run a command of Compose; return what it prints."""
        return _run([*self._command, *arguments], self._environment)

    def containers(self, *services: str) -> list[str]:
        """Return the ids of the services' containers, of all services if none is named."""
        return self("ps", "--quiet", *services).split()

    def cpu_s(self) -> float:
        """Return the processor time that all nodes have taken so far."""
        pids = _run(["docker", "inspect", "--format", "{{.State.Pid}}", *self.containers()]).split()
        return cpu_time.seconds(child for pid in pids for child in _descendants(int(pid)))


def main() -> None:
    """Print a table for a page."""
    asked = parser.parse_args()
    given = {"FRAMEPAIR_IMAGE": asked.image, "LEFT": FULL_HD, "RIGHT": FULL_HD, "MONITOR_PORT": ""}
    print("|  | sinks | cores | lag p50, ms | lag p99, ms | complete pairs |", flush=True)
    print("| --- | ---: | ---: | ---: | ---: | ---: |", flush=True)
    for name, file, own in ROWS:
        for sinks in SINKS if asked.only in name else ():
            row = _row(Stack(file, given | own), sinks, asked.seconds)
            print(f"| {name} | {sinks} | {row} |", flush=True)


def _row(stack: Stack, sinks: int, seconds: float) -> str:
    try:
        cores, said = measure(stack, sinks, seconds)
    except TimeoutError:
        return "- | - | - | none in time"
    lags = f"{max(s.p50 for s in said):.0f} | {max(s.p99 for s in said):.0f}"
    return f"{cores:.2f} | {lags} | {sum(s.complete for s in said)} of {sum(s.pairs for s in said)}"


def measure(stack: Stack, sinks: int, seconds: float) -> tuple[float, list[Said]]:
    """Return how many cores the nodes take, and what each sink says of that time."""
    try:
        stack("up", "--detach", "--no-build", "--scale", f"sink={sinks}")
        names = stack.containers("sink")
        _wait(lambda: _health(names) == {"healthy"})
        time.sleep(SETTLING_S)
        _ask(names)
        began_s, before_s = time.monotonic(), stack.cpu_s()
        time.sleep(seconds)
        cores = (stack.cpu_s() - before_s) / (time.monotonic() - began_s)
        return cores, _ask(names)
    finally:
        stack("down", "--volumes", "--timeout", "10")


def _descendants(pid: int) -> Iterator[int]:
    """Yield the processes below an init. A health check is not among them: the engine starts that."""
    for child in cpu_time.children(pid):
        yield child
        yield from _descendants(child)


def _ask(sinks: list[str]) -> list[Said]:
    """Return what each sink says of the time since it was asked before."""
    before = [len(_said(sink)) for sink in sinks]
    _run(["docker", "kill", "--signal", "USR1", *sinks])
    _wait(lambda: all(len(_said(s)) > n for s, n in zip(sinks, before, strict=True)))
    return [_said(sink)[-1] for sink in sinks]


def _said(sink: str) -> list[Said]:
    found = SAID.finditer(_run(["docker", "logs", sink]))
    return [Said(int(m[1]), int(m[2]), float(m[3]), float(m[4])) for m in found]


def _health(containers: list[str]) -> set[str]:
    return set(_run(["docker", "inspect", "--format", HEALTH, *containers]).split())


def _wait(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline_s:
            raise TimeoutError("the containers did not come so far: docker compose logs")
        time.sleep(POLL_S)


def _has_compose_2() -> bool:
    command = ["docker", "compose", "version"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0  # noqa: S603


def _run(command: list[str], environment: dict[str, str] | None = None) -> str:
    """Return what a command prints; raises CalledProcessError if it fails, which it says on stderr."""
    return subprocess.run(  # noqa: S603
        command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True
    ).stdout


if __name__ == "__main__":
    main()
