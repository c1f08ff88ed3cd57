"""One measurement of one design: warm up, then some seconds of pairs, and what the processors did for them."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from bench import cpu_time, stats
from bench.frames import FULL_HD, Shape
from bench.pair.design import FPS, WINDOW_NS, NoPairs, Record, Run, Running, Setup
from bench.places import SHARED_MEMORY
from bench.tables import Section
from framepair.protocol.clocks import clock

# The first seconds go through memory that nobody has used yet.
WARM_UP_WINDOWS = 3
# How long after its last frame was captured a pair counts as delivered.
PATIENCE_NS = 2_000_000_000
START_S, MIN_CPU_S = 90.0, 1.0
POLL_S = 0.5


@dataclass(frozen=True, slots=True)
class Measured:
    """The pairs that came of ``windows`` windows from ``first`` on; ``cores`` is processor time by time."""

    sources: int
    first: int
    windows: int
    records: list[Record]
    cores: float

    @property
    def lags_ms(self) -> list[float]:
        """From the capture of a pair's newest frame until the pair was here."""
        return [(record.ready_ns - record.newest_ns) / 1e6 for record in self.records]

    @property
    def frames_lost(self) -> int:
        """How many frames of these windows did not come."""
        return self.windows * FPS * self.sources - sum(record.frames for record in self.records)

    def summary(self) -> Section:
        """Return the figures that tables show."""
        lags = self.lags_ms
        ready_s = [record.ready_ns / 1e9 for record in self.records]
        intervals = [1e3 * (b - a) for a, b in itertools.pairwise(ready_s)]
        return {
            "pairs": len(self.records),
            "expected": self.windows,
            "frames_lost": self.frames_lost,
            "lag_p50_ms": stats.percentile(lags, 50),
            "lag_p99_ms": stats.percentile(lags, 99),
            "lag_max_ms": max(lags, default=None),
            "lag_slope_ms_per_s": stats.slope([record.window for record in self.records], lags),
            "interval_mean_ms": stats.mean(intervals),
            "interval_std_ms": stats.deviation(intervals),
            "cores": self.cores,
            "windows": [record.window - self.first for record in self.records],
            "lags_ms": lags,
        }


def measure(
    run: Run,
    sources: int,
    windows: int,
    shape: Shape = FULL_HD,
    *,
    warm_up: int = WARM_UP_WINDOWS,
) -> Measured:
    """Have a design pair so many videos for so many windows, after ``warm_up`` others.

    Raises NoPairs if none came.
    """
    # Processes agree on when it is.
    os.environ[clock.OFFSET_VARIABLE] = str(clock.utc_offset_ns())
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory(prefix="fpb", dir=SHARED_MEMORY) as directory:
        setup = Setup(context, Path(directory), sources, shape)
        with run(setup) as running:
            return _watch(running, sources, windows, warm_up)


def _watch(running: Running, sources: int, windows: int, warm_up: int) -> Measured:
    first = _next(running, time.monotonic() + START_S)
    if first is None:
        raise NoPairs("no pair came" if running.alive() else "it could not be started")
    begin = first.window + warm_up
    records = [first, *_until(running, begin - 1, first)]
    pids, began_s = running.pids(), time.monotonic()
    worked_s = cpu_time.seconds(pids)
    records += _until(running, begin + windows - 1, records[-1])
    # A design whose first pair came too late has no windows left to be measured in, but is at work.
    time.sleep(max(0.0, began_s + MIN_CPU_S - time.monotonic()))
    took_s = time.monotonic() - began_s
    cores = (cpu_time.seconds(pids) - worked_s) / took_s
    counted = [record for record in records if begin <= record.window < begin + windows]
    return Measured(sources, begin, windows, counted, cores)


def _until(running: Running, window: int, newest: Record) -> list[Record]:
    """Return the records that come after ``newest`` until that window's, or until it is too late for it."""
    records: list[Record] = []
    left_ns = (window + 1) * WINDOW_NS + PATIENCE_NS - clock.now_ns()
    deadline_s = time.monotonic() + left_ns / 1e9
    while newest.window < window:
        record = _next(running, deadline_s)
        if record is None:
            break
        records.append(newest := record)
    return records


def _next(running: Running, deadline_s: float) -> Record | None:
    while (left_s := deadline_s - time.monotonic()) > 0 and running.alive():
        if running.records.poll(min(left_s, POLL_S)):
            record: Record = running.records.recv()
            return record
    return None
