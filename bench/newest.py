"""Measure how old the newest frames are when a program gets them, beside the lag of pairs."""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from framepair import subscribe

ROOT = Path(__file__).parents[1]
# Ages of frames, and lags of pairs, in milliseconds.
Measured = tuple[list[float], list[float]]
Take = Callable[[str, float], Measured]
SETTLING_S = 3.0


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--size", default="1920x1080", help="of both sources' frames")
parser.add_argument("--fps", default="25", help="of both sources")
parser.add_argument("--seconds", type=float, default=10.0, help="how long to measure each")
parser.add_argument(
    "--together",
    action="store_true",
    help="one pipeline with two consumers at a time; otherwise each is the only one of its own",
)


def main() -> None:
    """Print, for each payload, the age of frames at hand-over and the lag of pairs, in milliseconds."""
    asked = parser.parse_args()
    source = f"synthetic://{asked.size}@{asked.fps}"
    print(f"{'':8}{'age p50':>9}{'p95':>7}{'max':>7}{'pair p50':>10}{'ratio':>7}  ms")
    for payload in ("shm", "raw"):
        take = (_both,) if asked.together else (_ages, _lags)
        found = [measure(payload, source, each, asked.seconds) for each in take]
        ages, lags = ([value for one in found for value in one[index]] for index in range(2))
        age, lag = statistics.median(ages), statistics.median(lags)
        p95 = statistics.quantiles(ages, n=20)[-1]
        print(f"{payload:8}{age:9.2f}{p95:7.2f}{max(ages):7.2f}{lag:10.2f}{age / lag:7.2f}")


def measure(payload: str, source: str, take: Take, seconds: float) -> Measured:
    """Return the ages of the newest frames, and the lags of pairs, of two such sources, as ``take`` does."""
    with tempfile.TemporaryDirectory(prefix="fp-") as directory:
        flags = ["--run-dir", f"{directory}/run", "--no-sink", "--payload", payload]
        command = [
            sys.executable,
            str(ROOT / "launch.py"),
            *flags,
            f"left={source}",
            f"right={source}",
        ]
        pipeline = subprocess.Popen(command, stderr=subprocess.DEVNULL)  # noqa: S603
        try:
            return take(f"ipc://{directory}/run/pairs", seconds)
        finally:
            pipeline.terminate()
            pipeline.wait()


def _both(address: str, seconds: float) -> Measured:
    with ThreadPoolExecutor(1) as pool:
        lags = pool.submit(_lags, address, seconds)
        return _ages(address, seconds)[0], lags.result()[1]


def _ages(address: str, seconds: float) -> Measured:
    with subscribe(address, pairs=False) as newest:
        newest.latest(None)
        begin_s = time.monotonic() + SETTLING_S
        ages: list[float] = []
        seen = {"left": -1, "right": -1}
        while time.monotonic() < begin_s + seconds:
            for name, frame in newest.latest(1.0).items():
                if frame.seq != seen[name] and time.monotonic() > begin_s:
                    ages.append(frame.age_ms())
                seen[name] = frame.seq
        return ages, []


def _lags(address: str, seconds: float) -> Measured:
    with subscribe(address) as pairs:
        pairs.get(None)
        begin_s = time.monotonic() + SETTLING_S
        lags: list[float] = []
        while time.monotonic() < begin_s + seconds:
            pair = pairs.get(1.0)
            if pair is not None and time.monotonic() > begin_s:
                lags.append(pair.lag_ns / 1e6)
        return [], lags


if __name__ == "__main__":
    main()
