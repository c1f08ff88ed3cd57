"""A wall clock that a test sets, for all processes that it starts."""

from __future__ import annotations

from pathlib import Path

from tests.lib.processes import ROOT

# Every Python process that finds this imports it first: its wall clock is wrong by what the file says.
WALL_CLOCK = """
import os, time
REAL = {name: getattr(time, name) for name in ("time", "time_ns", "clock_gettime", "clock_gettime_ns")}
def step_ns():
    try:
        with open(os.environ["STEP_FILE"]) as file:
            return int(file.read() or 0)
    except FileNotFoundError:
        return 0
def gettime_ns(which):
    return REAL["clock_gettime_ns"](which) + (step_ns() if which == time.CLOCK_REALTIME else 0)
time.time_ns = lambda: REAL["time_ns"]() + step_ns()
time.time = lambda: REAL["time"]() + step_ns() / 1e9
time.clock_gettime_ns = gettime_ns
time.clock_gettime = lambda which: gettime_ns(which) / 1e9
"""


def put(directory: Path) -> dict[str, str]:
    """Put a wall clock into ``directory``; return the environment of processes that are to have it.

    It is ahead by as many nanoseconds as the file ``directory / "step"`` says.
    """
    (directory / "sitecustomize.py").write_text(WALL_CLOCK)
    return {"PYTHONPATH": f"{directory}:{ROOT}", "STEP_FILE": str(directory / "step")}
