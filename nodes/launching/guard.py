"""The guard: a small process that outlives a launcher that was killed, and ends and removes what that left.

Nodes hear of the launcher's death from the kernel and stop by themselves. But one that hangs doesn't, nor does
a user's program that doesn't care, or what that started; and who is killed removes no sockets and no rings.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nodes.launching.remains import Remains

# It ends when the launcher does, however that is ended, and not before.
IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
GOODBYE = "goodbye"
# What nodes have to stop by themselves, and what the kernel may take to end those that were killed: with the
# removal of files, all is gone within two seconds.
GRACE_S, KILL_S = 1.0, 0.4
LOCKS_S, POLL_S = 0.4, 0.02


def main() -> None:
    """Read what the launcher tells until its end; if that came without a goodbye, tidy up."""
    for number in IGNORED:
        signal.signal(number, signal.SIG_IGN)
    groups = left_behind(sys.stdin)
    if groups is None:
        return
    until_s = time.monotonic() + GRACE_S
    ask(groups)
    remains = _remains(sys.argv[1])
    end(groups, until_s)
    clear(remains)


def left_behind(lines: Iterable[str]) -> set[int] | None:
    """Return the groups that were begun (+PID) and not ended (-PID); None if there was a goodbye."""
    groups: set[int] = set()
    for line in lines:
        word = line.strip()
        if word == GOODBYE:
            return None
        if word.startswith("+"):
            groups.add(int(word[1:]))
        else:
            groups.discard(int(word[1:]))
    return groups


def ask(groups: Collection[int]) -> None:
    """Have all processes of ``groups`` stop by themselves, if they do."""
    from nodes.launching.groups import ask_followers, send

    # The kernel told the nodes of the launcher's death, but not what they started, nor who is stopped.
    ask_followers(groups)
    send(signal.SIGCONT, groups)


def end(groups: Collection[int], until_s: float) -> None:
    """Wait for the end of all processes of ``groups``, and kill those that are left at ``until_s``."""
    from nodes.launching.groups import send, still_there

    stubborn = still_there(groups, until_s - time.monotonic())
    send(signal.SIGKILL, stubborn)
    still_there(stubborn, KILL_S)


def clear(remains: Remains) -> None:
    """Remove ``remains``; a process that seems to have ended may have threads that still hold its locks."""
    until_s = time.monotonic() + LOCKS_S
    remains.clear()
    while remains.has_rings() and time.monotonic() < until_s:
        time.sleep(POLL_S)
        remains.clear()


def _remains(text: str) -> Remains:
    # Not at the start: a guard that is not needed should take neither time nor memory. And while the nodes
    # stop there is nothing else to do.
    from nodes.launching.remains import Remains

    return Remains.parse(text)


if __name__ == "__main__":
    main()
