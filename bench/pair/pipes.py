"""Pipes and threads: captures send frames as they come, a combiner's threads fetch them into deques.

Once a second it sends what the deques hold to the consumer, through one more pipe. Frames travel as bytes,
since pickling them would be a copy more.
"""

from __future__ import annotations

import contextlib
import struct
import threading
from collections import deque
from collections.abc import Iterator
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from bench.frames import Frame, Shape
from bench.pair import baseline
from bench.pair.design import WINDOW_NS, Record, Running, Setup
from framepair.nodes.common import runtime
from framepair.protocol.clocks import clock

NAME = "pipes and threads"
NUMBER = struct.Struct("<q")

Stamped = tuple[int, Frame]


@contextlib.contextmanager
def run(setup: Setup) -> Iterator[Running]:
    """Start the processes; stop them afterwards."""
    pipes = [setup.context.Pipe(duplex=False) for _ in setup.names]
    pairs_out, pairs_in = setup.context.Pipe(duplex=False)
    records, told = setup.context.Pipe(duplex=False)
    begin_ns = baseline.start_ns()
    captures: list[Any] = [
        (capture, (name, setup.shape, begin_ns, into))
        for name, (_, into) in zip(setup.names, pipes, strict=True)
    ]
    combiner = (combine, ([out for out, _ in pipes], pairs_in, setup.shape))
    consumer = (consume, (pairs_out, told, setup.shape))
    with baseline.running(setup, records, [*captures, combiner, consumer]) as processes:
        yield processes


def capture(name: str, shape: Shape, begin_ns: int, into: Connection) -> None:
    """Send every frame when it is captured."""
    for captured_ns, frame in baseline.capture(name, shape, begin_ns):
        send(into, captured_ns, frame)


def combine(sources: list[Connection], pairs: Connection, shape: Shape) -> None:
    """Send a second's frames of all sources as soon as they are there."""
    runtime.keep_buffers()
    bell = threading.Condition()
    waiting: list[deque[Stamped]] = [deque() for _ in sources]
    for connection, frames in zip(sources, waiting, strict=True):
        fetcher = threading.Thread(
            target=fetch, args=(connection, frames, bell, shape), daemon=True
        )
        fetcher.start()
    while True:
        with bell:
            bell.wait_for(lambda: all(map(holds_second, waiting)))
            pair = [frame for frames in waiting for frame in take_second(frames)]
        pairs.send_bytes(NUMBER.pack(len(pair)))
        for captured_ns, frame in pair:
            send(pairs, captured_ns, frame)


def holds_second(frames: deque[Stamped]) -> bool:
    """Tell whether all frames of a second are there."""
    return any(baseline.ends_window(captured_ns) for captured_ns, _ in frames)


def take_second(frames: deque[Stamped]) -> list[Stamped]:
    """Take the frames of the oldest second."""
    taken = [frames.popleft()]
    while not baseline.ends_window(taken[-1][0]):
        taken.append(frames.popleft())
    return taken


def fetch(
    connection: Connection, frames: deque[Stamped], bell: threading.Condition, shape: Shape
) -> None:
    """Receive one source's frames as they come; a thread of its own."""
    while True:
        frame = receive(connection, shape)
        with bell:
            frames.append(frame)
            bell.notify()


def consume(pairs: Connection, told: Connection, shape: Shape) -> None:
    """Receive the frames of one pair after the other."""
    runtime.keep_buffers()
    while True:
        (count,) = NUMBER.unpack(pairs.recv_bytes())
        pair = [receive(pairs, shape) for _ in range(count)]
        ready_ns = clock.now_ns()
        newest_ns = max(captured_ns for captured_ns, _ in pair)
        told.send(Record(pair[0][0] // WINDOW_NS, newest_ns, ready_ns, len(pair)))


def send(into: Connection, captured_ns: int, frame: Frame) -> None:
    """Send a frame's time and its memory."""
    into.send_bytes(NUMBER.pack(captured_ns))
    into.send_bytes(frame.reshape(-1).data)


def receive(connection: Connection, shape: Shape) -> Stamped:
    """Return a frame's time, and the frame as a view of the bytes that came."""
    (captured_ns,) = NUMBER.unpack(connection.recv_bytes())
    return captured_ns, np.frombuffer(connection.recv_bytes(), np.uint8).reshape(shape)
