"""Queues: each capture puts lists of a second's frames into its own, a combiner pairs of lists into another."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from multiprocessing.connection import Connection
from typing import Any

from bench.frames import Frame, Shape
from bench.pair import baseline
from bench.pair.design import WINDOW_NS, Record, Running, Setup
from framepair.nodes.common import runtime
from framepair.protocol.clocks import clock

NAME = "queues of lists"


@contextlib.contextmanager
def run(setup: Setup) -> Iterator[Running]:
    """Start the processes; stop them afterwards."""
    queues = [setup.context.Queue() for _ in setup.names]
    pairs = setup.context.Queue()
    records, told = setup.context.Pipe(duplex=False)
    begin_ns = baseline.start_ns()
    captures: list[Any] = [
        (capture, (name, setup.shape, begin_ns, queue))
        for name, queue in zip(setup.names, queues, strict=True)
    ]
    mains = [*captures, (combine, (queues, pairs)), (consume, (pairs, told))]
    with baseline.running(setup, records, mains) as processes:
        yield processes


def capture(name: str, shape: Shape, begin_ns: int, queue: Any) -> None:
    """Put a list of frames once a second, as soon as its last frame is there."""
    frames: list[tuple[int, Frame]] = []
    for captured_ns, frame in baseline.capture(name, shape, begin_ns):
        frames.append((captured_ns, frame))
        if baseline.ends_window(captured_ns):
            queue.put(frames)
            frames = []


def combine(queues: list[Any], pairs: Any) -> None:
    """Get a list from each queue, and put them as a pair."""
    runtime.keep_buffers()
    while True:
        pairs.put([queue.get() for queue in queues])


def consume(pairs: Any, told: Connection) -> None:
    """Get pairs."""
    runtime.keep_buffers()
    while True:
        pair = pairs.get()
        ready_ns = clock.now_ns()
        newest_ns = max(frames[-1][0] for frames in pair)
        window = pair[0][0][0] // WINDOW_NS
        told.send(Record(window, newest_ns, ready_ns, sum(len(frames) for frames in pair)))
