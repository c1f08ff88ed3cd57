"""Measure the lag of pairs in shared memory over its floor, two hops of a message of 512 bytes, in one run."""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

import zmq

from bench.frames import FULL_HD
from bench.pair import shm
from bench.pair.design import FPS
from bench.pair.measure import measure

MESSAGE_BYTES = 512
SOURCES = 2
# The first messages find no connection, or cold caches.
WARM_UP = 10
RECEIVE_TIMEOUT_MS = 20_000

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--rounds", type=int, default=5, help="how often to measure each, in turns")
parser.add_argument("--seconds", type=int, default=10, help="how long to measure each")


def main() -> None:
    """Print both in milliseconds, and their ratio, of each round and in the median."""
    asked = parser.parse_args()
    rows = []
    for number in range(asked.rounds):
        floor_ms = statistics.median(floor(asked.seconds))
        lag_ms = statistics.median(measure(shm.run, SOURCES, asked.seconds, FULL_HD).lags_ms)
        rows.append((floor_ms, lag_ms, lag_ms / floor_ms))
        print(f"round {number + 1} of {asked.rounds}", file=sys.stderr, flush=True)
    print(f"{'':8}{'floor ms':>10}{'shm lag ms':>12}{'ratio':>8}")
    for number, row in enumerate(rows):
        print(f"{number + 1:<8}{row[0]:10.2f}{row[1]:12.2f}{row[2]:8.1f}")
    middle = [statistics.median(column) for column in zip(*rows, strict=True)]
    print(f"{'median':8}{middle[0]:10.2f}{middle[1]:12.2f}{middle[2]:8.1f}")


def floor(seconds: int) -> list[float]:
    """Return what each small message took, in ms, from one process through a second to a third.

    As often as frames of a source come: between them processors go to sleep, and caches go to others.
    """
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory(prefix="fpb") as directory:
        ours, theirs = context.Pipe(duplex=False)
        count = seconds * FPS + WARM_UP
        ends = [
            context.Process(target=_receive, args=(directory, count, theirs), daemon=True),
            context.Process(target=_pass_on, args=(directory, count), daemon=True),
            context.Process(target=_send, args=(directory, count), daemon=True),
        ]
        for end in ends:
            end.start()
        found: list[float] = ours.recv()
        for end in ends:
            end.join()
    return found[WARM_UP:]


def _send(directory: str, count: int) -> None:
    with zmq.Context() as context, context.socket(zmq.PUSH) as push:
        push.connect(_address(directory, "first"))
        for number in range(count):
            time.sleep(1 / FPS)
            stamp = time.monotonic_ns().to_bytes(8, "little")
            push.send(stamp.ljust(MESSAGE_BYTES, bytes([number % 256])))


def _pass_on(directory: str, count: int) -> None:
    with (
        zmq.Context() as context,
        context.socket(zmq.PULL) as pull,
        context.socket(zmq.PUSH) as push,
    ):
        pull.rcvtimeo = RECEIVE_TIMEOUT_MS
        pull.bind(_address(directory, "first"))
        push.connect(_address(directory, "second"))
        for _ in range(count):
            push.send(pull.recv(copy=False), copy=False)


def _receive(directory: str, count: int, found: Connection) -> None:
    with zmq.Context() as context, context.socket(zmq.PULL) as pull:
        pull.rcvtimeo = RECEIVE_TIMEOUT_MS
        pull.bind(_address(directory, "second"))
        took_ms = []
        for _ in range(count):
            message = pull.recv()
            took_ms.append((time.monotonic_ns() - int.from_bytes(message[:8], "little")) / 1e6)
        found.send(took_ms)


def _address(directory: str, name: str) -> str:
    return f"ipc://{Path(directory) / name}"


if __name__ == "__main__":
    main()
