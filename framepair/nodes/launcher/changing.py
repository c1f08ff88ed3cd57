"""How the sources of a pipeline that runs change, step by step. Pure, as the supervisor is."""

from __future__ import annotations

from typing import Protocol

from framepair.nodes.common import exit_codes
from framepair.nodes.launcher.commands import Node
from framepair.nodes.launcher.events import ChangeAsked
from framepair.protocol.transport.heartbeat import Word

# What a producer has to stop before it is killed.
STOP_S = 3.0


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

    def say_changed(self, code: int) -> None:
        """Say that a change is over."""


class Changing:
    """Carries out one change at a time.

    1. The combiner takes the list of sources, or refuses it, and then nothing has changed.
    2. Producers are added; those that are replaced stop, and their successors start once they have ended.
    3. When the last pairs of the sources removed are out, their producers stop.
    4. When those have ended, the change is made.

    Where the combiner runs on another host, or nothing changes for it, 1 and 3 need not be waited for.
    """

    def __init__(self, nodes: Nodes) -> None:
        self._nodes = nodes
        self._change: ChangeAsked | None = None
        self._is_applied = self._is_closed = False
        self._leaving: dict[Node, float] = {}
        """Nodes that were asked to stop, and when they are killed."""
        self._successors: dict[Node, Node] = {}

    @property
    def due_s(self) -> float:
        """When a node that was asked to stop has had its time."""
        return min(self._leaving.values(), default=float("inf"))

    def begin(self, change: ChangeAsked, now_s: float) -> None:
        """Begin a change; the one before is over."""
        self._change, self._is_applied, self._is_closed = change, False, False
        if change.version is None:
            self._apply(change, now_s)
            self._close(change, now_s)

    def hear(self, word: Word, version: float, now_s: float) -> None:
        """Take note of what the combiner says of a list of sources."""
        change = self._change
        if change is None or version != change.version:
            return
        if word == "took":
            self._apply(change, now_s)
        elif word == "closed":
            self._close(change, now_s)
        elif word == "refused":
            self._finish(exit_codes.USAGE)

    def note_end(self, node: Node) -> bool:
        """Take note of a node's end; return whether that was asked for here."""
        if self._leaving.pop(node, None) is None:
            return False
        self._go_on_without(node)
        self._check()
        return True

    def check_time(self, now_s: float) -> None:
        """Kill nodes that were asked to stop and take too long."""
        for node in [node for node, until_s in self._leaving.items() if now_s >= until_s]:
            self._nodes.kill_node(node)
            self.note_end(node)

    def give_up(self) -> None:
        """Take note that everything stops."""
        self._leaving.clear()
        if self._change is not None:
            self._finish(exit_codes.FAILED)

    def _apply(self, change: ChangeAsked, now_s: float) -> None:
        # A combiner that is started again says once more that it took the list.
        if self._is_applied:
            return
        self._is_applied = True
        for node in change.added:
            self._nodes.add_node(node)
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
            self._go_on_without(node)

    def _go_on_without(self, node: Node) -> None:
        successor = self._successors.pop(node, None)
        # First: without any source left everything would end.
        if successor is not None:
            self._nodes.add_node(successor)
        self._nodes.drop_node(node)

    def _check(self) -> None:
        if self._change is not None and self._is_closed and not self._leaving:
            self._finish(0)

    def _finish(self, code: int) -> None:
        self._change = None
        self._successors.clear()
        self._nodes.say_changed(code)
