"""The launcher: starts the nodes of a pipeline, watches them and stops them. Knows nothing of video."""

from __future__ import annotations

import contextlib
import math
import os
import select
import signal
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from nodes.launching.signal_queue import SignalQueue

if TYPE_CHECKING:
    from nodes.launching.options import Options
    from nodes.launching.processes import Processes
    from nodes.launching.table import Kind, Node, Plan

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)
EXIT_FAILED, EXIT_USAGE, EXIT_INTERRUPTED = 1, 2, 130
# Frames flow this way, so what is on its way when one kind stops is still taken by the next.
STOP_ORDER: tuple[Kind, ...] = ("producer", "combiner", "sink")
# How long each kind may take to stop before it is killed: all of them within five seconds.
STAGE_S = 1.5
# How long the rest may go on once the videos are over. Offline, a slow consumer may hold up the last pairs.
SETTLE_S, SETTLE_OFFLINE_S = 5.0, 60.0
# timeout(1) sends its signal to a process and then to its group: that is not a second Ctrl-C.
ECHO_S = 0.5


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the pipeline that the command line asks for; return the exit code."""
    with SignalQueue(SIGNALS) as signals:
        # These take a tenth of a second to import, and a Ctrl-C in that time is no failure either.
        from cyclopts import CycloptsError

        from nodes.launching import options, table
        from nodes.runtime import Refused
        from protocol.endpoint import EndpointError

        try:
            asked = options.parse(sys.argv[1:] if arguments is None else arguments)
            if asked is None:
                return 0
            plan = table.plan(asked)
            return show(asked, plan) if asked.print else run(asked, plan, signals)
        except (CycloptsError, EndpointError, Refused) as error:
            say(" ".join(str(error).split()))
            return EXIT_USAGE


def run(options: Options, plan: Plan, signals: SignalQueue) -> int:
    """Start the nodes and return the exit code once all of them have ended."""
    from nodes.launching import run_dir, table
    from nodes.launching.processes import Processes
    from nodes.runtime import LAUNCHER_VARIABLE, LOG_LEVEL_VARIABLE
    from protocol import clock

    environment = {
        clock.OFFSET_VARIABLE: str(clock.utc_offset_ns()),
        LAUNCHER_VARIABLE: str(os.getpid()),
        LOG_LEVEL_VARIABLE: "INFO" if options.verbose else "WARNING",
    }
    offline = options.pace == "max"
    with run_dir.held(plan.run_dir, plan.endpoints) if plan.run_dir else contextlib.nullcontext():
        now_ns = clock.now_ns()
        until_ns = table.until_ns(options, now_ns)
        settle_s = SETTLE_OFFLINE_S if offline else SETTLE_S
        pipeline = Pipeline(Processes(environment), signals, settle_s)
        if until_ns is not None and not offline:
            pipeline.end_by(time.monotonic() + (until_ns - now_ns) / 1e9 + settle_s)
        try:
            return pipeline.run(table.table(options, plan, until_ns, python=(sys.executable, "-P")))
        finally:
            if "shm" in plan.payloads.values():
                run_dir.clear_shared_memory(options.shm_dir)


def show(options: Options, plan: Plan) -> int:
    """Print the nodes' commands, each to be pasted into a terminal; start nothing."""
    from nodes.launching import table

    offline = options.pace == "max"
    if options.duration is not None and not offline:
        say("--duration counts from the start: add --until UTC_SECONDS to the producers yourself")
    nodes = table.table(options, plan, table.until_ns(options, 0) if offline else None)
    if options.listen and ("//*:" in options.listen or "//0.0.0.0:" in options.listen):
        say("other machines reach the combiner at its own address: put that in place of 127.0.0.1")
    if any(node.environment for node in nodes):
        say("an address below may hold a password")
    try:
        print("\n".join(node.shell_line() for node in nodes), flush=True)
    except BrokenPipeError:
        # The reader has seen enough; Python would flush once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


