"""Standard streams that never block the work: open in any case, and written without waiting for a reader."""

from __future__ import annotations

import contextlib
import io
import os
import select
import stat
import sys
import threading
import time
from collections import deque
from typing import Any

STDIN, STDOUT, STDERR = 0, 1, 2
# What may wait for a reader that pauses: some thousand lines.
MAX_WAITING_BYTES = 1 << 20
# What a reader that is slow gets at the end of a process: within the five seconds in which all has to stop.
DRAIN_S = 1.0
POLL_S = 0.05
# The kernel takes so much of a pipe's writer as a whole or not at all.
CHUNK_BYTES = select.PIPE_BUF


def prepare() -> None:
    """Open what of stdin, stdout and stderr is closed, and make Python's writing to them never wait.

    Call this first: else the first file or socket gets a closed stream's number, and what is printed.
    """
    _open_closed()
    for name, descriptor in (("stdout", STDOUT), ("stderr", STDERR)):
        stream = io.TextIOWrapper(
            Output(descriptor), encoding="utf-8", errors="backslashreplace", write_through=True
        )
        setattr(sys, name, stream)


def flush() -> None:
    """Write what still waits in stdout and stderr, as far as that goes without waiting."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()


def drain(timeout_s: float) -> bool:
    """Write what waits in stdout and stderr, ``timeout_s`` at most; return whether something still waits."""
    until_s = time.monotonic() + timeout_s
    for output in _outputs():
        with contextlib.suppress(OSError):
            while output.waiting and (left_s := until_s - time.monotonic()) > 0:
                output.wait(min(POLL_S, left_s))
                output.flush()
    return any(output.waiting for output in _outputs())


def finish() -> None:
    """Write what waits for a reader that takes it within DRAIN_S; forget the rest."""
    drain(DRAIN_S)
    for output in _outputs():
        output.forget()


def forget_stdout() -> None:
    """Write nothing more to stdout, whose reader is gone: Python would flush once more at the exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), STDOUT)


def _outputs() -> list[Output]:
    streams = (sys.stdout, sys.stderr)
    return [stream.buffer for stream in streams if isinstance(stream.buffer, Output)]


class Output(io.RawIOBase):
    """A descriptor that is written without waiting; what its reader doesn't take at once waits here.

    When ``limit`` bytes wait, whole lines are dropped; when it flows again, a line says how many. A closed
    reader raises BrokenPipeError, a full disk OSError. Several threads may write.
    """

    def __init__(self, descriptor: int, limit: int = MAX_WAITING_BYTES) -> None:
        self._descriptor = descriptor
        self._limit = limit
        self._lock = threading.Lock()
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._dropped = 0
        self._in_line = self._dropping = False
        self._private = _reopened(descriptor)

    @property
    def waiting(self) -> bool:
        """Whether there is something that was not written yet."""
        return bool(self._waiting or self._dropped)

    @property
    def name(self) -> int:
        """The descriptor, as files that are opened by number have it."""
        return self._descriptor

    def writable(self) -> bool:
        """Return whether this can be written: it can."""
        return True

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._descriptor

    def isatty(self) -> bool:
        """Return whether the descriptor is a terminal."""
        return os.isatty(self._descriptor)

    def write(self, data: Any, /) -> int:
        """Write ``data``, now or later."""
        with self._lock:
            self._add(bytes(data))
            self._write_waiting()
        return len(data)

    def flush(self) -> None:
        """Write what waits, as far as that goes without waiting."""
        with self._lock:
            self._write_waiting()

    def wait(self, timeout_s: float) -> None:
        """Wait until the reader takes more, ``timeout_s`` at most."""
        ready = select.poll()
        ready.register(self._private, select.POLLOUT)
        ready.poll(timeout_s * 1000)

    def forget(self) -> None:
        """Forget what waits."""
        with self._lock:
            self._forget()

    def _forget(self) -> None:
        self._waiting.clear()
        self._waiting_bytes = self._dropped = 0

    def _add(self, data: bytes) -> None:
        """Let ``data`` wait, or drop it: a line as a whole, though it may come in pieces."""
        if not data:
            return
        if not self._in_line:
            full = self._waiting_bytes + len(data) > self._limit
            self._dropping = full or bool(self._dropped and self._waiting)
        self._in_line = not data.endswith(b"\n")
        if self._dropping:
            self._dropped += data.count(b"\n")
            return
        self._append_dropped()
        self._append(data)

    def _append(self, data: bytes) -> None:
        self._waiting.append(data)
        self._waiting_bytes += len(data)

    def _append_dropped(self) -> None:
        if self._dropped:
            count, self._dropped = self._dropped, 0
            self._append(f"({count} lines were not read in time and are left out)\n".encode())

    def _write_waiting(self) -> None:
        while self._waiting:
            data = self._waiting.popleft()
            try:
                written = self._write_now(data[:CHUNK_BYTES])
            except OSError:
                # It would fail again and again, at the exit for the last time.
                self._forget()
                raise
            self._waiting_bytes -= written
            if written < len(data):
                self._waiting.appendleft(data[written:])
            if not written:
                return
            if not self._waiting and not self._in_line:
                self._append_dropped()

    def _write_now(self, data: bytes) -> int:
        """Return how many bytes of ``data`` could be written at once."""
        ready = select.poll()
        ready.register(self._private, select.POLLOUT)
        if not ready.poll(0):
            return 0
        try:
            return os.write(self._private, data)
        except BlockingIOError:
            return 0


def _reopened(descriptor: int) -> int:
    """Return a descriptor of the same pipe or terminal that never blocks, or ``descriptor`` if there is none.

    O_NONBLOCK of the descriptor itself would be that of all processes that share it, such as the shell. A pipe
    of another user, as in a container, can't be opened again: it takes PIPE_BUF bytes after poll says so.
    """
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISFIFO(mode) or os.isatty(descriptor):
        with contextlib.suppress(OSError):
            flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
            return os.open(f"/proc/self/fd/{descriptor}", flags)
    return descriptor


def _open_closed() -> None:
    for descriptor in (STDIN, STDOUT, STDERR):
        try:
            os.fstat(descriptor)
        except OSError:
            flags = os.O_RDONLY if descriptor == STDIN else os.O_WRONLY
            opened = os.open(os.devnull, flags)
            if opened != descriptor:
                os.dup2(opened, descriptor)
                os.close(opened)
            os.set_inheritable(descriptor, True)


def visible(text: str) -> str:
    """Return ``text`` with its control characters written out: what a peer sends must not steer a terminal."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
