"""The guard: a small process that outlives a launcher that was killed, and ends and removes what that left.

Nodes hear of the launcher's death from the kernel and stop by themselves. But one that hangs doesn't, nor does
a user's program that doesn't care, or what that started; and a killed process removes no sockets and no rings.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from framepair.nodes.common import streams
from framepair.nodes.launcher.console import say
from framepair.nodes.launcher.python_path import python_path

if TYPE_CHECKING:
    from framepair.nodes.launcher.cleanup import Leftovers


COMMAND = (sys.executable, "-P", "-m", "framepair.nodes.launcher.guard")
# How long the launcher waits for a guard that has nothing left to do.
END_S = 1.0


class Guard:
    """While entered, a process that ends the nodes and removes ``leftovers`` should the launcher be killed.

    It shares ``lock``, the run directory's: no other pipeline uses that until all is removed. The pipeline also
    works without a guard, because it can't be started or was killed itself.
    """

    def __init__(self, leftovers: Leftovers, lock: int | None) -> None:
        self.leftovers = leftovers
        """What there is to remove at the end, also without the launcher's death."""
        self._lock = lock
        self._pipe = -1
        self._popen: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Guard:
        reader, self._pipe = os.pipe()
        # A guard that is stopped doesn't read, and the launcher must not wait for it.
        os.set_blocking(self._pipe, False)
        try:
            self._popen = subprocess.Popen(  # noqa: S603
                (*COMMAND, str(self.leftovers)),
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

    def add_group(self, group: int) -> None:
        """Tell the guard of a process group."""
        self._tell(f"+{group}")

    def remove_group(self, group: int) -> None:
        """Tell the guard that a process group has ended; its id may become another's."""
        self._tell(f"-{group}")

    def expect_rings(self) -> None:
        """Remove rings at the end, too: there may be some from now on."""
        self.leftovers = replace(self.leftovers, shared=True)
        self._tell(RINGS)

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


# It ends when the launcher does, however that is ended, and not before.
IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
GOODBYE, RINGS = "goodbye", "rings"
# What nodes have to stop by themselves, and what the kernel may take to end those that were killed: with the
# removal of files, all is gone within two seconds.
GRACE_S, KILL_S = 1.0, 0.4
LOCKS_S, POLL_S = 0.4, 0.02


def main() -> None:
    """Read what the launcher tells until its end; if that came without a goodbye, tidy up."""
    streams.prepare()
    for number in IGNORED:
        signal.signal(number, signal.SIG_IGN)
    rings = set[str]()
    groups = left_behind(sys.stdin, rings)
    if groups is None:
        return
    until_s = time.monotonic() + GRACE_S
    ask(groups)
    leftovers = _leftovers(sys.argv[1], shared=bool(rings))
    end(groups, until_s)
    remove(leftovers)


def left_behind(lines: Iterable[str], others: set[str] | None = None) -> set[int] | None:
    """Return the groups that were begun (+PID) and not ended (-PID); None if there was a goodbye.

    Other words are added to ``others``.
    """
    groups: set[int] = set()
    for line in lines:
        word = line.strip()
        if word == GOODBYE:
            return None
        if word.startswith("+"):
            groups.add(int(word[1:]))
        elif word.startswith("-"):
            groups.discard(int(word[1:]))
        elif others is not None:
            others.add(word)
    return groups


def ask(groups: Collection[int]) -> None:
    """Have all processes of ``groups`` stop by themselves, if they do."""
    from framepair.nodes.launcher.process_groups import send, terminate_children

    # The kernel told the nodes of the launcher's death, but not what they started, nor who is stopped.
    terminate_children(groups)
    send(signal.SIGCONT, groups)


def end(groups: Collection[int], until_s: float) -> None:
    """Wait for the end of all processes of ``groups``, and kill those that are left at ``until_s``."""
    from framepair.nodes.launcher.process_groups import send, wait_until_empty

    stubborn = wait_until_empty(groups, until_s - time.monotonic())
    send(signal.SIGKILL, stubborn)
    wait_until_empty(stubborn, KILL_S)


def remove(leftovers: Leftovers) -> None:
    """Remove ``leftovers``; a process that seems to have ended may have threads that still hold its locks."""
    until_s = time.monotonic() + LOCKS_S
    leftovers.remove()
    while leftovers.has_rings() and time.monotonic() < until_s:
        time.sleep(POLL_S)
        leftovers.remove()


def _leftovers(text: str, *, shared: bool) -> Leftovers:
    # Not at the start: a guard that is not needed should take neither time nor memory. And while the nodes
    # stop there is nothing else to do.
    from framepair.nodes.launcher.cleanup import Leftovers

    leftovers = Leftovers.parse(text)
    return replace(leftovers, shared=leftovers.shared or shared)


if __name__ == "__main__":
    main()
