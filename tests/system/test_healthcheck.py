"""The health check of containers, which tells whether frames flow: asked of real nodes."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.lib.processes import PATIENCE_S, ROOT, Running, python


def probe(path: Path | None, *arguments: str) -> tuple[int, str]:
    """Return the probe's exit status and what it says."""
    environment = dict(os.environ)
    environment.pop("FRAMEPAIR_STATUS", None)
    if path is not None:
        environment["FRAMEPAIR_STATUS"] = str(path)
    done = subprocess.run(
        [ROOT / "deploy" / "container" / "healthcheck.sh", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    return done.returncode, done.stdout + done.stderr


def until_probe(path: Path, code: int, words: str, *arguments: str) -> None:
    """Wait until the probe says so."""
    deadline_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline_s:
        said = probe(path, *arguments)
        if said[0] == code and words in said[1]:
            return
    pytest.fail(f"{path.name} never was {code} {words}: {said}")


def node(name: str, directory: Path, *arguments: str) -> Running:
    """Start a node that writes its status."""
    environment = {"FRAMEPAIR_STATUS": str(directory / name)}
    return Running(
        python("-m", f"framepair.nodes.{name}", *arguments), env=environment, cwd=directory
    )


def test_frames_flow_stop_and_flow_again(directory: Path) -> None:
    run = directory / "run"
    pull, pub = f"ipc://{run}/left.frames", f"ipc://{run}/pairs"
    producing = ("--name", "left", "--source", "synthetic://160x120@25", "--push", pull)
    with (
        node("combiner", directory, "--pull", f"left={pull}", "--pub", pub, "--window", "0.2"),
        node("sink", directory, "--sub", pub),
    ):
        for name in ("combiner", "sink"):
            until_probe(directory / name, 1, "1970: none has")
            assert probe(directory / name, "--alive", "30")[0] == 0
        with node("producer", directory, *producing, "--window", "0.2") as producer:
            for name in ("producer", "combiner", "sink"):
                until_probe(directory / name, 0, "", "2")
            os.kill(producer.process.pid, signal.SIGSTOP)
            until_probe(directory / "producer", 1, "work loop", "--alive", "2")
            for name in ("combiner", "sink"):
                until_probe(directory / name, 1, "the newest frame passed at 2", "2")
                assert probe(directory / name, "--alive", "30")[0] == 0
            os.kill(producer.process.pid, signal.SIGCONT)
            for name in ("producer", "combiner", "sink"):
                until_probe(directory / name, 0, "", "2")
    assert sorted(path.name for path in directory.iterdir() if path.is_file()) == [
        "combiner",
        "producer",
        "sink",
    ]


def test_the_probe_says_what_it_lacks(directory: Path) -> None:
    assert probe(directory / "nothing")[0] == 1
    code, words = probe(None)
    assert code != 0
    assert "FRAMEPAIR_STATUS" in words
