"""Three minutes of random faults: pixels are right, what is called complete is, and every frame is counted.

FRAMEPAIR_SEED repeats a schedule, as far as the machine plays along.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import signal
import socket
import time
from collections import Counter, deque
from contextlib import ExitStack
from pathlib import Path

import pytest
import zmq

from framepair import subscribe
from framepair.nodes.sink.ledger import sentence
from framepair.protocol.wire import frame
from framepair.protocol.wire.header import ProtocolError
from tests.lib import wall_clock
from tests.lib.headers import KINDS
from tests.lib.launcher import launcher
from tests.lib.malformed import mutated
from tests.lib.processes import Running
from tests.lib.shm import own_directory, rings
from tests.lib.watcher import Watcher

RUN_S = 180.0
SEED = int(os.environ.get("FRAMEPAIR_SEED") or random.randrange(2**32))
SOURCES = ("left", "right")
NODES = ("producer left", "producer right", "combiner", "sink")
FAULTS = ("kill", "stop", "stop", "freeze", "send_garbage", "step_clock")
# Of one node: at its sixth end within a minute the launcher gives up, and its minute is longer by freezes.
MOST_KILLS, KILLS_S = 2, 60.0
# A node that gives no sign of work for ten seconds is killed; in a freeze of all that time does not pass.
LONGEST_STOP_S, LONGEST_FREEZE_S = 4.0, 14.0
HOUR_NS = 3600 * 10**9
MESSAGES = 20
# The launcher waits for up to half a minute before it starts a node again.
PATIENCE_S = 90.0
WHOLE = r"left 5/5 +right 5/5"
GOOD = [kind.header.encode() for kind in KINDS.values()]


class Faults:
    """Does to a pipeline whatever ``chance`` says, and lets ``watcher`` check what comes meanwhile."""

    def __init__(
        self, running: Running, watcher: Watcher, directory: Path, chance: random.Random
    ) -> None:
        self.done: Counter[str] = Counter()
        self._running = running
        self._watcher = watcher
        self._directory = directory
        self._chance = chance
        self._kills = {node: deque[float]() for node in NODES}

    def cause(self) -> None:
        """Cause a fault."""
        kind = self._chance.choice(FAULTS)
        # A failure's output tells what was done until then.
        print(f"{self._watcher.seen['pairs']} pairs: {kind}")
        getattr(self, kind)()
        self.done[kind] += 1

    def kill(self) -> None:
        """Kill a node, unless it was killed too often, or is about to be started."""
        node, now_s = self._chance.choice(NODES), time.monotonic()
        kills = self._kills[node]
        while kills and kills[0] < now_s - KILLS_S:
            kills.popleft()
        if len(kills) < MOST_KILLS and (pid := self._pid(node)):
            kills.append(now_s)
            os.kill(pid, signal.SIGKILL)

    def stop(self) -> None:
        """Stop a node, or the launcher, for a while."""
        node = self._chance.choice((*NODES, "launcher"))
        pid = self._running.process.pid if node == "launcher" else self._pid(node)
        if pid:
            self._stop([pid], self._chance.uniform(0.05, LONGEST_STOP_S))

    def freeze(self) -> None:
        """Stop all processes for a while, in any order."""
        self._stop(self._running.processes(), self._chance.uniform(0.5, LONGEST_FREEZE_S))

    def send_garbage(self) -> None:
        """Send what is no header, and what is no ZMTP, to where frames are received and pairs published."""
        with ExitStack() as stack:
            context = stack.enter_context(zmq.Context())
            push = stack.enter_context(context.socket(zmq.PUSH))
            push.linger, push.immediate, push.sndtimeo = 1000, True, 200
            push.connect(f"ipc://{self._directory}/run/left.frames")
            for _ in range(MESSAGES):
                with contextlib.suppress(zmq.Again):
                    push.send_multipart([self._malformed(), b""][: self._chance.randint(1, 2)])
            for name in ("left.frames", "right.frames", "pairs"):
                self._send_bytes(f"{self._directory}/run/{name}")

    def step_clock(self) -> None:
        """Set the wall clock by up to an hour."""
        step_ns = self._chance.choice([1, 10**9, HOUR_NS]) * self._chance.randint(-1, 1)
        (self._directory / "step").write_text(str(step_ns))

    def _pid(self, node: str) -> int | None:
        """Return the process of a node, None if it is not running now."""
        started = [
            found
            for line in self._running.lines
            if (found := re.search(f"started {node} as process (.*)", line))
        ]
        pid = int(started[-1][1])
        return pid if pid in self._running.session() else None

    def _stop(self, pids: list[int], seconds: float) -> None:
        for number in (signal.SIGSTOP, signal.SIGCONT):
            self._chance.shuffle(pids)
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
            if number == signal.SIGSTOP:
                self._watcher.watch(seconds)

    def _malformed(self) -> bytes:
        while True:
            data = mutated(self._chance.choice(GOOD), self._chance)
            try:
                frame.decode(data)
            except ProtocolError:
                return data

    def _send_bytes(self, path: str) -> None:
        # It may be disconnected in the middle, or nothing listens now.
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
            connection.connect(path)
            connection.sendall(self._chance.randbytes(self._chance.randint(1, 100_000)))


@pytest.mark.timeout(900)
@pytest.mark.parametrize("payload", ["raw", "shm", "jpeg"])
def test_three_minutes(directory: Path, payload: str) -> None:
    print(f"FRAMEPAIR_SEED={SEED}")
    report, environment = directory / "report.json", wall_clock.put(directory)
    sources = [f"{name}=synthetic://320x240@25" for name in SOURCES]
    with (
        own_directory() as shm,
        subscribe(f"ipc://{directory}/run/pairs", keep=1000, shm_dir=shm) as pairs,
    ):
        told = (
            "--run-dir",
            directory / "run",
            "--shm-dir",
            shm,
            "--json",
            report,
            "--payload",
            payload,
        )
        command = launcher(*told, "--window", "0.2", "--verbose", *sources)
        with Running(command, env=environment) as running:
            watcher = Watcher(pairs, running, PATIENCE_S)
            watcher.watch_pairs(3, complete=True)
            chance = random.Random(SEED)
            faults = Faults(running, watcher, directory, chance)
            until_s = time.monotonic() + RUN_S
            while time.monotonic() < until_s:
                faults.cause()
                watcher.watch_pairs(chance.randint(0, 5))
                watcher.watch_pairs(chance.randint(0, 1), complete=True)
            recover(running, watcher)
            assert running.stop() == 0, running.lines
            accounts = watcher.finish()
        dropped = sum((Counter(account.dropped) for account in accounts.values()), Counter[str]())
        print(faults.done, watcher.seen, sentence(accounts), dict(dropped))
        assert all(account.balanced for account in accounts.values()), sentence(accounts)
        assert rings(shm) == []
    assert json.loads(report.read_text())["ledger_balanced"]
    assert not any("hangs" in line for line in running.lines), running.lines
    assert not list((directory / "run").glob("*"))
    # There was something to see.
    assert set(faults.done) == set(FAULTS)
    assert watcher.seen["complete"] > len(FAULTS)
    assert watcher.seen["overwritten"] <= (watcher.seen["pairs"] / 4 if payload == "shm" else 0)


def recover(running: Running, watcher: Watcher) -> None:
    """Wait until all nodes are back, the sink included."""
    watcher.watch_pairs(3, complete=True)
    printed = sum(bool(re.search(WHOLE, line)) for line in running.stdout)
    running.wait_for(WHOLE, PATIENCE_S, count=printed + 3)
