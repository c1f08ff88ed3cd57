"""A supervisor of four nodes with a clock of the test's own, and what it wants done, in words."""

from __future__ import annotations

import signal
from collections.abc import Sequence

from framepair.nodes.launcher.commands import Kind, Node
from framepair.nodes.launcher.events import (
    Action,
    Changed,
    EndAt,
    Ended,
    Event,
    Heard,
    Kill,
    Report,
    ReportAsked,
    Say,
    Signalled,
    Start,
    Terminate,
)
from framepair.nodes.launcher.pace import Duration
from framepair.nodes.launcher.restarts import Policy
from framepair.nodes.launcher.supervisor import Rules, Supervisor
from framepair.protocol.transport.heartbeat import Word

SETTLE_S, HEALTH_S = 5.0, 10.0


def node(name: str, kind: Kind, restart: Policy = "on-failure", **more: bool) -> Node:
    return Node(name, kind, (name,), restart=restart, **more)  # type: ignore[arg-type]


class History:
    """A supervisor of left, right, combiner and sink; what it wants is kept in words."""

    def __init__(
        self,
        *,
        restart: Policy = "on-failure",
        duration: Duration | None = None,
        ours: bool = True,
        working: bool = True,
        kept: bool = False,
        health: dict[str, float] | None = None,
        report_every_s: float | None = None,
    ) -> None:
        self.left = node("left", "producer", restart, is_kept=kept)
        self.right = node("right", "producer", restart, is_kept=kept)
        self.combiner = node("combiner", "combiner", restart)
        self.sink = node("sink", "sink", restart, is_ours=ours)
        self.nodes = (self.left, self.right, self.combiner, self.sink)
        self.now_s = 1000.0
        self.wanted: list[str] = []
        patience = {one.key: HEALTH_S for one in self.nodes} | (health or {})
        rules = Rules(patience, SETTLE_S, duration, report_every_s)
        self.supervisor = Supervisor(self.nodes, rules, self.now_s)
        self.note(self.supervisor.begin())
        if working:
            self.work()

    @property
    def code(self) -> int | None:
        return self.supervisor.exit_code

    @property
    def said(self) -> list[str]:
        return [line.removeprefix("say ") for line in self.wanted if line.startswith("say ")]

    def note(self, actions: Sequence[Action]) -> None:
        for action in actions:
            match action:
                case Start(node, again):
                    self.wanted.append(f"{'restart' if again else 'start'} {node.name}")
                case Terminate(node):
                    self.wanted.append(f"terminate {node.name}")
                case Kill(nodes):
                    self.wanted += [f"kill {node.name}" for node in nodes]
                case EndAt(node, until_ns):
                    self.wanted.append(f"end {node.name} at {until_ns / 1e9:g}")
                case Report(node):
                    self.wanted.append(f"report {node.name}")
                case Say(sentence):
                    self.wanted.append(f"say {sentence}")
                case Changed(code, reason, _, dropped):
                    without = "".join(f": without {node.key}" for node in dropped)
                    said = f"changed {code}{reason and ': '}{reason}{without}"
                    self.wanted.append(said)

    def fail(self, one: Node, pauses_s: Sequence[float] = (0.5, 1, 2, 4, 8)) -> History:
        """Let a node end, and again after each of the pauses, as soon as it is started."""
        for pause_s in pauses_s:
            self.end(one, 1).wait(pause_s + 0.1)
        return self.end(one, 1, last_lines=["out of luck"])

    def work(self, *words: Word, nodes: Sequence[Node] = ()) -> History:
        for one in nodes or self.nodes:
            for word in words or ("ready", "flowing", "paired"):
                self.note(self.supervisor.handle(Heard(one, word), self.now_s))
        return self

    def end(self, one: Node, status: int = 0, **more: object) -> History:
        event = Ended(one, status, **more)  # type: ignore[arg-type]
        self.note(self.supervisor.handle(event, self.now_s))
        return self

    def signal(self, number: int = signal.SIGINT) -> History:
        self.note(self.supervisor.handle(Signalled(number), self.now_s))
        return self

    def happen(self, event: Event) -> History:
        self.note(self.supervisor.handle(event, self.now_s))
        return self

    def ask(self) -> History:
        self.note(self.supervisor.handle(ReportAsked(), self.now_s))
        return self

    @property
    def condition(self) -> tuple[bool, bool, str]:
        now = self.supervisor.condition
        return now.is_ready, now.is_stopping, now.sentence

    def wait(self, seconds: float, *, beating: bool = True) -> History:
        """Let time pass, in turns as the launcher has them; all nodes beat meanwhile, or none."""
        until_s = self.now_s + seconds
        while self.now_s < until_s and self.code is None:
            self.now_s = max(self.now_s + 0.001, min(until_s, self.supervisor.wake_s))
            if beating:
                self.work("beat")
            self.note(self.supervisor.handle(None, self.now_s))
        return self

    def freeze(self, seconds: float) -> History:
        """Let time pass without a turn of the launcher."""
        self.now_s += seconds
        self.note(self.supervisor.handle(None, self.now_s))
        return self

    def take(self) -> list[str]:
        """Return what was wanted since the last call."""
        wanted, self.wanted = self.wanted, []
        return wanted
