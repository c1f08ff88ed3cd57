"""A synthetic pipeline for tests of programs that take pairs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from framepair import testing
from framepair.pytest_plugin import synthetic_pipeline  # noqa: F401 - a fixture
from tests.lib.pipeline import check
from tests.lib.processes import PATIENCE_S, wait_for_exit

PROGRAM = "from framepair import subscribe; print(next(subscribe())['left'].shape)"


def test_a_pipeline_runs_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRAMEPAIR_WINDOW", "5")
    with testing.pipeline(
        "left", "top=synthetic://200x150@25", flags=["--payload", "shm"]
    ) as running:
        place = running.log.parent
        with running.subscribe(copy=True) as pairs:
            pair = pairs.get(PATIENCE_S)
            assert pair is not None
            assert list(pair) == ["left", "top"]
            check(pair)
    assert running.process.returncode == 0
    assert not place.exists()


def test_it_is_a_fixture_for_programs_too(synthetic_pipeline: testing.Pipeline) -> None:  # noqa: F811
    command = (sys.executable, "-c", PROGRAM)
    done = subprocess.run(
        command, env=synthetic_pipeline.environment(), capture_output=True, check=True, text=True
    )
    assert done.stdout == "(5, 120, 160, 3)\n"


def test_what_cannot_be_started_is_an_error_that_says_why() -> None:
    refused = "failed: framepair: --payload zip: it is raw"
    with (
        pytest.raises(RuntimeError, match=refused),
        testing.pipeline(flags=["--payload", "zip"]),
    ):
        pass


def test_it_ends_with_a_test_that_is_killed(directory: Path) -> None:
    code = (
        "import time; from framepair import testing\n"
        "with testing.pipeline() as p: print(p.process.pid, flush=True); time.sleep(60)"
    )
    command, env = (sys.executable, "-c", code), {**os.environ, "TMPDIR": str(directory)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as test:
        assert test.stdout is not None
        launcher = int(test.stdout.readline())
        test.send_signal(signal.SIGKILL)
    assert wait_for_exit(launcher, PATIENCE_S)
