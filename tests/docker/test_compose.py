"""The containers of compose.yaml and deploy/shm.yaml, with a real engine: pytest -m docker runs these.

FRAMEPAIR_BASE names the image that they are built from, FRAMEPAIR_IMAGE one that is built already.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.lib.processes import ROOT

# Containers start and end slowly on a machine that has other work.
PATIENCE_S = 90.0
POLL_S = 0.3
BASES = (os.environ.get("FRAMEPAIR_BASE", ""), "python:3.13-slim", "framepair-base:local")
WHOLE = r"left 25/25 +right 25/25"
# A pair without left: right's frames, and why.
WITHOUT_LEFT = r"left  ?0/\S+ +right 25/25.*left"

pytestmark = pytest.mark.timeout(600)


def run(*command: str | Path, **environment: str) -> str:
    """Run a command to its end; return what it says."""
    done = subprocess.run(
        [str(word) for word in command],
        env={**os.environ, **environment},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=500,
    )
    assert done.returncode == 0, f"{command}: {done.stdout}"
    return done.stdout


def has(*command: str) -> bool:
    """Tell whether a command is there and succeeds."""
    if shutil.which(command[0]) is None:
        return False
    return subprocess.run(command, capture_output=True, check=False, timeout=60).returncode == 0


@pytest.fixture(scope="module")
def compose() -> list[str]:
    """Return the command of whichever Compose is there."""
    if not has("docker", "info"):
        pytest.skip("no Docker engine answers here")
    for command in (["docker", "compose"], ["docker-compose"]):
        if has(*command, "version"):
            return command
    pytest.skip("neither docker compose nor docker-compose is installed")


@pytest.fixture(scope="module")
def image(compose: list[str]) -> str:
    """Build the image, from a base that this machine has: nothing is pulled."""
    if built := os.environ.get("FRAMEPAIR_IMAGE"):
        return built
    for base in filter(None, BASES):
        if has("docker", "image", "inspect", base):
            tag = "framepair:test"
            run(
                "docker",
                "build",
                "--network=host",
                f"--build-arg=BASE={base}",
                f"--tag={tag}",
                ROOT,
            )
            return tag
    pytest.skip(f"none of the base images {', '.join(filter(None, BASES))} is on this machine")


class Stack:
    """One project of containers; what is asked of it waits until it is so."""

    def __init__(self, compose: list[str], file: str, image: str) -> None:
        self._command = [*compose, "--project-name", f"fp{uuid.uuid4().hex[:8]}", "--file", file]
        small = "synthetic://160x120@25"
        self._environment = {"FRAMEPAIR_IMAGE": image, "LEFT": small, "RIGHT": small}
        self._environment["SHM_SIZE"] = "64m"
        # Any port that is free.
        self._environment["MONITOR_PORT"] = ""

    @property
    def has_compose_2(self) -> bool:
        """Tell whether this is docker compose, and not docker-compose 1.29."""
        return self._command[0] == "docker"

    def add(self, file: Path, **environment: str) -> None:
        """Put a file beside the first one, and set what it asks for."""
        self._command += ["--file", str(file)]
        self.set(**environment)

    def set(self, **environment: str) -> None:
        """Set what the files ask for."""
        self._environment |= environment

    def __call__(self, *arguments: str) -> str:
        return run(*self._command, *arguments, **self._environment)

    def containers(self, service: str) -> list[str]:
        """Return the ids of a service's containers, running or not."""
        return self("ps", "--all", "--quiet", service).split()

    def state(self, container: str) -> dict[str, object]:
        """Return what the engine knows of a container."""
        [found] = json.loads(run("docker", "inspect", container))
        return {
            **found["State"],
            "health": found["State"]["Health"]["Status"],
            "restarts": found["RestartCount"],
        }

    def pairs(self, service: str = "sink") -> list[str]:
        """Return the lines of pairs that the first container of a service has printed."""
        lines = run("docker", "logs", self.containers(service)[0]).splitlines()
        return [line for line in lines if re.match(r"\d\d:\d\d:\d\d\.\d{3}", line)]

    def until_pair(self, pattern: str, after: int = 0, count: int = 1) -> int:
        """Wait for ``count`` pairs like that after the first ``after``; return how many there are."""
        wait(lambda: len([p for p in self.pairs()[after:] if re.search(pattern, p)]) >= count)
        return len(self.pairs())

    def until_health(self, health: str, *services: str) -> None:
        """Wait until every container of the services is ``healthy``, or ``unhealthy``."""
        for service in services:
            for container in self.containers(service):
                wait(lambda one=container: self.state(one)["health"] == health)  # type: ignore[misc]


