"""What the designs without framepair have in common: the same pictures at the same times, and processes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from bench.frames import Frame, Shape
from bench.pair.design import FPS, WINDOW_NS, Running, Setup
from framepair.nodes.common import runtime
from framepair.nodes.producer.sources.source import Format
from framepair.nodes.producer.sources.synthetic import Synthetic
from framepair.nodes.producer.stamps import PacedStamps
from framepair.protocol.clocks import clock

# Until all processes work, on a machine that is busy.
STARTUP_NS = 2_500_000_000


def start_ns() -> int:
    """Return when to begin to capture: with a window, as framepair does."""
    return -(-(clock.now_ns() + STARTUP_NS) // WINDOW_NS) * WINDOW_NS


def capture(name: str, shape: Shape, begin_ns: int) -> Iterator[tuple[int, Frame]]:
    """Yield capture times and frames for ever, on an absolute schedule, each in memory of its own."""
    runtime.keep_buffers()
    source, stamps = Synthetic(name, Format(shape, fps=FPS)), PacedStamps(FPS, begin_ns)
    never = runtime.Stop()
    seq = 0
    while True:
        stamps.rest(never)
        source.grab()
        stamp = stamps.stamp(source.position)
        frame = source.retrieve(np.empty(shape, np.uint8), seq, stamp.captured_ns)
        stamps.wait(stamp, never)
        yield stamp.captured_ns, frame
        seq += 1


def ends_window(captured_ns: int) -> bool:
    """Tell whether a frame is the last of its second, by the schedule."""
    return (captured_ns + WINDOW_NS // FPS) // WINDOW_NS > captured_ns // WINDOW_NS


@contextlib.contextmanager
def running(
    setup: Setup, records: Connection, mains: Sequence[tuple[Callable[..., None], Any]]
) -> Iterator[Running]:
    """Run each function with its arguments in a process; kill them all afterwards."""
    processes = [setup.context.Process(target=main, args=args) for main, args in mains]
    try:
        for process in processes:
            process.start()
        yield Running(
            records,
            pids=lambda: [process.pid or 0 for process in processes],
            alive=lambda: all(process.is_alive() for process in processes),
        )
    finally:
        for process in processes:
            if process.pid is not None:
                process.kill()
                process.join()
