"""The launcher's end of the pipe to its guard."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys

from nodes.launching.guard import GOODBYE
from nodes.launching.python_path import python_path
from nodes.launching.remains import Remains
from nodes.launching.say import say

COMMAND = (sys.executable, "-P", "-m", "nodes.launching.guard")
# How long the launcher waits for a guard that has nothing left to do.
END_S = 1.0


class Guard:
    """While entered, a process that ends the nodes and clears ``remains`` should the launcher be killed.

    It shares ``lock``, which holds the run directory: nobody else uses that until it is clear. Without the
    guard, because it can't be started or was killed itself, all goes on as with it.
    """

    def __init__(self, remains: Remains, lock: int | None) -> None:
        self._remains = remains
        self._lock = lock
        self._pipe = -1
        self._popen: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Guard:
        reader, self._pipe = os.pipe()
        # A guard that is stopped doesn't read, and nobody should wait for it.
        os.set_blocking(self._pipe, False)
        try:
            self._popen = subprocess.Popen(  # noqa: S603
                (*COMMAND, str(self._remains)),
                env={**os.environ, **python_path()},
                stdin=reader,
                stdout=subprocess.DEVNULL,
                pass_fds=() if self._lock is None else (self._lock,),
                # A signal to all that the launcher started should not reach it.
                start_new_session=True,
            )
        except OSError as error:
            say(f"cannot start the guard: {error}")
        finally:
            os.close(reader)
        return self

    def __exit__(self, *_: object) -> None:
        self._tell(GOODBYE)
        os.close(self._pipe)
        if self._popen is None:
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(END_S)
        self._dismiss()

    def began(self, group: int) -> None:
        """Say that there is such a process group."""
        self._tell(f"+{group}")

    def ended(self, group: int) -> None:
        """Say that it has ended; its id may become another's."""
        self._tell(f"-{group}")

    def _tell(self, word: str) -> None:
        if self._popen is None:
            return
        try:
            os.write(self._pipe, f"{word}\n".encode())
        except OSError:
            # What it knows is no longer right, or it is dead already.
            self._dismiss()

    def _dismiss(self) -> None:
        if self._popen is not None:
            self._popen.kill()
            self._popen.wait()
            self._popen = None