def wait(condition: Callable[[], bool]) -> None:
    """Wait until it holds."""
    deadline_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline_s, "waited in vain"
        time.sleep(POLL_S)


@pytest.fixture(params=["compose.yaml", "deploy/shm.yaml"])
def stack(request: pytest.FixtureRequest, compose: list[str], image: str) -> Iterator[Stack]:
    stack = Stack(compose, request.param, image)
    try:
        stack("up", "--detach", "--no-build")
        yield stack
    finally:
        stack("down", "--volumes", "--timeout", "10")
        # Nothing stays behind.
        label = f"label=com.docker.compose.project={stack._command[-3]}"
        assert not run("docker", "ps", "--all", "--quiet", "--filter", label).strip()
        assert not run("docker", "volume", "ls", "--quiet", "--filter", label).strip()


def test_pairs_go_on_whatever_happens_to_a_producer(stack: Stack) -> None:
    stack.until_pair(WHOLE, count=2)
    stack.until_health("healthy", "left", "right", "combiner", "sink")
    [left] = stack.containers("left")

    stack("kill", "-s", "KILL", "left")
    seen = stack.until_pair(WITHOUT_LEFT, after=len(stack.pairs()), count=2)
    # The engine takes that for a stop by hand, and leaves it to whoever did it.
    stack("start", "left")
    seen = stack.until_pair(WHOLE, after=seen, count=2)

    stack("pause", "left")
    seen = stack.until_pair(WITHOUT_LEFT, after=seen, count=2)
    stack("unpause", "left")
    seen = stack.until_pair(WHOLE, after=seen, count=2)

    before = stack.state(left)["StartedAt"]
    subprocess.run(["docker", "exec", left, "sh", "-c", "kill -9 -1"], check=False, timeout=60)
    wait(lambda: stack.state(left)["StartedAt"] != before)
    assert stack.state(left)["restarts"] == 1
    stack.until_pair(WHOLE, after=seen, count=2)


def test_the_combiner_and_the_sink_come_back(stack: Stack) -> None:
    seen = stack.until_pair(WHOLE)
    for service in "combiner", "sink":
        stack("kill", "-s", "KILL", service)
        seen = len(stack.pairs())
        stack("start", service)
        seen = stack.until_pair(WHOLE, after=seen, count=2)


def test_health_is_whether_frames_flow(stack: Stack) -> None:
    stack.until_pair(WHOLE)
    stack.until_health("healthy", "left", "right", "combiner", "sink")
    stack("pause", "left", "right")
    stack.until_health("unhealthy", "combiner", "sink")
    assert all(stack.state(one)["Running"] for one in stack.containers("sink"))
    stack("unpause", "left", "right")
    stack.until_health("healthy", "left", "right", "combiner", "sink")


def test_more_sinks_and_a_stop_with_a_report(stack: Stack) -> None:
    stack.until_pair(WHOLE)
    stack("up", "--detach", "--no-build", "--scale", "sink=3")
    sinks = stack.containers("sink")
    assert len(sinks) == 3
    for sink in sinks:
        wait(lambda one=sink: re.search(WHOLE, run("docker", "logs", one)) is not None)  # type: ignore[misc]
    started_s = time.monotonic()
    stack("stop")
    # Nothing was killed: that would be 137, or 143 without a handler.
    for service in stack("config", "--services").split():
        for container in stack.containers(service):
            assert stack.state(container)["ExitCode"] == 0, service
    assert time.monotonic() - started_s < PATIENCE_S
    for sink in sinks:
        log = run("docker", "logs", sink)
        assert "The ledger balances" in log, log


def test_a_sink_with_a_tenth_of_a_core_stops_with_its_report(stack: Stack) -> None:
    stack.until_pair(WHOLE)
    [sink] = stack.containers("sink")
    run("docker", "update", "--cpus", "0.1", sink)
    stack.until_pair(r"left", after=len(stack.pairs()), count=2)
    stack("stop", "sink")
    # 142 is the deadline of its own, 137 the engine's.
    assert stack.state(sink)["ExitCode"] == 0
    log = run("docker", "logs", sink)
    assert "The ledger balances" in log, log


def test_the_combiner_of_a_network_has_a_limit_of_memory(compose: list[str], image: str) -> None:
    stack = Stack(compose, "compose.yaml", image)
    try:
        stack("up", "--no-start", "--no-build")
        [found] = json.loads(run("docker", "inspect", *stack.containers("combiner")))
        assert found["HostConfig"]["Memory"] == 4 * 2**30
    finally:
        stack("down", "--volumes")
