"""A pipeline under load: so many sources and consumers on so many hosts, and what they take and cost."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path

from bench import cpu_time, hosts, stats
from bench.launched import launched
from bench.places import SHARED_MEMORY
from bench.tables import Section
from framepair.nodes.common import runtime
from framepair.protocol.client.subscriber import subscribe
from framepair.protocol.clocks import clock
from framepair.protocol.transport import relays

# Pairs with frames of all sources that each consumer gets before it is measured: the first go through memory
# that nobody has used yet.
WARM_UP_PAIRS = 4
START_S, STOP_S = 120.0, 30.0
PORT = 7400
NODE = re.compile(r"framepair\.nodes\.([a-z]+)")
MAIN_THREAD = "main thread"
PSS = re.compile(r"^Pss:\s+(\d+) kB$", re.MULTILINE)


class NotCarried(RuntimeError):  # noqa: N818 - it says what happened
    """A load under which no pair came, or that could not be started."""


@dataclass(frozen=True, slots=True)
class Load:
    """So many sources of one size and rate, with which flags, for so many consumers beside the combiner.

    Sources are on ``hosts`` in turn, the first of which is the combiner's; ``videos`` are used instead.
    """

    sources: int = 2
    consumers: int = 1
    size: tuple[int, int] = (1920, 1080)
    fps: int = 25
    flags: tuple[str, ...] = ()
    hosts: int = 1
    videos: tuple[str, ...] = ()

    def arguments(self) -> list[str]:
        """Return the sources as ``launch.py`` takes them."""
        if self.videos:
            return list(self.videos)
        width, height = self.size
        return [f"{name}=synthetic://{width}x{height}@{self.fps}" for name in self.names]

    @property
    def names(self) -> list[str]:
        """What the sources are called."""
        return [f"source{number}" for number in range(self.sources)]


@dataclass(frozen=True, slots=True)
class Taken:
    """A pair that a consumer has taken."""

    window: int
    lag_ms: float
    frames: int


@dataclass(frozen=True, slots=True)
class Measured:
    """What all consumers took within ``seconds``.

    ``cores`` are of the processes of each node, ``memory_bytes`` of all, ``combiner_cores`` of the combiner's
    main thread.
    """

    load: Load
    seconds: float
    taken: Sequence[Sequence[Taken]]
    cores: Mapping[str, float]
    combiner_cores: float
    memory_bytes: int

    def summary(self) -> Section:
        """Return the figures that tables show."""
        lags = [pair.lag_ms for each in self.taken for pair in each]
        captured, cores = self.load.sources * self.load.fps, sum(self.cores.values())
        return {
            "sources": self.load.sources,
            "consumers": self.load.consumers,
            "hosts": self.load.hosts,
            "size": list(self.load.size),
            "fps": self.load.fps,
            "cores": cores,
            "cores_of": dict(self.cores),
            "ms_per_frame": 1e3 * cores / captured,
            "combiner_us_per_frame": 1e6 * self.combiner_cores / captured,
            "lag_p50_ms": stats.percentile(lags, 50),
            "lag_p99_ms": stats.percentile(lags, 99),
            "frames_lost": sum(self._lost(each) for each in self.taken),
            "memory_bytes": self.memory_bytes,
        }

    def _lost(self, taken: Sequence[Taken]) -> int:
        """Return how many frames of the windows that a consumer was measured in it did not get."""
        windows = taken[-1].window - taken[0].window + 1 if taken else round(self.seconds)
        expected = windows * self.load.fps * self.load.sources
        return expected - sum(pair.frames for pair in taken)


def measure(load: Load, seconds: float) -> Measured:
    """Run a pipeline with this load and measure it for some seconds; raises NotCarried if no pairs come."""
    # Processes agree on when it is.
    os.environ[clock.OFFSET_VARIABLE] = str(clock.utc_offset_ns())
    with (
        tempfile.TemporaryDirectory(prefix="fpb", dir=SHARED_MEMORY) as name,
        _launched(load, Path(name)) as (launchers, address, host),
        _relay_ready(load, address),
        _consuming(address, Path(name) / "shm", load.consumers, host) as consumers,
    ):
        _wait_until_warm(launchers, consumers)
        nodes = _nodes(launchers, consumers)
        began_s, worked_s = time.monotonic(), _worked_s(nodes)
        time.sleep(seconds)
        took_s, working_s = time.monotonic() - began_s, _worked_s(nodes)
        memory_bytes = sum(resident_bytes(pid) for pids in nodes.values() for pid in pids)
        taken = [consumer.stop() for consumer in consumers]
    cores = {node: (working_s[node] - worked_s[node]) / took_s for node in working_s}
    combiner_cores = cores.pop(MAIN_THREAD)
    return Measured(load, took_s, taken, cores, combiner_cores, memory_bytes)


def resident_bytes(pid: int) -> int:
    """Return the memory that a process takes: of what it shares with others, its share."""
    with contextlib.suppress(OSError):
        found = PSS.search(Path(f"/proc/{pid}/smaps_rollup").read_text())
        return int(found[1]) * 1024 if found else 0
    return 0


def _nodes(
    launchers: Sequence[subprocess.Popen[bytes]], consumers: Sequence[Consumer]
) -> dict[str, list[int]]:
    """Return the processes of each node, by its name in ``framepair.nodes``."""
    nodes = {"launcher": [each.pid for each in launchers], "combiner": list[int]()}
    nodes["consumer"] = [consumer.process.pid or 0 for consumer in consumers]
    for pid in (child for each in launchers for child in cpu_time.children(each.pid)):
        with contextlib.suppress(OSError):
            found = NODE.search(Path(f"/proc/{pid}/cmdline").read_text())
            nodes.setdefault(found[1] if found else "launcher", []).append(pid)
    return nodes


def _worked_s(nodes: Mapping[str, Sequence[int]]) -> dict[str, float]:
    """Return the processor time of each node so far, and of combiners' main threads."""
    main_s = sum(map(cpu_time.main_thread_seconds, nodes["combiner"]))
    return {MAIN_THREAD: main_s} | {node: cpu_time.seconds(pids) for node, pids in nodes.items()}


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
def _consuming(
    address: str, shm_dir: Path, count: int, host: str | None
) -> Iterator[list[Consumer]]:
    context, consumers = get_context("spawn"), []
    try:
        for _ in range(count):
            here, there = context.Pipe()
            process = context.Process(target=consume, args=(address, shm_dir, there, host))
            process.start()
            consumers.append(Consumer(process, here))
        yield consumers
    finally:
        for consumer in consumers:
            consumer.process.kill()
            consumer.process.join()


