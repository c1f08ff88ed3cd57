"""One measurement of one way: two fresh processes, warm pools, then the clock."""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing
import multiprocessing.connection
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing.context import SpawnContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, cast

from bench import frames
from bench.frames import Shape
from bench.hop import memcpy
from bench.hop.way import HELD, IN_FLIGHT, POOL, Place, Receive, Send, Way
from bench.places import SHARED_MEMORY

MEMCPY = "memcpy"
# The first lap over new memory is slow, and so is the first use of anything.
WARM_UP = 2 * POOL
MIN_FRAMES, MAX_FRAMES = POOL, 100_000
# A way that hangs must not keep the others from being measured.
DEADLINE_S, POLL_S = 60.0, 1.0


class Failed(RuntimeError):  # noqa: N818 - it is not this program that failed
    """A way that could not be measured; the message says why."""


@dataclass(slots=True)
class Meter:
    """What the two processes share: permits to send, and the times at which the clock starts and stops."""

    credits: Any
    open: Any
    received: Any
    failures: Any
    count: Any
    started_ns: Any
    ended_ns: Any

    @classmethod
    def new(cls, context: SpawnContext) -> Meter:
        """Return one for two processes of ``context``."""
        numbers = (context.Value("q", 0, lock=False) for _ in range(3))
        return cls(
            context.Semaphore(IN_FLIGHT),
            context.Event(),
            context.Semaphore(0),
            context.SimpleQueue(),
            *numbers,
        )


def measure(way: str, shape: Shape, seconds: float) -> float:
    """Return the seconds that a frame took from one process to another, on average over some ``seconds``.

    ``way`` names a module of this package. Raises Failed if one of its ends fails or takes too long.
    """
    context = multiprocessing.get_context("spawn")
    if way == MEMCPY:
        with ProcessPoolExecutor(1, context) as pool:
            return pool.submit(memcpy.measure, shape, seconds).result()
    with tempfile.TemporaryDirectory(prefix="fpb", dir=SHARED_MEMORY) as directory:
        place = Place(Path(directory), shape, load(way).link(context, Path(directory)))
        meter = Meter.new(context)
        ends = [
            context.Process(target=_end, args=(receive_all, way, place, meter)),
            context.Process(target=_end, args=(send_all, way, place, meter, seconds)),
        ]
        _run(ends, meter)
    return float(meter.ended_ns.value - meter.started_ns.value) / 1e9 / int(meter.count.value)


def load(way: str) -> Way:
    """Return the module of a way."""
    return cast(Way, importlib.import_module(f"bench.hop.{way}"))


def _end(run: Callable[..., None], way: str, place: Place, meter: Meter, *more: float) -> None:
    """Run one end, in a process of its own; if it fails, say why."""
    try:
        run(way, place, meter, *more)
    except Exception as error:  # noqa: BLE001 - the process that has started this one raises it
        meter.failures.put(f"{type(error).__name__}: {error}")
        sys.exit(1)


def send_all(way: str, place: Place, meter: Meter, seconds: float) -> None:
    """Send some frames to warm up, then as many as should take ``seconds``."""
    pool = frames.make(POOL, place.shape)
    meter.open.wait()
    with load(way).sender(place) as send:
        began_s = time.monotonic()
        _send(send, pool, WARM_UP, meter)
        _wait_until_received(WARM_UP, meter)
        each_s = (time.monotonic() - began_s) / WARM_UP
        meter.count.value = count = min(max(round(seconds / each_s), MIN_FRAMES), MAX_FRAMES)
        meter.started_ns.value = time.monotonic_ns()
        _send(send, pool, count, meter)
        # What was sent may go with the process.
        _wait_until_received(count, meter)


def receive_all(way: str, place: Place, meter: Meter) -> None:
    """Receive what ``send_all`` sends, and check it."""
    with load(way).receiver(place) as receive:
        meter.open.set()
        held: deque[tuple[frames.Frame, Any]] = deque(maxlen=HELD)
        for number in range(WARM_UP):
            frame = _receive(receive, held, number % POOL, meter)
            _refuse(not frames.is_whole(frame, number % POOL), way)
            meter.received.release()
        # The count was there before the first frame that is counted.
        frame = _receive(receive, held, 0, meter)
        count = int(meter.count.value)
        for number in range(1, count):
            _receive(receive, held, number % POOL, meter)
        meter.ended_ns.value = time.monotonic_ns()
        newest = range(count - len(held), count)
        pairs = zip(newest, held, strict=True)
        _refuse(not all(frames.is_whole(frame, n % POOL) for n, (frame, _) in pairs), way)
        for _ in range(count):
            meter.received.release()


def _send(send: Send, pool: list[frames.Frame], count: int, meter: Meter) -> None:
    for number in range(count):
        meter.credits.acquire()
        send(pool[number % POOL])


def _receive(
    receive: Receive, held: deque[tuple[frames.Frame, Any]], number: int, meter: Meter
) -> frames.Frame:
    held.append(receive())
    meter.credits.release()
    frame = held[-1][0]
    if not frames.looks_like(frame, number):
        raise Failed(f"another frame came, where number {number} was due")
    return frame


def _wait_until_received(count: int, meter: Meter) -> None:
    for _ in range(count):
        meter.received.acquire()


def _refuse(broken: bool, way: str) -> None:
    if broken:
        raise Failed(f"{way} changed a frame on its way")


def _run(ends: Sequence[BaseProcess], meter: Meter) -> None:
    """Run the processes to their end; raises Failed, and leaves none, if one of them doesn't come to it."""
    deadline_s = time.monotonic() + DEADLINE_S
    with _killing(ends):
        for end in ends:
            end.start()
        # A process may end between two looks at it: each turn has one look at all of them.
        while None in (codes := [end.exitcode for end in ends]) and not any(codes):
            if time.monotonic() > deadline_s:
                raise Failed(f"not done after {DEADLINE_S:.0f} s")
            waiting = zip(ends, codes, strict=True)
            running = [end.sentinel for end, code in waiting if code is None]
            multiprocessing.connection.wait(running, POLL_S)
        if any(codes):
            raise Failed(f"exit codes {codes}" if meter.failures.empty() else meter.failures.get())


@contextlib.contextmanager
def _killing(ends: Sequence[BaseProcess]) -> Iterator[None]:
    try:
        yield
    finally:
        for end in ends:
            if end.pid is not None:
                end.kill()
                end.join()
