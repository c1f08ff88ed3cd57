"""Long runs: memory that doesn't grow, the same descriptors and threads at the end as after the beginning."""

from __future__ import annotations

import json
import resource
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from framepair.protocol.clocks import clock
from tests.lib.launcher import launcher
from tests.lib.processes import Running

MB = 1e6
PAGE_BYTES = resource.getpagesize()
MAX_SLOPE_MB_A_MINUTE = 1.0
# Before that, caches and buffers fill.
WARM = 0.25


@dataclass(frozen=True)
class Sample:
    """What a process holds at a time."""

    time_ns: int
    rss: int
    descriptors: int
    threads: int


def sampled(running: Running, every: int, until: int) -> dict[int, list[Sample]]:
    """Return samples of each process, taken each time that ``every`` more pairs are printed."""
    samples: dict[int, list[Sample]] = {}
    for pairs in range(every, until + 1, every):
        running.wait_for(r"left +\d+/\d+", timeout_s=120, count=pairs)
        for pid in running.processes():
            samples.setdefault(pid, []).append(sample(pid))
    return samples


def sample(pid: int) -> Sample:
    process = Path(f"/proc/{pid}")
    resident = int((process / "statm").read_text().split()[1]) * PAGE_BYTES
    descriptors, threads = (sum(1 for _ in (process / name).iterdir()) for name in ("fd", "task"))
    return Sample(clock.now_ns(), resident, descriptors, threads)


def slope_mb_a_minute(samples: list[Sample]) -> float:
    """Return by how much a process grows, as the median between all pairs of samples: a step is no slope."""
    minutes = np.array([sample.time_ns for sample in samples]) / 60e9
    megabytes = np.array([sample.rss for sample in samples]) / MB
    i, j = np.triu_indices(len(samples), 1)
    return float(np.median((megabytes[j] - megabytes[i]) / (minutes[j] - minutes[i])))


def check_constant(samples: dict[int, list[Sample]]) -> None:
    for pid, all_of_it in samples.items():
        warm = all_of_it[round(len(all_of_it) * WARM) :]
        assert slope_mb_a_minute(warm) < MAX_SLOPE_MB_A_MINUTE, (pid, warm)
        assert len({(sample.descriptors, sample.threads) for sample in warm}) == 1, (pid, warm)


def soak(directory: Path, *arguments: str, every: int, pairs: int) -> dict[str, object]:
    """Run the pipeline for so many ``pairs``; return the report."""
    report = directory / "report.json"
    command = launcher("--run-dir", directory / "run", "--json", report, *arguments)
    with Running(command) as running:
        samples = sampled(running, every, pairs)
        running.stop()
    # The guard is one of them.
    assert len(samples) == 6
    check_constant(samples)
    result: dict[str, object] = json.loads(report.read_text())
    return result


def test_what_grows_is_told_from_what_only_moves() -> None:
    minute_ns = 60_000_000_000
    growing = [Sample(i * minute_ns, i * 2_000_000, 9, 3) for i in range(20)]
    moving = [Sample(i * minute_ns, (i % 3) * 9_000_000, 9, 3) for i in range(20)]
    assert slope_mb_a_minute(growing) == pytest.approx(2.0)
    assert abs(slope_mb_a_minute(moving)) < MAX_SLOPE_MB_A_MINUTE
    check_constant({1: moving})
    with pytest.raises(AssertionError):
        check_constant({1: growing})
    with pytest.raises(AssertionError):
        check_constant({1: [*moving, Sample(20 * minute_ns, 0, 10, 3)]})


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_two_hours_of_video_at_full_speed(directory: Path) -> None:
    sources = [f"{name}=synthetic://160x120@25" for name in ("left", "right")]
    report = soak(directory, *sources, "--pace", "max", every=100, pairs=7200)
    assert report["ledger_balanced"]
    assert report["lost_pairs"] == 0


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("payload", ["raw", "shm"])
def test_fifteen_minutes_in_real_time(directory: Path, payload: str) -> None:
    report = soak(directory, "--payload", payload, every=10, pairs=900)
    assert report["ledger_balanced"]
