"""The faults kill and stop: signals that the launcher sends to a node, from when on that works."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import time
from collections.abc import Iterable, Sequence

from framepair.nodes.common.fault_spec import Fault
from framepair.nodes.launcher.commands import Node
from framepair.nodes.launcher.console import say
from framepair.nodes.launcher.events import Ended, Event, Heard
from framepair.nodes.launcher.options import Options
from framepair.nodes.launcher.pipeline import Pipeline
from framepair.nodes.launcher.processes import Processes
from framepair.nodes.launcher.reload_requests import Reloader, hang_up_reloads
from framepair.nodes.launcher.service_manager import ServiceManager
from framepair.nodes.launcher.signal_queue import SignalQueue
from framepair.nodes.launcher.supervisor import Supervisor


class FaultSchedule:
    """Which signals are due for which process, counted from when its node works."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self._planned = list(faults)
        self._due: list[tuple[float, int, signal.Signals]] = []

    def add_process(self, node: str, pid: int, now_s: float) -> None:
        """Plan the faults of ``node`` for its process ``pid``; later processes of that node are spared."""
        for fault in [fault for fault in self._planned if fault.node == node]:
            self._planned.remove(fault)
            at_s = now_s + fault.from_s
            if fault.kind == "kill":
                self._due.append((at_s, pid, signal.SIGKILL))
            else:
                self._due.append((at_s, pid, signal.SIGSTOP))
                self._due.append((at_s + fault.for_s, pid, signal.SIGCONT))

    def keep(self, pids: Iterable[int]) -> None:
        """Forget all processes but ``pids``: an id may become another process's."""
        left = set(pids)
        self._due = [due for due in self._due if due[1] in left]

    @property
    def next_s(self) -> float:
        """When the next signal is due, on the monotonic clock."""
        return min((at_s for at_s, _, _ in self._due), default=math.inf)

    def take(self, now_s: float) -> list[tuple[int, signal.Signals]]:
        """Return the signals that are due, each with its process, and forget them."""
        due = sorted(entry for entry in self._due if entry[0] <= now_s)
        self._due = [entry for entry in self._due if entry[0] > now_s]
        return [(pid, number) for _, pid, number in due]


class FaultyPipeline(Pipeline):
    """A pipeline some of whose nodes are killed or stopped, as ``faults`` say."""

    def __init__(
        self,
        supervisor: Supervisor,
        processes: Processes,
        signals: SignalQueue,
        manager: ServiceManager,
        reloader: Reloader,
        faults: Iterable[Fault],
        *,
        verbose: bool,
        hang_up_reloads: bool = False,
    ) -> None:
        super().__init__(
            supervisor,
            processes,
            signals,
            manager,
            reloader,
            verbose=verbose,
            hang_up_reloads=hang_up_reloads,
        )
        self._schedule = FaultSchedule(faults)
        self._ready: set[Node] = set()

    def _wait(self, until_s: float) -> Sequence[Event]:
        pids = self._processes.pids()
        self._schedule.keep(pids.values())
        now_s = time.monotonic()
        for node, pid in pids.items():
            if node in self._ready or not node.is_ours:
                self._schedule.add_process(node.key, pid, now_s)
        for pid, number in self._schedule.take(now_s):
            say(f"process {pid} gets {number.name}, as asked for")
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        events = super()._wait(min(until_s, self._schedule.next_s))
        self._ready |= {e.node for e in events if isinstance(e, Heard) and e.word == "ready"}
        self._ready -= {event.node for event in events if isinstance(event, Ended)}
        return events


def pipeline(
    supervisor: Supervisor,
    processes: Processes,
    signals: SignalQueue,
    manager: ServiceManager,
    reloader: Reloader,
    options: Options,
    faults: Iterable[Fault],
) -> Pipeline:
    """Return the launcher's loop, with those of ``faults`` that a producer doesn't commit itself."""
    sent = [fault for fault in faults if not fault.is_the_producers]
    parts = (supervisor, processes, signals, manager, reloader)
    verbose, reloads = options.verbose, hang_up_reloads(options)
    if not sent:
        return Pipeline(*parts, verbose=verbose, hang_up_reloads=reloads)
    return FaultyPipeline(*parts, sent, verbose=verbose, hang_up_reloads=reloads)