class Pipeline:
    """Decides what becomes of the pipeline when a node ends, a signal comes or time is up."""

    def __init__(self, processes: Processes, signals: SignalQueue, settle_s: float) -> None:
        self._processes = processes
        self._signals = signals
        self._settle_s = settle_s
        self._end_by_s = math.inf
        self._exit_code = 0

    def run(self, nodes: Sequence[Node]) -> int:
        """Start ``nodes``, wait until they have ended or something asks for a stop; return the exit code."""
        try:
            self._start(nodes)
            self._watch()
            self._stop()
        finally:
            self._processes.kill()
        return self._exit_code

    def end_by(self, monotonic_s: float) -> None:
        """Stop what still runs at that time."""
        self._end_by_s = monotonic_s

    def _start(self, nodes: Sequence[Node]) -> None:
        """Start all nodes at once: they wait for each other."""
        for node in reversed(nodes):
            try:
                self._processes.start(node)
            except (OSError, ValueError) as error:
                say(f"cannot start {node.name}: {error}")
                self._exit_code = EXIT_FAILED
                self._processes.kill()
                return

    def _watch(self) -> None:
        """Return when all nodes have ended or the rest should stop."""
        while self._processes:
            if self._signals.wait(self._end_by_s) != signal.SIGCHLD:
                return
            ended = self._processes.reap()
            going_on = [self._goes_on_without(node, status) for node, status in ended]
            if not all(going_on):
                return

    def _goes_on_without(self, node: Node, status: int) -> bool:
        """Take note of how ``node`` ended and tell whether the rest goes on."""
        producing = bool(self._processes.running("producer"))
        if status == EXIT_USAGE:
            # It has said why; whatever the others would report now only hides that.
            self._exit_code = EXIT_USAGE
            self._processes.kill()
            return False
        if node.kind == "sink" and (status == 0 or nobody_reads(sys.stdout.fileno())):
            return False
        if status != 0:
            others = node.kind == "producer" and producing
            self._fail(node, status, ": the others go on" if others else "")
            return others
        if node.kind == "combiner" or not producing:
            self.end_by(time.monotonic() + self._settle_s)
        # A combiner waits for the return of a producer that died, though nobody restarts it.
        return producing or self._exit_code == 0

    def _stop(self) -> None:
        """Stop what runs, kind by kind, in the order in which frames flow."""
        began_s = deadline_s = time.monotonic()
        for kind in STOP_ORDER:
            self._processes.terminate(kind)
            # What one kind doesn't need of its time is left to the next.
            deadline_s += STAGE_S
            while running := self._processes.running(kind):
                number = self._signals.wait(deadline_s)
                if number == signal.SIGINT and time.monotonic() > began_s + ECHO_S:
                    self._exit_code = EXIT_INTERRUPTED
                    return
                if number is None:
                    self._give_up(running)
                for node, status in self._processes.reap():
                    # One that hadn't come to handle signals yet ends of SIGTERM.
                    if status not in (0, -signal.SIGTERM):
                        self._fail(node, status)

    def _give_up(self, nodes: list[Node]) -> None:
        self._processes.kill(nodes)
        for node in nodes:
            say(f"{node.name} did not stop in time and was killed")
            # A producer whose camera hangs has nothing more to say; without the others, pairs are lost.
            if node.kind != "producer":
                self._exit_code = self._exit_code or EXIT_FAILED

    def _fail(self, node: Node, status: int, consequence: str = "") -> None:
        how = f"exit status {status}"
        if status < 0:
            how = f"signal {-status} ({signal.strsignal(-status)})"
        say(f"{node.name} ended with {how}{consequence}")
        self._exit_code = self._exit_code or EXIT_FAILED


def nobody_reads(descriptor: int) -> bool:
    """Tell whether the other end of a pipe is closed, as when ``head`` has its lines."""
    poll = select.poll()
    poll.register(descriptor, 0)
    return any(events & select.POLLERR for _, events in poll.poll(0))


def say(sentence: str) -> None:
    """Tell the user, if anybody still listens."""
    with contextlib.suppress(OSError):
        print(f"launch: {sentence}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
