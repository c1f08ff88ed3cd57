"""What comes of the frames: since when they flow, for how long they should, and whether pairs came.

Pure, as the supervisor is, which passes on what nodes say.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from framepair.nodes.launcher.commands import Node
from framepair.nodes.launcher.pace import Duration
from framepair.protocol.transport.heartbeat import Word


class Flow:
    """When frames of all sources flow: from then on a duration counts."""

    def __init__(self, nodes: Sequence[Node], duration: Duration | None) -> None:
        self.until_ns: int | None = None
        """The capture time at which the duration ends, once it has begun."""
        self._start_timeout_s = duration.start_timeout_s if duration else math.inf
        self._begin_s = math.inf
        # On a busy machine it takes long until all nodes have started; a camera may take for ever.
        self._silent = {node for node in nodes if node.is_ours}
        # The combiner knows of all sources; producers here may be some of them.
        combiners = {node for node in nodes if node.kind == "combiner"}
        self._not_flowing = combiners or {node for node in nodes if node.kind == "producer"}
        self._can_flow = bool(self._not_flowing)
        # What is slow to start should not find that all is over, nor leave a run without its recording.
        self._not_listening = {n for n in self._silent if n.kind in ("sink", "recorder")}

    def hear(self, node: Node, word: Word, now_s: float) -> None:
        """Take note of a node's word."""
        if word == "flowing":
            self._not_flowing.discard(node)
        if word == "ready":
            self._not_listening.discard(node)
        self._hear_first(node, now_s)

    def forget(self, node: Node, now_s: float) -> None:
        """Wait for ``node`` no longer, whose source was removed."""
        self._not_flowing.discard(node)
        self._hear_first(node, now_s)

    def _hear_first(self, node: Node, now_s: float) -> None:
        if node in self._silent:
            self._silent.discard(node)
            if not self._silent:
                self._begin_s = now_s + self._start_timeout_s

    def begins(self, now_s: float) -> bool:
        """Return whether the duration begins now; False if it has begun before."""
        flowing = self._can_flow and not self._not_flowing and not self._not_listening
        return self.until_ns is None and (flowing or now_s >= self._begin_s)


class Outcome:
    """Whether pairs came: a pipeline without any has failed, unless there is a reason."""

    def __init__(self, nodes: Iterable[Node]) -> None:
        self._producers = {node for node in nodes if node.kind == "producer"}
        ours = {node.kind: node for node in nodes if node.is_ours}
        self._judge = ours.get("sink") or ours.get("combiner")
        self._paired = self._asked_to_stop = False
        self._empty = set(self._producers)
        self._over: set[Node] = set()

    def hear(self, node: Node, word: Word) -> None:
        """Take note of a node's word."""
        if node is self._judge and word == "paired":
            self._paired = True
        if word == "flowing":
            self._empty.discard(node)

    def add(self, node: Node) -> None:
        """Take note of a producer more."""
        self._producers.add(node)
        self._empty.add(node)

    def forget(self, node: Node) -> None:
        """Forget a producer whose source was removed."""
        for nodes in (self._producers, self._empty, self._over):
            nodes.discard(node)

    def source_over(self, node: Node) -> None:
        """Take note that a source has ended by itself."""
        self._over.add(node)

    def excuse(self) -> None:
        """Take note that the user wanted no more, be there pairs or not."""
        self._asked_to_stop = True

    def complaint(self, *, failures: bool, told_to_end: bool) -> str | None:
        """Return what is wrong with a run that ended well otherwise.

        ``failures``: nodes were restarted; ``told_to_end``: sources did not end by themselves.
        """
        if self._judge is None or self._paired or (self._asked_to_stop and not failures):
            return None
        if not told_to_end and self._producers and self._producers <= self._over & self._empty:
            return None
        if failures:
            return "no pair came: nodes failed, and what they said above tells why"
        return "no pair came: run for longer than two windows, with a smaller --window or with --pace max"
