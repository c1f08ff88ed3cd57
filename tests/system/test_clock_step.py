"""A wall clock that is set by an hour while a pipeline runs: nothing changes, nor for nodes started later."""

from __future__ import annotations

import itertools
import os
import signal
from pathlib import Path

import numpy as np
import pytest

from framepair import Pair, subscribe
from tests.lib import wall_clock
from tests.lib.launcher import launcher
from tests.lib.pipeline import Pipeline, checked
from tests.lib.processes import Running, python

HOUR_NS = 3600 * 10**9


def wall_clock_ns(environment: dict[str, str]) -> int:
    with Running(python("-c", "import time; print(time.time_ns())"), env=environment) as running:
        assert running.wait() == 0
        return int(running.stdout[0])


@pytest.mark.parametrize(
    "step_ns",
    [
        pytest.param(HOUR_NS, id="forward"),
        pytest.param(-HOUR_NS, id="back", marks=pytest.mark.slow),
    ],
)
def test_a_step_of_the_wall_clock(directory: Path, step_ns: int) -> None:
    environment, step = wall_clock.put(directory), directory / "step"
    sources = [f"{name}=synthetic://160x120@25" for name in ("left", "right")]
    command = launcher("--run-dir", directory / "run", "--window", "0.2")
    with (
        Running([*command, "--verbose", *sources], env=environment) as running,
        subscribe(f"ipc://{directory}/run/pairs", keep=1000) as pairs,
    ):
        stream = checked(pairs)
        seen = list(itertools.islice(stream, 3))
        before_ns = wall_clock_ns(environment)
        step.write_text(str(step_ns))
        assert abs(wall_clock_ns(environment) - before_ns - step_ns) < HOUR_NS / 2
        seen += itertools.islice(stream, 5)
        # One that starts after the step reads the stepped clock, unless it is told better.
        os.kill(int(running.wait_for("started producer left as process (.*)")[1]), signal.SIGKILL)
        running.wait_for("started producer left as process", count=2)
        first_run = seen[0]["left"].frames[0].run
        seen += itertools.takewhile(lambda pair: not restarted(pair, first_run), stream)
        seen += itertools.islice((pair for pair in stream if pair.complete), 5)
        pairs.close()
        assert running.stop() == 0
    assert all(pair["right"].missing is None and pair["right"].gaps == 0 for pair in seen)
    assert np.ptp([pair.start_ns for pair in seen]) < HOUR_NS / 10
    assert seen[-1]["left"].frames[0].run != first_run
    assert all(0 < pair.lag_ns < 60 * 10**9 for pair in seen if pair["right"].frames)


def test_nodes_by_hand_that_start_again_after_a_step_count_time_as_those_that_run(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in wall_clock.put(directory).items():
        monkeypatch.setenv(name, value)
    step = directory / "step"
    with Pipeline(["left", "right"]) as pipeline, subscribe(pipeline.pub, keep=1000) as pairs:
        combiner = pipeline.combiner()
        left = pipeline.producer("left", "synthetic://160x120@25")
        pipeline.producer("right", "synthetic://160x120@25")
        stream = checked(pairs)
        seen = [next(pair for pair in stream if pair.complete)]
        step.write_text(str(HOUR_NS))
        left.stop(signal.SIGKILL)
        pipeline.producer("left", "synthetic://160x120@25")
        first = seen[0]["left"].frames[0].run
        seen.append(next(pair for pair in stream if pair.complete and restarted(pair, first)))
        combiner.stop(signal.SIGKILL)
        combiner = pipeline.combiner()
        run = seen[-1].header.run
        seen.append(next(pair for pair in stream if pair.complete and pair.header.run != run))
        assert np.ptp([pair.start_ns for pair in seen]) < HOUR_NS / 10


def restarted(pair: Pair, run: int) -> bool:
    return any(header.run != run for header in pair["left"].frames)
