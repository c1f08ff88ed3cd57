"""One node's process: how it was started, what it says, whether it works."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Mapping

from framepair.nodes.launcher import process_groups
from framepair.nodes.launcher.commands import Node
from framepair.nodes.launcher.console import pass_on
from framepair.nodes.launcher.signal_queue import SignalQueue
from framepair.protocol.transport.heartbeat import DESCRIPTOR_VARIABLE

# Other programs don't look after the launcher; this has the kernel do it.
LEASH = (sys.executable, "-P", "-m", "framepair.nodes.common.parent_death")
LAST_LINES = 10
CHUNK_BYTES = 65536
MAX_LINE_BYTES = 2000
# How long the kernel may take to end a process that was killed.
KILL_S = 0.5
# How long the children of a user's program have to stop once that has ended. The launcher does nothing else
# meanwhile: no longer than a node may well be silent.
FOLLOWERS_S = 0.3


class Process:
    """Starts ``node`` in a process group of its own: Ctrl-C in a terminal doesn't reach it.

    What it writes to stderr is passed on, and its last lines are kept. ``again``: it has run before.
    Raises OSError or ValueError if it can't be started.
    """

    def __init__(
        self,
        node: Node,
        environment: Mapping[str, str],
        signals: SignalQueue,
        *,
        again: bool,
    ) -> None:
        self.node = node
        self.started_s = self.heard_s = time.monotonic()
        self.is_ready = self.is_done = False
        self._last: deque[str] = deque(maxlen=LAST_LINES)
        self._rest = b""
        self._signals = signals
        self._errors, errors = os.pipe()
        self._health, health = os.pipe()
        try:
            self._popen = subprocess.Popen(  # noqa: S603
                _command(node, again=again),
                env={**environment, **dict(node.environment), DESCRIPTOR_VARIABLE: str(health)},
                stdin=subprocess.DEVNULL,
                stderr=errors,
                pass_fds=(health,),
                process_group=0,
            )
        except (OSError, ValueError):
            os.close(self._errors)
            os.close(self._health)
            raise
        finally:
            os.close(errors)
            os.close(health)
        for descriptor, read in (self._errors, self._read_errors), (self._health, self._hear):
            os.set_blocking(descriptor, False)
            signals.watch(descriptor, read)

    @property
    def pid(self) -> int:
        """The process's id, and its group's."""
        return self._popen.pid

    @property
    def last_lines(self) -> list[str]:
        """What it wrote to stderr last."""
        rest = self._rest.decode(errors="replace")
        return [*self._last, rest][-LAST_LINES:] if rest else list(self._last)

    def has_ended(self) -> bool:
        """Tell whether it has ended; until it is waited for, its id and its group's can't be another's."""
        flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, self.pid, flags) is not None

    def end_followers(self) -> None:
        """End what it started and left: asked first, killed if it takes its time. It has ended itself."""
        group = (self.pid,)
        if process_groups.members(group):
            process_groups.ask_followers(group)
            process_groups.still_there(group, FOLLOWERS_S)
        process_groups.send(signal.SIGKILL, group)

    def status(self) -> int:
        """Return how it ended, as subprocess gives it, once it has."""
        status = self._popen.wait()
        self._close()
        return status

    def terminate(self) -> None:
        """Ask it to stop."""
        # Not Popen's own way, which would reap one that has just ended: its group is still to be ended.
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        """Kill it and all that it started."""
        process_groups.send(signal.SIGKILL, (self.pid,))

    def wait_killed(self) -> None:
        """Wait for the end of a process that was killed, but not for long."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(timeout=KILL_S)
        self._close()

    def _read_errors(self) -> None:
        """Pass on whole lines: several nodes talk at the same time."""
        text = self._rest + self._read(self._errors)
        end = max(text.rfind(b"\n"), text.rfind(b"\r")) + 1
        if len(text) - end > MAX_LINE_BYTES:
            end = len(text)
        pass_on(text[:end])
        self._rest = text[end:]
        lines = text[:end].splitlines()[-LAST_LINES:]
        self._last.extend(line[:MAX_LINE_BYTES].decode(errors="replace") for line in lines)

    def _hear(self) -> None:
        said = self._read(self._health)
        if said:
            self.heard_s = time.monotonic()
            words = said.split(b"\n")
            if b"ready" in words and not self.is_ready:
                self.is_ready = True
                self._signals.interrupt()
            self.is_done = self.is_done or b"done" in words

    def _read(self, descriptor: int) -> bytes:
        try:
            chunk = os.read(descriptor, CHUNK_BYTES)
        except BlockingIOError:
            return b""
        if not chunk:
            self._signals.forget(descriptor)
        return chunk

    def _close(self) -> None:
        """Take its last words; what it started may hold the other end open for longer."""
        if self._errors < 0:
            return
        self._read_errors()
        if self._rest:
            pass_on(self._rest + b"\n")
        self._hear()
        for descriptor in (self._errors, self._health):
            self._signals.forget(descriptor)
            os.close(descriptor)
        self._errors = self._health = -1


def _command(node: Node, *, again: bool) -> tuple[str, ...]:
    leash = () if node.is_ours else LEASH
    return (*leash, *node.command, *(node.again if again else node.first))
