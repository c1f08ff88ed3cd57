"""How many videos a design carries on this machine: the most that it was seen to carry."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from bench.frames import FULL_HD, Shape
from bench.pair import pipes, queues, raw, shm
from bench.pair.design import NoPairs, Run
from bench.pair.measure import Measured, measure
from bench.tables import Section

MAX_LAG_MS = 100.0
# A lag that grows by less is the noise of so few pairs.
MAX_SLOPE_MS_PER_S = 10.0
# Rings of four seconds, the default, for so many sources would be more memory than most machines have.
HISTORY = ("--history", "2")


@dataclass(frozen=True, slots=True)
class Contender:
    """A design, the numbers of sources to try it with, and which outcome decides whether to try more.

    ``attempts`` are made at each number: something else may use the machine in one of them.
    """

    design: str
    name: str
    run: Run
    steps: Sequence[int]
    wanted: Literal["in_time", "keeps_up"] = "in_time"
    attempts: int = 2


# More than the last of them need more memory than the machine is likely to have.
SHM_STEPS = (8, 16, 24, 32, 40, 48)
CONTENDERS = (
    Contender("queues", queues.NAME, queues.run, (1, 2), "keeps_up", 1),
    Contender("pipes", pipes.NAME, pipes.run, (1, 2, 4), "keeps_up", 1),
    Contender("raw", raw.NAME, raw.run, (4, 6, 8, 10, 12, 14, 16)),
    Contender("shm", shm.NAME, functools.partial(shm.run, flags=HISTORY), SHM_STEPS),
)


def compare(
    contenders: Sequence[Contender],
    seconds: int,
    say: Callable[[str], None],
    shape: Shape = FULL_HD,
) -> Section:
    """Find for each how many sources it carries: without a loss and in time, and without a loss at all."""
    rows = []
    for contender in contenders:
        tried: dict[int, Section] = {}
        while (sources := next_step(contender, tried)) is not None:
            say(f"capacity: {contender.name}, {sources} sources, {seconds} s")
            tried[sources] = _best(contender, sources, seconds, shape)
            say(f"capacity: {tried[sources]}")
        row = {"design": contender.design, "name": contender.name, "why_not": None}
        rows.append(row | summary(tried))
    return {"seconds": seconds, "max_lag_ms": MAX_LAG_MS, "shape": list(shape), "rows": rows}


def next_step(contender: Contender, tried: Mapping[int, Section]) -> int | None:
    """Return what to try next: half-way between what was carried and what was not; None: it is known."""
    carried = max((n for n in tried if tried[n][contender.wanted]), default=0)
    beyond = min((n for n in tried if not tried[n][contender.wanted]), default=math.inf)
    unknown = [n for n in contender.steps if carried < n < beyond]
    return unknown[len(unknown) // 2] if unknown else None


def summary(tried: Mapping[int, Section]) -> Section:
    """Return what was carried of what was tried."""
    return {
        "in_time": max((n for n, outcome in tried.items() if outcome["in_time"]), default=0),
        "keeps_up": max((n for n, outcome in tried.items() if outcome["keeps_up"]), default=0),
        "most_tried": max(tried),
        "tried": [{"sources": n, **outcome} for n, outcome in tried.items()],
    }


def outcome(measured: Measured) -> Section:
    """Return whether a number of sources was carried, and in time."""
    figures = measured.summary()
    lag_ms, slope = figures["lag_p99_ms"], figures["lag_slope_ms_per_s"]
    whole = measured.frames_lost == 0
    return {
        "frames_lost": measured.frames_lost,
        "lag_p50_ms": figures["lag_p50_ms"],
        "lag_p99_ms": lag_ms,
        "cores": measured.cores,
        "in_time": whole and lag_ms < MAX_LAG_MS,
        "keeps_up": whole and (lag_ms < MAX_LAG_MS or slope < MAX_SLOPE_MS_PER_S),
    }


def _best(contender: Contender, sources: int, seconds: int, shape: Shape) -> Section:
    """Return the outcome of the first attempt that is as wanted, else of the last one."""
    found: Section = {}
    for _ in range(contender.attempts):
        try:
            found = outcome(measure(contender.run, sources, seconds, shape))
        except NoPairs as error:
            found = {"in_time": False, "keeps_up": False, "why_not": str(error)}
        if found[contender.wanted]:
            break
    return found
