"""The processes of nodes: start them, ask them to stop, kill them, hear which have ended."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Collection, Mapping
from pathlib import Path

from nodes.launching.table import Kind, Node

# Where launch.py is, and with it the packages nodes and protocol.
ROOT = Path(__file__).resolve().parents[2]
# How long the kernel may take to end a process that was killed.
KILL_S = 0.5


class Processes:
    """Every node that runs, with its process; ``environment`` is what all of them get besides ours."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = {**os.environ, **environment, **_python_path()}
        self._processes: dict[Node, subprocess.Popen[bytes]] = {}

    def __bool__(self) -> bool:
        return bool(self._processes)

    def start(self, node: Node) -> None:
        """Start ``node``, in a process group of its own: Ctrl-C in a terminal doesn't reach it.

        Raises OSError or ValueError if it can't be started.
        """
        self._processes[node] = subprocess.Popen(  # noqa: S603
            node.command,
            env={**self._environment, **dict(node.environment)},
            stdin=subprocess.DEVNULL,
            process_group=0,
        )

    def running(self, kind: Kind) -> list[Node]:
        """Return the nodes of a kind that haven't ended, as far as ``reap`` has told."""
        return [node for node in self._processes if node.kind == kind]

    def reap(self) -> list[tuple[Node, int]]:
        """Return the nodes that ended since the last call, with their status as subprocess gives it."""
        ended = [
            (node, status)
            for node, process in self._processes.items()
            if (status := process.poll()) is not None
        ]
        for node, _ in ended:
            del self._processes[node]
        return ended

    def terminate(self, kind: Kind) -> None:
        """Ask the nodes of a kind to stop."""
        for node in self.running(kind):
            self._processes[node].terminate()

    def kill(self, nodes: Collection[Node] | None = None) -> None:
        """Kill ``nodes``, or all, with whatever they started; ``reap`` doesn't tell of them."""
        doomed = list(self._processes if nodes is None else nodes)
        processes = [self._processes.pop(node) for node in doomed]
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        for process in processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=KILL_S)


def _python_path() -> dict[str, str]:
    """Return what has the nodes found in this directory if they aren't installed, wherever one is."""
    if str(ROOT) in sys.path[1:]:
        return {}
    inherited = os.environ.get("PYTHONPATH")
    return {"PYTHONPATH": f"{ROOT}{os.pathsep}{inherited}" if inherited else str(ROOT)}
