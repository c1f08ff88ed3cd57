"""The status file and its probe: whether frames flow, asked of real nodes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from framepair.nodes.common.status import Status, StatusFile, complaint, read
from tests.lib.processes import PATIENCE_S, Running, python, python_path


@pytest.fixture
def directory() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="fp-", dir="/tmp"))
    yield path
    shutil.rmtree(path)


def probe(path: Path | None, *arguments: str) -> tuple[int, str]:
    """Return the probe's exit status and what it says."""
    environment = {**os.environ, "PYTHONPATH": python_path()}
    environment.pop("FRAMEPAIR_STATUS", None)
    if path is not None:
        environment["FRAMEPAIR_STATUS"] = str(path)
    done = subprocess.run(
        [sys.executable, "-m", "framepair.nodes.healthcheck", *arguments],
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
            until_probe(directory / name, 1, "no frame yet")
            assert probe(directory / name, "--alive", "--max-age", "30")[0] == 0
        with node("producer", directory, *producing, "--window", "0.2") as producer:
            for name in ("producer", "combiner", "sink"):
                until_probe(directory / name, 0, "frames so far", "--max-age", "2")
            os.kill(producer.process.pid, signal.SIGSTOP)
            until_probe(directory / "producer", 1, "hangs", "--alive", "--max-age", "2")
            for name in ("combiner", "sink"):
                until_probe(directory / name, 1, "no frame for", "--max-age", "2")
                assert probe(directory / name, "--alive", "--max-age", "30")[0] == 0
            os.kill(producer.process.pid, signal.SIGCONT)
            for name in ("producer", "combiner", "sink"):
                until_probe(directory / name, 0, "frames so far", "--max-age", "2")
    assert sorted(path.name for path in directory.iterdir() if path.is_file()) == [
        "combiner",
        "producer",
        "sink",
    ]


def test_a_status_that_cannot_be_written_stops_nothing(directory: Path) -> None:
    file = StatusFile(directory / "nowhere" / "status")
    file.write(1.0, 1)
    assert not (directory / "nowhere").exists()


def test_the_file_is_written_once_a_second_and_dates_the_newest_frame(directory: Path) -> None:
    path = directory / "status"
    file = StatusFile(path)
    file.write(10.0, 0)
    assert read(path) == Status(frames=0, turn_s=10.0, frame_s=None)
    file.write(10.4, 7)
    assert read(path).turn_s == 10.0
    file.write(11.0, 7)
    assert read(path) == Status(frames=7, turn_s=11.0, frame_s=10.4)


@pytest.mark.parametrize(
    ("now_s", "wrong"),
    [(12.0, None), (13.5, "no frame for 3.1 s"), (14.5, "hangs")],
)
def test_what_is_wrong(now_s: float, wrong: str | None) -> None:
    said = complaint(Status(frames=7, turn_s=11.0, frame_s=10.4), now_s, 3.0)
    assert (said or "").startswith(wrong or "")
    assert bool(said) == bool(wrong)


@pytest.mark.parametrize("content", ["", "{", "[]", "3", "null", json.dumps({"frames": 1})])
def test_garbage_is_no_status(directory: Path, content: str) -> None:
    (directory / "status").write_text(content)
    code, words = probe(directory / "status")
    assert (code, words.count("\n")) == (1, 1)


def test_the_probe_says_what_it_lacks(directory: Path) -> None:
    assert probe(directory / "nothing")[0] == 1
    code, words = probe(None)
    assert code == 2
    assert "FRAMEPAIR_STATUS" in words
