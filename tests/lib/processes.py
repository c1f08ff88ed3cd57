"""Processes for tests: start one, wait for what it says, stop it, and see that nothing of it is left."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from tests.lib import reaper

ROOT = Path(__file__).resolve().parents[2]
# Far beyond what anything takes on a busy machine: reached only by what hangs.
PATIENCE_S = 30.0


class Running:
    """A command with its own session, so that whatever it starts can be found again, and its output.

    What begins a session of its own is found by a variable in its environment. As a context manager it kills
    what is left at the end, and the reaper does so if pytest is killed.
    """

    _counter = itertools.count()

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        mark = f"{os.getpid()}-{next(self._counter)}"
        self._mark = f"{reaper.MARK_VARIABLE}={mark}".encode()
        self.process = subprocess.Popen(
            [str(word) for word in command],
            env={
                **os.environ,
                "PYTHONPATH": python_path(),
                reaper.MARK_VARIABLE: mark,
                **(env or {}),
            },
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self._changed = threading.Condition()
        self._open_pipes = 2
        self._stdout: list[str] = []
        self._stderr: list[str] = []
        self._lines: list[str] = []
        assert self.process.stdout
        assert self.process.stderr
        self._readers = [
            self._reader(self.process.stdout, self._stdout),
            self._reader(self.process.stderr, self._stderr),
        ]

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *_: object) -> None:
        while pids := self.processes():
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self.process.wait(PATIENCE_S)
        for thread in self._readers:
            thread.join(PATIENCE_S)

    @property
    def lines(self) -> list[str]:
        """All lines so far, those of stdout and of stderr as they came."""
        with self._changed:
            return list(self._lines)

    @property
    def stdout(self) -> list[str]:
        """The lines of stdout so far; all of them once the process has been waited for."""
        with self._changed:
            return list(self._stdout)

    @property
    def stderr(self) -> list[str]:
        """The lines of stderr so far; all of them once the process has been waited for."""
        with self._changed:
            return list(self._stderr)

    def wait_for(self, regex: str, timeout_s: float = PATIENCE_S, count: int = 1) -> re.Match[str]:
        """Return the match in the ``count``-th line that ``regex`` is found in, waiting for it if need be.

        Raises AssertionError with all output if it doesn't come, or can't because all output has ended.
        """
        deadline_s = time.monotonic() + timeout_s
        with self._changed:
            while True:
                matches = [match for line in self._lines if (match := re.search(regex, line))]
                if len(matches) >= count:
                    return matches[count - 1]
                left_s = deadline_s - time.monotonic()
                if left_s <= 0 or not self._open_pipes:
                    raise AssertionError(self._described(f"never said {regex!r} ({count} times)"))
                self._changed.wait(left_s)

    def stop(self, number: signal.Signals = signal.SIGINT, timeout_s: float = PATIENCE_S) -> int:
        """Send a signal to the process alone and return its exit code, as ``wait`` does."""
        self.process.send_signal(number)
        return self.wait(timeout_s)

    def wait(self, timeout_s: float = PATIENCE_S) -> int:
        """Return the exit code once the process has ended and all output is read."""
        deadline_s = time.monotonic() + timeout_s
        try:
            code = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(self._described(f"did not end within {timeout_s} s")) from None
        for thread in self._readers:
            thread.join(max(0.0, deadline_s - time.monotonic()))
            if thread.is_alive():
                # A process that it started and left behind still has its output.
                raise AssertionError(self._described(f"ended, but left {self.processes()} behind"))
        return code

    def session(self) -> list[int]:
        """Return the pids of the process and of what it started that still run, but for other sessions."""
        return [pid for pid in reaper.pids() if _session(pid) == self.process.pid]

    def processes(self) -> list[int]:
        """Return the pids of the process and of all that it started, directly or not, and that still run."""
        sessions = [(pid, _session(pid)) for pid in reaper.pids()]
        return [
            pid
            for pid, session in sessions
            if session == self.process.pid
            or (session is not None and self._mark in reaper.environment(pid))
        ]

    def guard(self) -> int:
        """Return the pid of the launcher's guard, once there is one."""
        while not (
            pids := [p for p in self.processes() if "framepair.nodes.launcher.guard" in _command(p)]
        ):
            assert self.process.poll() is None, self._described("has no guard")
        return pids[0]

    def pid_of(self, *words: str) -> int:
        """Return the pid of the session's one process whose command line has all ``words``."""
        pids = [pid for pid in self.session() if set(words) <= set(_command(pid))]
        assert len(pids) == 1, self._described(f"has {len(pids)} processes with {words}")
        return pids[0]

    def wait_until_gone(self, timeout_s: float = PATIENCE_S) -> None:
        """Wait until nothing that it started runs; raises AssertionError naming what still does."""
        deadline_s = time.monotonic() + timeout_s
        while left := self.processes():
            if not wait_for_exit(left[0], deadline_s - time.monotonic()):
                raise AssertionError(self._described(f"left {[_command(pid) for pid in left]}"))

    def _reader(self, pipe: IO[str], lines: list[str]) -> threading.Thread:
        thread = threading.Thread(target=self._read, args=(pipe, lines), daemon=True)
        thread.start()
        return thread

    def _read(self, pipe: IO[str], lines: list[str]) -> None:
        with pipe:
            for line in pipe:
                with self._changed:
                    lines.append(line.rstrip("\n"))
                    self._lines.append(lines[-1])
                    self._changed.notify_all()
        with self._changed:
            self._open_pipes -= 1
            self._changed.notify_all()

    def _described(self, what: str) -> str:
        with self._changed:
            output = "\n".join(self._lines)
        return f"{self.process.args!r} {what}; exit code {self.process.poll()}, output:\n{output}"


def python(*arguments: str | Path) -> list[str]:
    """Return the command that runs this interpreter with ``arguments``."""
    return [sys.executable, *map(str, arguments)]


def python_path() -> str:
    """Return a PYTHONPATH that finds the project, installed or not."""
    inherited = os.environ.get("PYTHONPATH")
    return f"{ROOT}{os.pathsep}{inherited}" if inherited else str(ROOT)


def wait_for_exit(pid: int, timeout_s: float) -> bool:
    """Wait until the process ``pid``, anybody's child, has ended; return whether it has."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], max(0.0, timeout_s))[0])
    finally:
        os.close(descriptor)


def _session(pid: int) -> int | None:
    """Return the id of the session that a process is in, None if it has ended."""
    try:
        state, _parent, _group, session, *_ = stat(pid)
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if state == "Z" else int(session)


def stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat from the state on; raises an OSError if there is no such process."""
    # Before the last parenthesis is the command's name, which may hold anything.
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def memory_bytes(pid: int, name: str) -> int:
    """Return VmRSS, what a process has in memory, or VmHWM, the kernel's note of the most that it ever had."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(rf"^{name}:\s+(\d+) kB$", status, re.MULTILINE)
    assert found
    return int(found[1]) * 1024


def _command(pid: int) -> list[str]:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    return []
