"""How the sources of a pipeline that runs change, step by step. Pure, as the supervisor is."""

from __future__ import annotations

import math
from typing import Protocol

from framepair.nodes.common import exit_codes
from framepair.nodes.launcher.commands import Node
from framepair.nodes.launcher.events import ChangeAsked, Changed
from framepair.protocol.transport.heartbeat import Word

# What a producer has to stop before it is killed.
STOP_S = 3.0
# What the combiner has to take a list: one that was killed is started again meanwhile.
TAKE_S = 30.0
# What a new producer has to open its source, beside the patience of its node: it starts on a busy machine.
OPEN_S = 30.0


class Nodes(Protocol):
    """What can be done with the nodes of a pipeline."""

    def add_node(self, node: Node) -> None:
        """Start one more node, and watch it."""

    def drop_node(self, node: Node) -> None:
        """Forget a node that does not run."""

    def stop_node(self, node: Node) -> bool:
        """Ask a node to stop; return False if it does not run."""

    def kill_node(self, node: Node) -> None:
        """Kill a node."""

    def report_change(self, changed: Changed) -> None:
        """Tell the reloader that a change is over."""


class SourceChanges:
    """Carries out one change at a time.

    1. The combiner takes the list of sources, or refuses it, and then nothing has changed.
    2. Producers are added; those that are replaced stop, and their successors start once they have ended.
    3. When the last pairs of the sources removed are out, their producers stop.
    4. When those have ended, and the new ones have opened their sources, the change is made.

    A new producer that ends before it has opened its source makes the change a failure; the others go on.
    Where the combiner runs on another host, or nothing changes for it, 1 and 3 need not be waited for.
    """

    def __init__(self, nodes: Nodes) -> None:
        self._nodes = nodes
        self._change: ChangeAsked | None = None
        self._is_applied = self._is_closed = False
        self._leaving: dict[Node, float] = {}
        """Nodes that were asked to stop, and when they are killed."""
        self._successors: dict[Node, Node] = {}
        self._take_s = math.inf
        """When the combiner must have taken the list."""
        self._opening: dict[Node, float] = {}
        """New nodes whose sources are not open yet, and how long to wait for that."""
        self._failures: list[str] = []
        self._dropped: list[Node] = []

    @property
    def due_s(self) -> float:
        """When a node or the combiner has had its time."""
        return min((self._take_s, *self._leaving.values(), *self._opening.values()))

    def begin(self, change: ChangeAsked, now_s: float) -> None:
        """Begin a change; the one before is over."""
        self._change, self._is_applied, self._is_closed = change, False, False
        self._failures, self._dropped = [], []
        self._take_s = now_s + TAKE_S
        if change.version is None:
            self._apply(change, now_s)
            self._close(change, now_s)

    def hear(self, word: Word, version: float, now_s: float) -> None:
        """Go on with the change as the combiner says of its list of sources."""
        change = self._change
        if change is None or version != change.version:
            return
        if word == "took":
            self._apply(change, now_s)
        elif word == "closed":
            self._close(change, now_s)
        elif word == "refused":
            reason = "the combiner refused it, and says above why: all stays as it was"
            self._finish(Changed(exit_codes.USAGE, reason, is_taken=False))

    def note_open(self, node: Node) -> None:
        """Stop waiting for a new producer, which has opened its source."""
        if self._opening.pop(node, None) is not None:
            self._check()

    def note_failure(self, node: Node, reason: str, *, is_dropped: bool) -> None:
        """Count it as a failure if ``node`` is new and has not opened its source before its end."""
        if self._opening.pop(node, None) is not None:
            self._failures.append(f"{node.key}: {reason}")
            self._dropped += [node] if is_dropped else []
            self._check()

    def note_end(self, node: Node, now_s: float) -> bool:
        """Go on with the change if ``node`` was asked to stop here; return whether it was."""
        if self._leaving.pop(node, None) is None:
            return False
        self._go_on_without(node, now_s)
        self._check()
        return True

    def check_time(self, now_s: float) -> None:
        """Kill nodes that take too long to stop, and wait no longer for others than they may take."""
        for node in [node for node, until_s in self._leaving.items() if now_s >= until_s]:
            self._nodes.kill_node(node)
            self.note_end(node, now_s)
        for node in [node for node, until_s in self._opening.items() if now_s >= until_s]:
            self.note_failure(node, "its source is not open yet", is_dropped=False)
        if now_s >= self._take_s:
            reason = f"the combiner did not answer within {TAKE_S:g} s: all stays as it was"
            self._finish(Changed(exit_codes.FAILED, reason, is_taken=False))

    def give_up(self) -> None:
        """End a change as a failure, because everything stops."""
        self._leaving.clear()
        if self._change is not None:
            self._finish(Changed(exit_codes.FAILED, "the pipeline stops"))

    def _apply(self, change: ChangeAsked, now_s: float) -> None:
        # A combiner that is started again says once more that it took the list.
        if self._is_applied:
            return
        self._is_applied, self._take_s = True, math.inf
        for node in change.added:
            self._add(node, now_s)
        for former, successor in change.replaced:
            self._successors[former] = successor
            self._stop(former, now_s)

    def _close(self, change: ChangeAsked, now_s: float) -> None:
        if self._is_closed:
            return
        for node in change.removed:
            self._stop(node, now_s)
        self._is_closed = True
        self._check()

    def _stop(self, node: Node, now_s: float) -> None:
        if self._nodes.stop_node(node):
            self._leaving[node] = now_s + STOP_S
        else:
            self._go_on_without(node, now_s)

    def _add(self, node: Node, now_s: float) -> None:
        if not node.waits:
            self._opening[node] = now_s + OPEN_S + node.patience_s
        self._nodes.add_node(node)

    def _go_on_without(self, node: Node, now_s: float) -> None:
        successor = self._successors.pop(node, None)
        # First: without any source left everything would end.
        if successor is not None:
            self._add(successor, now_s)
        self._nodes.drop_node(node)

    def _check(self) -> None:
        if self._change is None or not self._is_closed or self._leaving or self._opening:
            return
        code = exit_codes.FAILED if self._failures else 0
        self._finish(Changed(code, "; ".join(self._failures), dropped=tuple(self._dropped)))

    def _finish(self, changed: Changed) -> None:
        self._change, self._take_s = None, math.inf
        self._successors.clear()
        self._opening.clear()
        self._nodes.report_change(changed)
