"""Changes the sources of a pipeline when it is asked to: reads what is asked for, and tells the combiner."""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from framepair.nodes.common import exit_codes, sources_file
from framepair.nodes.common.runtime import Refused, refusals
from framepair.nodes.common.sources_file import SourceList
from framepair.nodes.common.usage import sentence
from framepair.nodes.launcher.console import say
from framepair.nodes.launcher.control import Control, Reply, Request
from framepair.nodes.launcher.events import ChangeAsked, Changed
from framepair.nodes.launcher.guard import Guard
from framepair.nodes.launcher.names import COMBINER, without_secrets
from framepair.nodes.launcher.options import Options
from framepair.nodes.launcher.reload_plan import Difference, Running, compared

# A process without a controlling terminal cannot open it.
TERMINAL = Path("/dev/tty")
# Returns what the launcher is asked for now, by the text that is given or by its file.
Reread = Callable[[str | None], Options | None]


@dataclass(slots=True)
class _Pending:
    """A change that is being made: for whom, and how the pipeline runs then."""

    peer: socket.socket | None
    then: Running
    difference: Difference


class Reloader:
    """Takes one request after the other, from ``control`` or from a signal, and answers once each is done.

    ``reread`` returns the launcher's options as they are asked for now. The combiner of this host reads
    ``file``; without one, its sources stay.
    """

    def __init__(
        self,
        running: Running,
        reread: Reread,
        control: Control | None,
        file: Path | None,
        guard: Guard,
        python: tuple[str, ...],
    ) -> None:
        self._running = running
        self._reread = reread
        self._control = control
        self._file = file
        self._guard = guard
        self._python = python
        self._version = 0
        self._own: deque[Request] = deque()
        self._going: _Pending | None = None

    def ask(self) -> None:
        """Read the configuration again when no change is being made."""
        self._own.append(Request())

    def next(self) -> ChangeAsked | None:
        """Return the next change that was asked for and can be made, None while one is being made."""
        while self._going is None:
            peer: socket.socket | None = None
            if self._own:
                request = self._own.popleft()
            elif self._control is not None and (taken := self._control.take()):
                peer, request = taken
            else:
                return None
            change = self._prepared(peer, request)
            if change is not None:
                return change
        return None

    def finish(self, changed: Changed) -> None:
        """Answer the request whose change is over, and keep how the pipeline runs now."""
        going, self._going = self._going, None
        if going is None:
            return
        if changed.is_taken:
            # The next request starts those again that could not open their source.
            producers = [node for node in going.then.producers if node not in changed.dropped]
            self._running = replace(going.then, producers=tuple(producers))
        else:
            self._take_back()
        sentence = without_secrets(changed.reason) or str(going.difference)
        self._answer(going.peer, Reply(changed.code, sentence))

    def _take_back(self) -> None:
        """Write the list of sources as it was, for a combiner that starts again."""
        try:
            if self._file is not None:
                self._write(self._running)
        except OSError as error:
            say(f"cannot write {self._file}: {error.strerror}", "error")

    def _prepared(self, peer: socket.socket | None, request: Request) -> ChangeAsked | None:
        """Return what a request changes; None if it can't be, or is nothing, and has been answered."""
        try:
            then, difference = compared(self._running, self._asked(request), self._python)
            version = self._told(then)
        except refusals() as error:
            self._answer(peer, Reply(exit_codes.USAGE, without_secrets(sentence(error))))
            return None
        except OSError as error:
            self._answer(
                peer, Reply(exit_codes.FAILED, f"cannot write {self._file}: {error.strerror}")
            )
            return None
        if difference.is_empty:
            self._running = then
            self._answer(peer, Reply(0, str(difference)))
            return None
        if any(payload.one_machine for payload in then.plan.payloads.values()):
            self._guard.expect_rings()
        self._going = _Pending(peer, then, difference)
        return ChangeAsked(
            version,
            then.plan.health_timeouts_s,
            difference.nodes_added,
            difference.nodes_removed,
            difference.nodes_replaced,
        )

    def _asked(self, request: Request) -> Options:
        """Return the options that are asked for; raises Refused, or what reading them raises."""
        former = self._running.options
        if former.config is None and not request.sources:
            raise Refused(
                "this pipeline was started without --config: say which sources it shall have, as in framepair"
                " reload left=a.mp4 right=b.mp4"
            )
        options = self._reread(request.config)
        if options is None:
            return former
        return replace(options, sources=request.sources) if request.sources else options

    def _told(self, then: Running) -> int | None:
        """Tell the combiner of this host what it receives; return the list's version, None if it stays."""
        if then.plan.endpoints.pull == self._running.plan.endpoints.pull:
            return None
        if not then.plan.here(COMBINER):
            return None
        if self._file is None:
            raise Refused("the combiner needs a run directory for this: start again with --run-dir")
        return self._write(then)

    def _write(self, running: Running) -> int:
        """Write the list of sources as in ``running``; return its version."""
        self._version += 1
        if self._file is not None:
            pull = running.plan.endpoints.pull
            sources_file.write(self._file, SourceList(self._version, pull))
        return self._version

    def _answer(self, peer: socket.socket | None, reply: Reply) -> None:
        say(f"sources: {reply.sentence}", "error" if reply.code else "info")
        if peer is not None and self._control is not None:
            self._control.answer(peer, reply)


def hang_up_reloads(options: Options) -> bool:
    """Return whether SIGHUP has the configuration read again: there is one, and no terminal that was closed."""
    if options.config is None:
        return False
    try:
        with TERMINAL.open("rb", buffering=0):
            return False
    except OSError:
        return True
