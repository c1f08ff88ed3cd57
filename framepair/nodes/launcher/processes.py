"""The processes of all nodes: start them, ask them to stop, kill them, hear what they say and how they end."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from framepair.nodes.common import log_format
from framepair.nodes.launcher import process_groups
from framepair.nodes.launcher.commands import Node
from framepair.nodes.launcher.console import pass_on
from framepair.nodes.launcher.guard import Guard
from framepair.nodes.launcher.python_path import python_path
from framepair.nodes.launcher.signal_queue import SignalQueue
from framepair.protocol.transport.heartbeat import DESCRIPTOR_VARIABLE, Said, parse

# Other programs don't look after the launcher; this makes the kernel end them with it.
ENDS_WITH_LAUNCHER = (sys.executable, "-P", "-m", "framepair.nodes.common.parent_death")
LAST_LINES = 10
# What our own nodes get, unless the environment says otherwise. None of them computes with OpenBLAS, whose
# threads take a fifth of the time that numpy takes to import.
OURS = {"OPENBLAS_NUM_THREADS": "1"}
CHUNK_BYTES = 65536
MAX_LINE_BYTES = 2000
# How long the kernel may take to end a process that was killed.
KILL_S = 0.5
# How long the children of a user's program have to stop once that has ended. The launcher does nothing else
# meanwhile: no longer than a node may well be silent.
CHILDREN_S = 0.3


@dataclass(frozen=True, slots=True)
class End:
    """How a process ended: its status as subprocess gives it, and what it said last."""

    status: int
    words: Sequence[Said]
    last_lines: Sequence[str]


class Processes:
    """Every node that runs, with its process; ``environment`` is what all of them get besides ours.

    ``guard`` is kept informed: it ends them if the launcher is killed.
    """

    def __init__(self, environment: Mapping[str, str], signals: SignalQueue, guard: Guard) -> None:
        self._environment = {**os.environ, **environment, **python_path()}
        self._ours = {**OURS, **self._environment}
        self._signals = signals
        self._guard = guard
        self._processes: dict[Node, Process] = {}

    def start(self, node: Node, *, again: bool) -> int:
        """Start ``node`` and return its pid; raises OSError or ValueError if that can't be done."""
        environment = self._ours if node.is_ours else self._environment
        process = Process(node, environment, self._signals, again=again)
        self._guard.add_group(process.pid)
        self._processes[node] = process
        return process.pid

    def pids(self) -> dict[Node, int]:
        """Return the pids of the nodes that run, as far as ``reap`` has told."""
        return {node: process.pid for node, process in self._processes.items()}

    def words(self) -> list[tuple[Node, Said]]:
        """Return what nodes have said since the last call."""
        return [(n, word) for n, process in self._processes.items() for word in process.words()]

    def reap(self) -> list[tuple[Node, End]]:
        """Return the nodes that ended since the last call; nothing that they started is left."""
        ended = [node for node, process in self._processes.items() if process.has_ended()]
        return [(node, self._reap(node)) for node in ended]

    def _reap(self, node: Node) -> End:
        process = self._processes.pop(node)
        process.end_children()
        # Before it is waited for: after that its id may be that of a process which the guard should not kill.
        self._guard.remove_group(process.pid)
        return process.end()

    def tell(self, node: Node, line: str) -> None:
        """Send a line to ``node``, if it runs and reads."""
        if node in self._processes:
            self._processes[node].tell(line)

    def terminate(self, node: Node) -> None:
        """Ask ``node`` to stop."""
        self.signal(node, signal.SIGTERM)

    def signal(self, node: Node, number: signal.Signals) -> None:
        """Send ``node`` a signal, if it runs."""
        if node in self._processes:
            self._processes[node].signal(number)

    def kill(self, nodes: Collection[Node] | None = None) -> None:
        """Kill ``nodes``, or all, with whatever they started; ``reap`` doesn't tell of them."""
        doomed = self._processes if nodes is None else nodes
        processes = [self._processes.pop(node) for node in list(doomed) if node in self._processes]
        for process in processes:
            process.kill()
            self._guard.remove_group(process.pid)
        for process in processes:
            process.wait_killed()


