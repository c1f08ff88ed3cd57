"""The faults that are done to a process: killed, or stopped for a while."""

from __future__ import annotations

import contextlib
import math
import os
import signal
from collections.abc import Iterable

from nodes.faults.language import Fault


class Inflicted:
    """Says which signals are due for which process, from when on its node works."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self._planned = [fault for fault in faults if not fault.is_the_producers]
        self._due: list[tuple[float, int, signal.Signals]] = []

    def began(self, node: str, pid: int, now_s: float) -> None:
        """Say that the process ``pid`` of ``node`` works; later processes of that node are spared."""
        for fault in [fault for fault in self._planned if fault.node == node]:
            self._planned.remove(fault)
            at_s = now_s + fault.from_s
            if fault.kind == "kill":
                self._due.append((at_s, pid, signal.SIGKILL))
            else:
                self._due.append((at_s, pid, signal.SIGSTOP))
                self._due.append((at_s + fault.for_s, pid, signal.SIGCONT))

    def ended(self, pid: int) -> None:
        """Say that a process has ended: its number may become another's."""
        self._due = [due for due in self._due if due[1] != pid]

    @property
    def next_s(self) -> float:
        """When the next signal is due, on the monotonic clock."""
        return min((at_s for at_s, _, _ in self._due), default=math.inf)

    def act(self, now_s: float) -> list[tuple[int, signal.Signals]]:
        """Send what is due; return the signals that were sent, and to whom."""
        due = sorted(entry for entry in self._due if entry[0] <= now_s)
        self._due = [entry for entry in self._due if entry[0] > now_s]
        for _, pid, number in due:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        return [(pid, number) for _, pid, number in due]
