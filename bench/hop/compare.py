"""All ways side by side: every round measures each of them once, every other round in reverse."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Sequence
from typing import Any

from bench import stats
from bench.frames import FULL_HD, Shape
from bench.hop import run

LIMIT, BASELINE = run.MEMCPY, "queue"
OWN = ("queue", "pipe", "pipe_bytes", "raw_ipc", "raw_tcp", "shm", LIMIT)
PEERS = ("iceoryx", "zenoh_shm", "imagezmq_reqrep", "netgear", "fifo")

Section = dict[str, Any]


def compare(
    ways: Sequence[str],
    rounds: int,
    seconds: float,
    say: Callable[[str], None],
    shape: Shape = FULL_HD,
) -> Section:
    """Measure every way ``rounds`` times for some ``seconds``; one that can't be is named with the reason."""
    why_not = {way: reason for way in ways if (reason := missing(way))}
    times: dict[str, list[float]] = {way: [] for way in ways}
    for number in range(rounds):
        for way in ways if number % 2 == 0 else reversed(ways):
            if way in why_not:
                continue
            say(f"hop: round {number + 1} of {rounds}, {name(way)}")
            try:
                times[way].append(run.measure(way, shape, seconds))
            except run.Failed as error:
                why_not[way] = f"failed: {error}"
    rows = [_row(way, times, why_not.get(way)) for way in ways]
    return {"rounds": rounds, "seconds": seconds, "shape": list(shape), "rows": rows}


def missing(way: str) -> str | None:
    """Return what has to be installed before a way can be measured, None if nothing has to be."""
    needs: tuple[str, ...] = importlib.import_module(f"bench.hop.{way}").NEEDS
    lacking = [module for module in needs if importlib.util.find_spec(module) is None]
    return f"{', '.join(lacking)} not installed" if lacking else None


def name(way: str) -> str:
    """Return what a way is called in tables."""
    return str(importlib.import_module(f"bench.hop.{way}").NAME)


def _row(way: str, times: dict[str, list[float]], why_not: str | None) -> Section:
    micros = [] if why_not else [1e6 * time for time in times[way]]
    return {
        "way": way,
        "name": name(way),
        "us": micros,
        "median_us": stats.median(micros),
        "of_limit": stats.ratio(times.get(LIMIT, []), times[way]),
        "of_baseline": stats.ratio(times.get(BASELINE, []), times[way]),
        "why_not": why_not,
    }
