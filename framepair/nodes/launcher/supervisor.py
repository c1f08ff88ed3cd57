"""What becomes of a pipeline when a node ends or hangs, a signal comes or time is up."""

from __future__ import annotations

import contextlib
import math
import os
import select
import signal
import sys
import time
from collections.abc import Iterable, Sequence

from framepair.nodes.common import exit_codes
from framepair.nodes.common.fault_spec import Fault
from framepair.nodes.launcher.commands import Kind, Node
from framepair.nodes.launcher.console import say
from framepair.nodes.launcher.process import Process
from framepair.nodes.launcher.processes import Processes
from framepair.nodes.launcher.restarts import MAX_A_MINUTE, Restarts
from framepair.nodes.launcher.signal_queue import SignalQueue


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


# Frames flow this way, so what is on its way when one kind stops is still taken by the next.
STOP_ORDER: tuple[Kind, ...] = ("producer", "combiner", "sink")
# How long each kind may take to stop before it is killed: all of them within five seconds. Cameras and large
# rings take their time, and what producers don't need of theirs is left to the others.
PRODUCERS_S, STAGE_S = 3.0, 1.0
# timeout(1) sends its signal to a process and then to its group: that is not a second Ctrl-C.
ECHO_S = 0.5


class Pipeline:
    """Runs the nodes: starts those again that fail, and stops all of them when there is nothing left to do."""

    def __init__(
        self,
        processes: Processes,
        signals: SignalQueue,
        *,
        settle_s: float,
        health_timeout_s: float,
        verbose: bool,
        faults: Sequence[Fault] = (),
    ) -> None:
        self._processes = processes
        self._signals = signals
        self._settle_s = settle_s
        self._health_timeout_s = health_timeout_s
        self._verbose = verbose
        self._faults = Inflicted(faults)
        self._end_by_s = math.inf
        self._restarts: dict[Node, Restarts] = {}
        self._due: dict[Node, float] = {}
        self._exit_code = 0

    def run(self, nodes: Sequence[Node]) -> int:
        """Start ``nodes``, wait until they have ended or something asks for a stop; return the exit code."""
        self._restarts = {node: Restarts(node.restart) for node in nodes}
        try:
            # All at once: they wait for each other.
            if all(self._start(node) for node in reversed(nodes)):
                self._watch()
                self._stop()
        finally:
            self._processes.kill()
        self._sum_up()
        return self._exit_code

    def end_by(self, monotonic_s: float) -> None:
        """Stop what still runs at that time."""
        self._end_by_s = monotonic_s

    def _start(self, node: Node) -> bool:
        try:
            process = self._processes.start(node, again=self._restarts[node].count > 0)
        except (OSError, ValueError) as error:
            say(f"cannot start {node.name}: {error}")
            self._exit_code = exit_codes.FAILED
            return False
        if self._verbose:
            say(f"started {node.name} as process {process.pid}")
        return True

    def _watch(self) -> None:
        """Return when all nodes have ended or the rest should stop."""
        while self._processes or self._due:
            due_s = min(self._due.values(), default=math.inf)
            silent_s = self._processes.next_due_s(self._health_timeout_s)
            fault_s = self._inflict()
            number = self._signals.wait(min(self._end_by_s, due_s, silent_s, fault_s))
            if number not in (None, signal.SIGCHLD) or time.monotonic() >= self._end_by_s:
                return
            if not self._turn():
                return

    def _inflict(self) -> float:
        """Do to processes what was asked for and is due; return when more is."""
        now_s = time.monotonic()
        for process in self._processes.working():
            self._faults.began(process.node.key, process.pid, now_s)
        for pid, number in self._faults.act(now_s):
            say(f"process {pid} gets {number.name}, as asked for")
        return self._faults.next_s

    def _turn(self) -> bool:
        """Take note of what ended or hangs, start what is due; return whether the pipeline goes on."""
        going_on = [self._goes_on(process, status) for process, status in self._processes.reap()]
        for process in self._processes.silent(self._health_timeout_s):
            say(f"{process.node.name} hangs: it gave no sign of work for {self._silence(process)}")
            self._processes.kill([process.node])
            going_on.append(self._goes_on(process, -signal.SIGKILL))
        now_s = time.monotonic()
        for node in [node for node, due_s in self._due.items() if due_s <= now_s]:
            del self._due[node]
            going_on.append(self._start(node))
        return all(going_on)

    def _goes_on(self, process: Process, status: int) -> bool:
        """Take note of how a node ended, and tell whether the pipeline goes on."""
        node, restarts = process.node, self._restarts[process.node]
        self._faults.ended(process.pid)
        if self._refused(process, status):
            # It has said why; whatever the others would report now only hides that.
            self._exit_code = exit_codes.USAGE
            self._processes.kill()
            return False
        if node.kind == "sink" and nobody_reads(sys.stdout.fileno()):
            return False
        if process.is_done or not restarts.wanted(status):
            return self._goes_on_without(node, status)
        pause_s = restarts.pause_s(time.monotonic(), process.started_s)
        if pause_s is None:
            self._give_up_on(process, status)
            return False
        say(f"{node.name} ended with {described(status)}: it is started again in {pause_s:g} s")
        self._due[node] = time.monotonic() + pause_s
        return True

    def _refused(self, process: Process, status: int) -> bool:
        """Tell whether a node of ours never worked, as it was asked for what can't be done."""
        first = self._restarts[process.node].count == 0
        ours = process.node.is_ours
        return status == exit_codes.USAGE and ours and first and not process.is_ready

    def _goes_on_without(self, node: Node, status: int) -> bool:
        """Take note that ``node`` isn't started again, and tell whether the rest goes on."""
        producing = self._producing()
        if node.kind == "sink" and status == 0:
            return False
        if status != 0:
            others = node.kind == "producer" and producing
            self._fail(node, status, ": the others go on" if others else "")
            return others
        if node.kind == "combiner" or not producing:
            self.end_by(time.monotonic() + self._settle_s)
        # A combiner waits for the return of a producer that died, though nobody restarts it.
        return producing or self._exit_code == 0

    def _producing(self) -> bool:
        waiting = any(node.kind == "producer" for node in self._due)
        return waiting or bool(self._processes.running("producer"))

    def _give_up_on(self, process: Process, status: int) -> None:
        often = f": for the {MAX_A_MINUTE + 1}th time in a minute, so everything stops"
        self._fail(process.node, status, often)
        for line in process.last_lines:
            say(f"  {line}")

    def _stop(self) -> None:
        """Stop what runs, kind by kind, in the order in which frames flow."""
        for node in [node for node in self._due if not node.is_ours]:
            say(f"{node.name} was not running at the end")
            self._exit_code = self._exit_code or exit_codes.FAILED
        self._due.clear()
        began_s = deadline_s = time.monotonic()
        for kind in STOP_ORDER:
            self._processes.terminate(kind)
            # What one kind doesn't need of its time is left to the next.
            deadline_s += PRODUCERS_S if kind == "producer" else STAGE_S
            while running := self._processes.running(kind):
                number = self._signals.wait(deadline_s)
                if number == signal.SIGINT and time.monotonic() > began_s + ECHO_S:
                    self._exit_code = exit_codes.INTERRUPTED
                    return
                if number is None and time.monotonic() >= deadline_s:
                    self._give_up(running)
                for process, status in self._processes.reap():
                    # One that hadn't come to handle signals yet ends of SIGTERM.
                    if status not in (0, -signal.SIGTERM):
                        self._fail(process.node, status)

    def _give_up(self, nodes: list[Node]) -> None:
        self._processes.kill(nodes)
        for node in nodes:
            say(f"{node.name} did not stop in time and was killed")
            # A producer whose camera hangs has nothing more to say; without the others, pairs are lost.
            if node.kind != "producer":
                self._exit_code = self._exit_code or exit_codes.FAILED

    def _fail(self, node: Node, status: int, consequence: str = "") -> None:
        say(f"{node.name} ended with {described(status)}{consequence}")
        self._exit_code = self._exit_code or exit_codes.FAILED

    def _silence(self, process: Process) -> str:
        return f"{time.monotonic() - process.heard_s:.1f} s"

    def _sum_up(self) -> None:
        counts = {node.name: restarts.count for node, restarts in self._restarts.items()}
        if any(counts.values()):
            say(
                "restarts: "
                + ", ".join(f"{name} {count}" for name, count in counts.items() if count)
            )


def described(status: int) -> str:
    """Return how a process ended, in words."""
    if status < 0:
        return f"signal {-status} ({signal.strsignal(-status)})"
    return f"exit status {status}"


def nobody_reads(descriptor: int) -> bool:
    """Tell whether the other end of a pipe is closed, as when ``head`` has its lines."""
    poll = select.poll()
    poll.register(descriptor, 0)
    return any(events & select.POLLERR for _, events in poll.poll(0))
