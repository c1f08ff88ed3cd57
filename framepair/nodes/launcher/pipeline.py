"""The launcher's loop: waits for signals, for nodes and for time, and does what the supervisor says."""

from __future__ import annotations

import contextlib
import select
import signal
import time
from collections.abc import Sequence

from framepair.nodes.common import streams
from framepair.nodes.launcher.console import say
from framepair.nodes.launcher.events import (
    Action,
    Changed,
    EndAt,
    Ended,
    Event,
    Heard,
    Kill,
    PlayAt,
    Report,
    ReportAsked,
    Say,
    Signalled,
    Start,
    StartFailed,
    Terminate,
)
from framepair.nodes.launcher.processes import Processes
from framepair.nodes.launcher.reload_requests import Reloader
from framepair.nodes.launcher.service_manager import ServiceManager
from framepair.nodes.launcher.signal_queue import SignalQueue
from framepair.nodes.launcher.supervisor import Supervisor

STDOUT = 1


class Pipeline:
    """Runs the nodes of ``supervisor`` as ``processes``, and has ``reloader`` change them.

    ``hang_up_reloads``: SIGHUP has the configuration read again, instead of ending everything.
    """

    def __init__(
        self,
        supervisor: Supervisor,
        processes: Processes,
        signals: SignalQueue,
        manager: ServiceManager,
        reloader: Reloader,
        *,
        verbose: bool,
        hang_up_reloads: bool = False,
    ) -> None:
        self._reloader = reloader
        self._hang_up_reloads = hang_up_reloads
        self._manager = manager
        self._supervisor = supervisor
        self._processes = processes
        self._signals = signals
        self._verbose = verbose

    def run(self) -> int:
        """Start the nodes, wait until they have ended or something asks for a stop; return the exit code."""
        try:
            self._act(self._supervisor.begin())
            while self._supervisor.exit_code is None:
                for event in self._wait(self._supervisor.wake_s):
                    self._act(self._supervisor.handle(event, time.monotonic()))
                self._act(self._supervisor.handle(self._reloader.next(), time.monotonic()))
                self._manager.tell(self._supervisor.condition, time.monotonic())
                streams.flush()
        finally:
            self._processes.kill()
        return self._supervisor.exit_code

    def _wait(self, until_s: float) -> Sequence[Event]:
        """Return what has happened: what nodes said comes before their end."""
        number = self._signals.wait(until_s)
        heard: list[Event] = [Heard(node, *said) for node, said in self._processes.words()]
        if number is None:
            return heard
        if number == signal.SIGUSR1:
            return [*heard, ReportAsked()]
        if number == signal.SIGHUP and self._hang_up_reloads:
            self._reloader.ask()
            return heard
        if number != signal.SIGCHLD:
            return [*heard, Signalled(number)]
        return [*heard, *self._ends()]

    def _ends(self) -> list[Event]:
        events: list[Event] = []
        for node, end in self._processes.reap():
            events += [Heard(node, *said) for said in end.words]
            unread = node.kind == "sink" and is_unread(STDOUT)
            events.append(Ended(node, end.status, end.last_lines, unread=unread))
        return events

    def _act(self, actions: Sequence[Action]) -> None:
        for action in actions:
            match action:
                case Start(node, again):
                    try:
                        pid = self._processes.start(node, again=again)
                    except (OSError, ValueError) as error:
                        # What else should have been done is no use any more.
                        failed = StartFailed(node, str(error))
                        self._act(self._supervisor.handle(failed, time.monotonic()))
                        return
                    if self._verbose:
                        say(f"started {node.name} as process {pid}")
                case EndAt(node, until_ns):
                    self._processes.tell(node, f"until {until_ns}\n")
                case PlayAt(node, at_ns):
                    self._processes.tell(node, f"play {at_ns}\n")
                case Terminate(node):
                    self._processes.terminate(node)
                case Kill(nodes):
                    self._processes.kill(nodes)
                case Report(node):
                    self._processes.signal(node, signal.SIGUSR1)
                case Say(sentence, level):
                    say(sentence, level)
                case Changed():
                    self._reloader.finish(action)


def is_unread(descriptor: int) -> bool:
    """Return whether the other end of a pipe is closed, as when ``head`` has its lines."""
    poll = select.poll()
    with contextlib.suppress(OSError):
        poll.register(descriptor, 0)
        return any(events & select.POLLERR for _, events in poll.poll(0))
    return False
