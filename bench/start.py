"""Measure how long a pipeline takes to start, and what it takes: alone, or beside another checkout in turns."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from rich.console import Console
from rich.table import Table

from bench import cpu_time

ROOT = Path(__file__).parents[1]
# How long a start, or a pair, may take at most.
PATIENCE_S = 20.0
# A window's lag is said at the end of the part of its line that names the sources.
LAG = re.compile(r"(\d+\.\d)\s+(?:-|\d+\.\d+)\s+\d+\.\d")


@dataclass(frozen=True, slots=True)
class Start:
    """One start: when what had happened, in seconds, what all processes took, and the lags of pairs."""

    flow_s: float
    cpu_s: float
    pair_s: float
    lags_ms: tuple[float, ...]

    @property
    def first_lag(self) -> float:
        """The first pair's lag over the median of those that follow."""
        return self.lags_ms[0] / statistics.median(self.lags_ms[1:])


def start(
    *sources: str,
    payload: Literal["raw", "shm", "jpeg"] = "raw",
    rounds: int = 20,
    pairs: int = 6,
    beside: Annotated[tuple[Path, ...], Parameter(negative=())] = (),
) -> None:
    """Measure starts: the time until all sources flow, processor time, and the first pair.

    Parameters
    ----------
    sources
        What the launcher is given; nothing is its default.
    payload
        How pixels travel.
    rounds
        How many starts of each checkout.
    pairs
        How many pairs to wait for.
    beside
        Other checkouts, each with a virtual environment .venv, which are started in turns with this one.
    """
    checkouts = (ROOT, *beside)
    found: dict[Path, list[Start]] = {checkout: [] for checkout in checkouts}
    for number in range(rounds):
        for checkout in checkouts[:: 1 if number % 2 else -1]:
            found[checkout].append(measure(checkout, [*sources, "--payload", payload], pairs))
        print(f"round {number + 1} of {rounds}", file=sys.stderr, flush=True)
    Console(width=None if sys.stdout.isatty() else 110).print(table(found))


def measure(checkout: Path, arguments: list[str], pairs: int) -> Start:
    """Start a pipeline of ``checkout`` and stop it after so many ``pairs``."""
    with tempfile.TemporaryDirectory(prefix="fp-") as directory, _manager(directory) as manager:
        command = [_python(checkout), "launch.py", "--run-dir", f"{directory}/run", *arguments]
        environment = {**os.environ, "NOTIFY_SOCKET": f"{directory}/notify"}
        # Starts compile nothing, as those of an installed package.
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        began_s = time.monotonic()
        launcher = subprocess.Popen(  # noqa: S603
            command,
            cwd=checkout,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        try:
            _wait_until_ready(manager)
            flow_s = time.monotonic() - began_s
            cpu_s = cpu_time.seconds(_family(launcher.pid))
            times_s, lags_ms = zip(*_pairs(launcher, pairs), strict=True)
            return Start(flow_s, cpu_s, times_s[0] - began_s, lags_ms)
        finally:
            launcher.send_signal(signal.SIGTERM)
            launcher.communicate()


def table(found: dict[Path, list[Start]]) -> Table:
    """Return what was found, a row for each checkout."""
    shown = Table(title="start", title_justify="left")
    for heading in (
        "checkout", "all flow s p50", "p90", "CPU s p50", "pair s p50", "first lag ms p50", "max",
        "over later p50", "max",
    ):  # fmt: skip
        shown.add_column(heading, justify="left" if heading == "checkout" else "right")
    for checkout, starts in found.items():
        firsts = [each.lags_ms[0] for each in starts]
        ratios = [each.first_lag for each in starts]
        shown.add_row(
            checkout.name,
            f"{statistics.median(each.flow_s for each in starts):.2f}",
            f"{_p90([each.flow_s for each in starts]):.2f}",
            f"{statistics.median(each.cpu_s for each in starts):.2f}",
            f"{statistics.median(each.pair_s for each in starts):.2f}",
            f"{statistics.median(firsts):.1f}",
            f"{max(firsts):.1f}",
            f"{statistics.median(ratios):.1f}",
            f"{max(ratios):.1f}",
        )
    return shown


def _p90(values: list[float]) -> float:
    return (
        statistics.quantiles(values, n=10, method="inclusive")[-1] if len(values) > 1 else values[0]
    )


def _python(checkout: Path) -> str:
    own = checkout / ".venv" / "bin" / "python"
    return str(own) if own.exists() else sys.executable


@contextlib.contextmanager
def _manager(directory: str) -> Iterator[socket.socket]:
    """Listen as a service manager does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"{directory}/notify")
        manager.settimeout(PATIENCE_S)
        yield manager


def _wait_until_ready(manager: socket.socket) -> None:
    while b"READY=1" not in manager.recv(4096).splitlines():
        pass


def _pairs(launcher: subprocess.Popen[bytes], count: int) -> Iterator[tuple[float, float]]:
    """Yield when each pair was printed, and its lag."""
    if launcher.stdout is None:
        raise ValueError("no stdout")
    for line in launcher.stdout:
        found = LAG.search(line.decode())
        if found and b"/" in line:
            yield time.monotonic(), float(found[1])
            count -= 1
        if not count:
            return
    raise RuntimeError("the pipeline ended too soon")


def _family(pid: int) -> list[int]:
    """Return a process and all that it started and that live."""
    return [pid, *(each for child in cpu_time.children(pid) for each in _family(child))]
