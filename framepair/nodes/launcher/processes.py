"""The processes of all nodes: start them, ask them to stop, kill them, hear which have ended or hang."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Mapping

from framepair.nodes.launcher.commands import Kind, Node
from framepair.nodes.launcher.guard import Guard
from framepair.nodes.launcher.process import Process
from framepair.nodes.launcher.python_path import python_path
from framepair.nodes.launcher.signal_queue import SignalQueue

# A machine that is busy takes its time until a new process says its first word.
START_S = 20.0


class Processes:
    """Every node that runs, with its process; ``environment`` is what all of them get besides ours.

    ``guard`` is kept informed: it ends them if the launcher is killed.
    """

    def __init__(self, environment: Mapping[str, str], signals: SignalQueue, guard: Guard) -> None:
        self._environment = {**os.environ, **environment, **python_path()}
        self._signals = signals
        self._guard = guard
        self._processes: dict[Node, Process] = {}

    def __bool__(self) -> bool:
        return bool(self._processes)

    def start(self, node: Node, *, again: bool) -> Process:
        """Start ``node``, that has run before or not; raises OSError or ValueError if that can't be done."""
        process = Process(node, self._environment, self._signals, again=again)
        self._guard.began(process.pid)
        self._processes[node] = process
        return process

    def running(self, kind: Kind) -> list[Node]:
        """Return the nodes of a kind that haven't ended, as far as ``reap`` has told."""
        return [node for node in self._processes if node.kind == kind]

    def reap(self) -> list[tuple[Process, int]]:
        """Return the processes that ended since the last call, with their status as subprocess gives it."""
        ended = [process for process in self._processes.values() if process.has_ended()]
        return [(process, self._bury(process)) for process in ended]

    def _bury(self, process: Process) -> int:
        """Return how ``process`` has ended, and see to it that nothing of it is left."""
        del self._processes[process.node]
        process.end_followers()
        # Before it is waited for: after that its id may be that of a process which the guard should not kill.
        self._guard.ended(process.pid)
        return process.status()

    def working(self) -> list[Process]:
        """Return the processes that work, as far as they say."""
        processes = self._processes.values()
        return [process for process in processes if process.is_ready or not process.node.is_ours]

    def silent(self, timeout_s: float) -> list[Process]:
        """Return the processes that have not said for longer than they may that their work goes on."""
        now_s = time.monotonic()
        return [
            process for process in self._processes.values() if now_s > _due_s(process, timeout_s)
        ]

    def next_due_s(self, timeout_s: float) -> float:
        """Return when the next process would be silent for too long, infinity if none can be."""
        due = [_due_s(process, timeout_s) for process in self._processes.values()]
        return min(due, default=float("inf"))

    def terminate(self, kind: Kind) -> None:
        """Ask the nodes of a kind to stop."""
        for node in self.running(kind):
            self._processes[node].terminate()

    def kill(self, nodes: Collection[Node] | None = None) -> None:
        """Kill ``nodes``, or all, with whatever they started; ``reap`` doesn't tell of them."""
        doomed = list(self._processes if nodes is None else nodes)
        processes = [self._processes.pop(node) for node in doomed]
        for process in processes:
            process.kill()
            self._guard.ended(process.pid)
        for process in processes:
            process.wait_killed()


def _due_s(process: Process, timeout_s: float) -> float:
    """Return when ``process`` has been silent for too long."""
    patience_s = process.node.patience_s
    if not (process.node.is_ours or process.is_ready):
        return float("inf")
    starting_s = 0.0 if process.is_ready else START_S
    return process.heard_s + timeout_s + patience_s + starting_s
