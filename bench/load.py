"""A pipeline under load: so many sources and consumers, and what they take and cost while they do."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path

from bench import cpu_time, stats
from bench.places import SHARED_MEMORY
from bench.tables import Section
from framepair.nodes.common import runtime
from framepair.protocol.client.subscriber import subscribe
from framepair.protocol.clocks import clock

ROOT = Path(__file__).resolve().parents[1]
# Pairs of each consumer before it is measured: the first go through memory that nobody has used yet.
WARM_UP_PAIRS = 4
START_S, STOP_S = 90.0, 30.0
PSS = re.compile(r"^Pss:\s+(\d+) kB$", re.MULTILINE)


class NotCarried(RuntimeError):  # noqa: N818 - it says what happened
    """A load under which no pair came, or that could not be started."""


@dataclass(frozen=True, slots=True)
class Load:
    """How many sources of which size and rate, with which flags, for how many consumers."""

    sources: int = 2
    consumers: int = 1
    size: tuple[int, int] = (1920, 1080)
    fps: int = 25
    flags: tuple[str, ...] = ()

    def arguments(self) -> list[str]:
        """Return the arguments of ``launch.py`` for it."""
        width, height = self.size
        names = (f"source{number}" for number in range(self.sources))
        return [f"{name}=synthetic://{width}x{height}@{self.fps}" for name in names]


@dataclass(frozen=True, slots=True)
class Taken:
    """A pair that a consumer has taken."""

    window: int
    lag_ms: float
    frames: int


@dataclass(frozen=True, slots=True)
class Measured:
    """What all consumers took within ``seconds``; ``cores`` and ``memory_bytes`` of all processes."""

    load: Load
    seconds: float
    taken: Sequence[Sequence[Taken]]
    cores: float
    memory_bytes: int

    def summary(self) -> Section:
        """Return the figures that tables show."""
        lags = [pair.lag_ms for each in self.taken for pair in each]
        captured = self.load.sources * self.load.fps
        return {
            "sources": self.load.sources,
            "consumers": self.load.consumers,
            "size": list(self.load.size),
            "cores": self.cores,
            "ms_per_frame": 1e3 * self.cores / captured,
            "lag_p50_ms": stats.percentile(lags, 50),
            "lag_p99_ms": stats.percentile(lags, 99),
            "frames_lost": sum(self._lost(each) for each in self.taken),
            "memory_bytes": self.memory_bytes,
        }

    def _lost(self, taken: Sequence[Taken]) -> int:
        """Return how many frames of the windows that a consumer was measured in it did not get."""
        if not taken:
            return round(self.seconds * self.load.fps * self.load.sources)
        windows = taken[-1].window - taken[0].window + 1
        return windows * self.load.fps * self.load.sources - sum(pair.frames for pair in taken)


def measure(load: Load, seconds: float) -> Measured:
    """Run a pipeline with this load and measure it for some seconds; raises NotCarried if no pairs come."""
    # Processes agree on when it is.
    os.environ[clock.OFFSET_VARIABLE] = str(clock.utc_offset_ns())
    with tempfile.TemporaryDirectory(prefix="fpb", dir=SHARED_MEMORY) as name:
        directory = Path(name)
        where = ("--run-dir", f"{directory}/run", "--shm-dir", f"{directory}/shm")
        command = [*load.arguments(), *where, *load.flags, "--no-sink", "--loop"]
        with (
            _launched(command) as launcher,
            _consuming(f"ipc://{directory}/run/pairs", directory / "shm", load.consumers) as them,
        ):
            _wait_until_warm(launcher, them)
            pids = [launcher.pid, *cpu_time.children(launcher.pid)]
            pids += [consumer.process.pid or 0 for consumer in them]
            began_s, worked_s = time.monotonic(), cpu_time.seconds(pids)
            time.sleep(seconds)
            took_s, cores_s = time.monotonic() - began_s, cpu_time.seconds(pids) - worked_s
            memory_bytes = sum(map(resident_bytes, pids))
            taken = [consumer.stop() for consumer in them]
    return Measured(load, took_s, taken, cores_s / took_s, memory_bytes)


def resident_bytes(pid: int) -> int:
    """Return the memory that a process takes: of what it shares with others, its share."""
    with contextlib.suppress(OSError):
        found = PSS.search(Path(f"/proc/{pid}/smaps_rollup").read_text())
        return int(found[1]) * 1024 if found else 0
    return 0


@dataclass(frozen=True, slots=True)
class Consumer:
    """A process that takes pairs, says ``warm`` after the first few, and tells of the others when asked."""

    process: SpawnProcess
    connection: Connection

    def stop(self) -> list[Taken]:
        """Return what it took since it was warm; it ends."""
        self.connection.send("stop")
        taken: list[Taken] = self.connection.recv() if self.connection.poll(STOP_S) else []
        return taken


@contextlib.contextmanager
def _consuming(address: str, shm_dir: Path, count: int) -> Iterator[list[Consumer]]:
    context, consumers = get_context("spawn"), []
    try:
        for _ in range(count):
            here, there = context.Pipe()
            process = context.Process(target=consume, args=(address, shm_dir, there))
            process.start()
            consumers.append(Consumer(process, here))
        yield consumers
    finally:
        for consumer in consumers:
            consumer.process.kill()
            consumer.process.join()


def _wait_until_warm(launcher: subprocess.Popen[bytes], consumers: Sequence[Consumer]) -> None:
    deadline_s = time.monotonic() + START_S
    for consumer in consumers:
        while not consumer.connection.poll(0.2):
            if launcher.poll() is not None or time.monotonic() > deadline_s:
                raise NotCarried("no pairs came")
        consumer.connection.recv()


@contextlib.contextmanager
def _launched(arguments: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run ``launch.py``, then stop it; what it says is only shown if no pairs came."""
    with tempfile.TemporaryFile() as said:
        launcher = subprocess.Popen(  # noqa: S603
            [sys.executable, "launch.py", *arguments],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stderr=said,
        )
        try:
            yield launcher
        except NotCarried:
            said.seek(0)
            sys.stderr.write(said.read().decode(errors="replace"))
            raise
        finally:
            launcher.send_signal(signal.SIGINT)
            launcher.wait(STOP_S)


def consume(address: str, shm_dir: Path, told: Connection) -> None:
    """Take every pair; the main function of a process."""
    runtime.keep_buffers()
    taken: list[Taken] = []
    with subscribe(address, shm_dir=shm_dir) as pairs:
        for count, pair in enumerate(pairs):
            if count >= WARM_UP_PAIRS:
                frames = sum(len(clip) for clip in pair.values()) if pair.intact else 0
                taken.append(Taken(pair.index, pair.lag_ns / 1e6, frames))
            if count == WARM_UP_PAIRS:
                told.send("warm")
            if told.poll(0):
                break
    told.send(taken)
