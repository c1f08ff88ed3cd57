"""framepair as a user starts it, with a consumer that subscribes."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from multiprocessing.connection import Connection
from pathlib import Path

from bench import cpu_time
from bench.launched import launched
from bench.pair.design import FPS, NoPairs, Record, Running, Setup
from framepair.nodes.common import runtime
from framepair.protocol.client.clip import Pair
from framepair.protocol.client.subscriber import subscribe

START_TIMEOUT_S = 60
STOP_S = 15.0


@contextlib.contextmanager
def run(
    setup: Setup, *flags: str, videos: Sequence[Path] = (), address: str | None = None
) -> Iterator[Running]:
    """Run ``launch.py`` on ``videos`` or synthetic ones, with more ``flags``, and a consumer.

    All is stopped afterwards.
    """
    records, told = setup.context.Pipe(duplex=False)
    shm_dir, run_dir = setup.directory / "shm", setup.directory / "run"
    pairs = address or f"ipc://{run_dir}/pairs"
    consumer = setup.context.Process(target=consume, args=(pairs, shm_dir, told))
    consumer.start()
    where = () if address else ("--run-dir", str(run_dir))
    sources = map(str, videos) if videos else synthetic(setup)
    with _launched(*sources, *where, *flags, "--shm-dir", str(shm_dir)) as launcher:
        try:
            yield Running(
                records,
                pids=lambda: [consumer.pid or 0, launcher.pid, *cpu_time.children(launcher.pid)],
                alive=lambda: launcher.poll() is None and consumer.is_alive(),
            )
        finally:
            consumer.kill()
            consumer.join()


def _launched(*arguments: str) -> AbstractContextManager[subprocess.Popen[bytes]]:
    settings = ("--no-sink", "--loop", "--start-timeout", str(START_TIMEOUT_S))
    return launched([*arguments, *settings], failure=NoPairs, stop_s=STOP_S)


def synthetic(setup: Setup) -> list[str]:
    """Return synthetic sources as ``launch.py`` takes them; looped ones all begin with a window."""
    height, width, _ = setup.shape
    return [f"{name}=synthetic://{width}x{height}@{FPS}" for name in setup.names]


def consume(address: str, shm_dir: Path, told: Connection) -> None:
    """Take every pair; the main function of a process."""
    runtime.keep_buffers()
    with subscribe(address, shm_dir=shm_dir) as pairs:
        for pair in pairs:
            told.send(record(pair))


def record(pair: Pair) -> Record:
    """Return what is told of a pair."""
    arrays = [clip.array for clip in pair.values() if clip.frames]
    frames = sum(len(array) for array in arrays) if pair.intact else 0
    newest_ns = pair.ready_ns - pair.lag_ns
    return Record(pair.index, newest_ns, pair.ready_ns, frames)
