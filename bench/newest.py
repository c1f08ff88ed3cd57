"""Measure how old the newest frames are when a program gets them, beside the lag of pairs in the same run."""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from framepair import Subscription, subscribe

ROOT = Path(__file__).parents[1]
SETTLING_S = 3.0


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--size", default="1920x1080", help="of both sources' frames")
parser.add_argument("--fps", default="25", help="of both sources")
parser.add_argument("--seconds", type=float, default=10.0, help="how long to measure each")


def main() -> None:
    """Print, for each payload, the age of frames at hand-over and the lag of pairs, in milliseconds."""
    asked = parser.parse_args()
    source = f"synthetic://{asked.size}@{asked.fps}"
    print(f"{'':8}{'age p50':>9}{'p95':>7}{'max':>7}{'pair p50':>10}{'ratio':>7}  ms")
    for payload in ("shm", "raw"):
        ages, lags = measure(payload, source, asked.seconds)
        age, lag = statistics.median(ages), statistics.median(lags)
        p95 = statistics.quantiles(ages, n=20)[-1]
        print(f"{payload:8}{age:9.2f}{p95:7.2f}{max(ages):7.2f}{lag:10.2f}{age / lag:7.2f}")


def measure(payload: str, source: str, seconds: float) -> tuple[list[float], list[float]]:
    """Return the ages of the newest frames, and the lags of pairs, of two such sources."""
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
            address = f"ipc://{directory}/run/pairs"
            with subscribe(address, pairs=False) as newest, subscribe(address) as pairs:
                return _both(newest, pairs, seconds)
        finally:
            pipeline.terminate()
            pipeline.wait()


def _both(
    newest: Subscription, pairs: Subscription, seconds: float
) -> tuple[list[float], list[float]]:
    newest.latest(None)
    begin_s = time.monotonic() + SETTLING_S
    lags: list[float] = []
    thread = threading.Thread(target=_take_lags, args=(pairs, begin_s, begin_s + seconds, lags))
    thread.start()
    ages: list[float] = []
    seen = {"left": -1, "right": -1}
    while time.monotonic() < begin_s + seconds:
        for name, frame in newest.latest(1.0).items():
            if frame.seq != seen[name] and time.monotonic() > begin_s:
                ages.append(frame.age_ms())
            seen[name] = frame.seq
    thread.join()
    return ages, lags


def _take_lags(pairs: Subscription, begin_s: float, end_s: float, lags: list[float]) -> None:
    while time.monotonic() < end_s:
        pair = pairs.get(1.0)
        if pair is not None and time.monotonic() > begin_s:
            lags.append(pair.lag_ns / 1e6)


if __name__ == "__main__":
    main()