class Process:
    """Starts ``node`` in a process group of its own: Ctrl-C in a terminal doesn't reach it.

    What it writes to stderr is passed on, and its last lines are kept. ``again``: it has run before.
    Raises OSError or ValueError if it can't be started.
    """

    def __init__(
        self, node: Node, environment: Mapping[str, str], signals: SignalQueue, *, again: bool
    ) -> None:
        self._name = node.name
        self._last: deque[str] = deque(maxlen=LAST_LINES)
        self._rest = self._unheard = b""
        self._words: list[Said] = []
        self._signals = signals
        command = _command(node, again=again)
        environment = {**environment, **dict(node.environment)}
        self._popen, self._errors, self._heartbeat = _start(command, environment, node.descriptors)
        os.set_blocking(self._errors, False)
        self._heartbeat.setblocking(False)
        signals.watch(self._errors, self._read_errors)
        signals.watch(self._heartbeat.fileno(), self._read_heartbeat)

    @property
    def pid(self) -> int:
        """The process's id, and its group's."""
        return self._popen.pid

    def words(self) -> list[Said]:
        """Return what its heartbeat has said since the last call."""
        words, self._words = self._words, []
        return words

    def has_ended(self) -> bool:
        """Return whether it has ended; until it is waited for, its id and its group's can't be another's."""
        flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, self.pid, flags) is not None

    def end_children(self) -> None:
        """End what it started and left: asked first, killed if it takes its time. It has ended itself."""
        group = (self.pid,)
        if process_groups.members(group):
            process_groups.terminate_children(group)
            process_groups.wait_until_empty(group, CHILDREN_S)
        process_groups.send(signal.SIGKILL, group)

    def end(self) -> End:
        """Return how it ended, once it has."""
        status = self._popen.wait()
        self._close()
        return End(status, self.words(), list(self._last))

    def tell(self, line: str) -> None:
        """Send it a line; a process that doesn't read is not waited for."""
        with contextlib.suppress(OSError):
            self._heartbeat.send(line.encode())

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        # Not Popen's own way, which would reap one that has just ended: its group is still to be ended.
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill it and all that it started."""
        process_groups.send(signal.SIGKILL, (self.pid,))

    def wait_killed(self) -> None:
        """Wait for the end of a process that was killed, but not for long."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(timeout=KILL_S)
        self._close()

    def _read_errors(self) -> None:
        """Pass on whole lines: several nodes write at the same time."""
        text = self._rest + self._read(self._errors)
        end = max(text.rfind(b"\n"), text.rfind(b"\r")) + 1
        if len(text) - end > MAX_LINE_BYTES:
            end = len(text)
        self._rest = text[end:]
        self._pass_on(text[:end])

    def _pass_on(self, text: bytes) -> None:
        line_format = log_format.current()
        pass_on(line_format.foreign(self._name, text))
        lines = (line.decode(errors="replace") for line in text.splitlines()[-LAST_LINES:])
        self._last.extend(line_format.message(line)[:MAX_LINE_BYTES] for line in lines)

    def _read_heartbeat(self) -> None:
        *lines, self._unheard = (self._unheard + self._read(self._heartbeat.fileno())).split(b"\n")
        self._unheard = self._unheard[:MAX_LINE_BYTES]
        said = (parse(line.decode(errors="replace")) for line in lines)
        self._words += [word for word in said if word is not None]

    def _read(self, descriptor: int) -> bytes:
        try:
            chunk = os.read(descriptor, CHUNK_BYTES)
        except BlockingIOError:
            return b""
        except ConnectionResetError:
            # It ended without having read what it was told.
            chunk = b""
        if not chunk:
            self._signals.forget(descriptor)
        return chunk

    def _close(self) -> None:
        """Take its last words; what it started may hold the other end open for longer."""
        if self._errors < 0:
            return
        self._read_errors()
        if self._rest:
            self._pass_on(self._rest + b"\n")
        self._read_heartbeat()
        for descriptor in (self._errors, self._heartbeat.fileno()):
            self._signals.forget(descriptor)
        os.close(self._errors)
        self._heartbeat.close()
        self._errors = -1


def _start(
    command: Sequence[str], environment: Mapping[str, str], descriptors: Collection[int]
) -> tuple[subprocess.Popen[bytes], int, socket.socket]:
    """Start a command; return it, a pipe with its stderr, and our end of its heartbeat: both to be closed.

    It gets our open files ``descriptors``, stdin only if that is among them.
    """
    read_errors, errors = os.pipe()
    heartbeat, theirs = socket.socketpair()
    try:
        popen = subprocess.Popen(  # noqa: S603
            command,
            env={**environment, DESCRIPTOR_VARIABLE: str(theirs.fileno())},
            stdin=None if 0 in descriptors else subprocess.DEVNULL,
            stderr=errors,
            pass_fds=(theirs.fileno(), *descriptors),
            process_group=0,
        )
    except (OSError, ValueError):
        os.close(read_errors)
        heartbeat.close()
        raise
    finally:
        os.close(errors)
        theirs.close()
    return popen, read_errors, heartbeat


def _command(node: Node, *, again: bool) -> tuple[str, ...]:
    wrapper = () if node.is_ours else ENDS_WITH_LAUNCHER
    return (*wrapper, *node.command, *(node.again if again else node.first))