def _wait_until_warm(
    launchers: Sequence[subprocess.Popen[bytes]], consumers: Sequence[Consumer]
) -> None:
    deadline_s = time.monotonic() + START_S
    for consumer in consumers:
        while not consumer.connection.poll(0.2):
            ended = any(launcher.poll() is not None for launcher in launchers)
            if ended or time.monotonic() > deadline_s:
                raise NotCarried("no pairs came")
        consumer.connection.recv()


@contextlib.contextmanager
def _relay_ready(load: Load, address: str) -> Iterator[None]:
    """Wait for the relay, if there is to be one: consumers that hear the combiner before that stay with it."""
    deadline_s = time.monotonic() + START_S
    while "always" in load.flags and not relays.listens(relays.address_of(address)):
        if time.monotonic() > deadline_s:
            raise NotCarried("no relay came")
        time.sleep(0.1)
    yield


Launched = tuple[list[subprocess.Popen[bytes]], str, str | None]


@contextlib.contextmanager
def _launched(load: Load, directory: Path) -> Iterator[Launched]:
    """Run ``launch.py`` on each host; yield them, where pairs are published, and the combiner's namespace."""
    where = ["--run-dir", f"{directory}/run", "--shm-dir", f"{directory}/shm"]
    command = [*load.arguments(), *where, *load.flags, "--no-sink", "--loop"]
    command += ["--start-timeout", f"{START_S:g}"]
    with contextlib.ExitStack() as running:
        if load.hosts == 1:
            yield [running.enter_context(_launcher(command))], f"ipc://{directory}/run/pairs", None
            return
        names = running.enter_context(hosts.network(load.hosts))
        address = f"tcp://{hosts.ADDRESS.format(1)}:{PORT}"
        command += ["--listen", address, "--insecure", "--hosts", "combiner=h0"]
        for number, source in enumerate(load.names):
            command += ["--hosts", f"{source}=h{number % load.hosts}"]
        launchers = [
            running.enter_context(_launcher([*command, "--host", f"h{number}"], name))
            for number, name in enumerate(names)
        ]
        yield launchers, address, names[0]


def _launcher(
    arguments: Sequence[str], namespace: str | None = None
) -> AbstractContextManager[subprocess.Popen[bytes]]:
    inside = ["ip", "netns", "exec", namespace] if namespace else []
    return launched(arguments, failure=NotCarried, stop_s=STOP_S, inside=inside)


def consume(address: str, shm_dir: Path, told: Connection, host: str | None) -> None:
    """Take every pair; the main function of a process, on a ``host`` of its own if that is not None."""
    if host:
        hosts.enter(host)
    runtime.keep_buffers()
    taken: list[Taken] = []
    with subscribe(address, shm_dir=shm_dir, insecure=True) as pairs:
        whole = 0
        for pair in pairs:
            if whole > WARM_UP_PAIRS:
                frames = sum(len(clip) for clip in pair.values()) if pair.intact else 0
                taken.append(Taken(pair.index, pair.lag_ns / 1e6, frames))
            whole += all(len(clip) for clip in pair.values())
            if whole == WARM_UP_PAIRS + 1 and not taken:
                told.send("warm")
            if told.poll(0):
                break
    told.send(taken)
