"""What becomes of a pipeline when a node ends or hangs, a signal comes or time is up.

Pure: a supervisor is told events and the time, and answers with actions. `pipeline` has the processes.
"""

from __future__ import annotations

import math
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from framepair.nodes.common import exit_codes
from framepair.nodes.common.log_format import Level
from framepair.nodes.common.runtime import ECHO_S
from framepair.nodes.launcher.commands import Kind, Node
from framepair.nodes.launcher.condition import Condition, State, all_flow, describe
from framepair.nodes.launcher.events import (
    Action,
    ChangeAsked,
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
from framepair.nodes.launcher.flow import Flow, Outcome
from framepair.nodes.launcher.pace import Duration
from framepair.nodes.launcher.restarts import MAX_A_MINUTE, Restarts
from framepair.nodes.launcher.source_changes import SourceChanges
from framepair.nodes.launcher.watched_time import TICK_S, WatchedTime
from framepair.protocol.transport.heartbeat import Word

# Frames flow this way, so what is on its way when one kind stops is still taken by the next.
STOP_ORDER: tuple[tuple[Kind, ...], ...] = (
    ("producer",),
    ("combiner", "relay"),
    ("recorder", "sink", "monitor"),
)
# Recordings that play wait for the others.
OPTIONAL: tuple[Kind, ...] = ("producer", "relay")
# How long each kind may take to stop before it is killed: all of them within five seconds. Cameras and large
# rings take their time, and what producers don't need of theirs is left to the others.
PRODUCERS_S, STAGE_S = 3.0, 1.0
OFTEN = f"for the {MAX_A_MINUTE + 1}th time in a minute"
# How long it takes producers at most to hear that their recordings begin, and to read the first frames.
PLAY_AFTER_S = 0.5
# A machine that is busy takes its time until a new process says its first word.
START_S = 20.0


@dataclass(frozen=True, slots=True)
class Rules:
    """How patient a supervisor is."""

    health_timeouts_s: Mapping[str, float]
    """For how long each node may be silent, by its key."""
    settle_s: float
    """How long the rest may go on once the videos are over."""
    duration: Duration | None = None
    report_every_s: float | None = None
    """How often to say how the pipeline is, where no sink of ours says more."""


@dataclass(slots=True)
class Life:
    """One process of a node, from its start to its end."""

    started_s: float
    heard_s: float
    words: set[Word] = field(default_factory=set)
    busy_until_s: float = -math.inf
    """Until when it need not be heard, as it has said."""
    is_idle: bool = False
    """Whether its frames have ceased."""

    @property
    def state(self) -> State:
        """What comes of its frames."""
        if "flowing" not in self.words:
            return "waits"
        return "rests" if self.is_idle else "flows"


class Supervisor:
    """Decides which nodes are started, restarted, asked to stop and killed, and when all is over.

    ``begin`` once, then ``handle`` for each event and at ``wake_s`` at the latest, until there is an
    ``exit_code``. All times are of the monotonic clock.
    """

    def __init__(self, nodes: Sequence[Node], rules: Rules, now_s: float) -> None:
        self.exit_code: int | None = None
        self._nodes = list(nodes)
        self._rules = self._former_rules = rules
        self._time = WatchedTime(now_s)
        self._restarts = {node: Restarts(node.restart, kept=node.is_kept) for node in nodes}
        self._running: dict[Node, Life] = {}
        self._due: dict[Node, float] = {}
        self._end_s = math.inf
        self._play_ns: int | None = None
        """When recordings began to play."""
        self._failed = 0
        self._was_ready = False
        self._began_s = now_s
        self._report_s = now_s + (rules.report_every_s or math.inf)
        self._stop: StopOrder | None = None
        self._flow = Flow(nodes, rules.duration)
        self._outcome = Outcome(nodes)
        self._changing = SourceChanges(self)
        self._added: set[Node] = set()
        """Nodes that came later: without them the others go on."""
        self._actions: list[Action] = []

    @property
    def wake_s(self) -> float:
        """When to call ``handle`` again, without an event if none has come."""
        now_s = self._time.now_s
        dues = (
            *self._due.values(),
            *(self._silent_s(n, life) for n, life in self._running.items()),
        )
        next_s = (
            self._stop.deadline_s if self._stop else min((self._end_s, self._changing.due_s, *dues))
        )
        return self._time.real_s + min(TICK_S, max(0.0, next_s - now_s))

    @property
    def condition(self) -> Condition:
        """How the pipeline is now."""
        if self._stop or self.exit_code is not None:
            return Condition(self._was_ready, is_stopping=True, sentence="stopping")
        counts = {node.key: restarts.count for node, restarts in self._restarts.items()}
        states = {node: self._state(node) for node in self._nodes}
        return Condition(self._was_ready, is_stopping=False, sentence=describe(states, counts))

    def _state(self, node: Node) -> State:
        life = self._running.get(node)
        if life is None:
            return "restarts" if node in self._due else "over"
        return life.state

    def begin(self) -> list[Action]:
        """Start all nodes at once: they wait for each other."""
        for node in reversed(self._nodes):
            self._start(node)
        return self._taken()

    def handle(self, event: Event | None, now_s: float) -> list[Action]:
        """Take note of ``event``, and of the time; return what to do, in this order."""
        self._time.advance(now_s)
        if self.exit_code is None:
            if event is not None:
                self._note(event)
            self._check_time()
        return self._taken()

    def _taken(self) -> list[Action]:
        actions, self._actions = self._actions, []
        return actions

    def _note(self, event: Event) -> None:
        match event:
            case StartFailed(node, reason):
                self._running.pop(node, None)
                self._say(f"cannot start {node.name}: {reason}", "error")
                self._finish(exit_codes.FAILED)
            case Heard(node, word, number):
                self._hear(node, word, number)
            case Ended():
                self._note_end(event)
            case ReportAsked():
                self._report()
            case Signalled(number):
                self._note_signal(number)
            case ChangeAsked():
                self._change(event)

    def _start(self, node: Node) -> None:
        now_s = self._time.now_s
        self._running[node] = Life(started_s=now_s, heard_s=now_s)
        self._actions.append(Start(node, again=self._restarts[node].count > 0))
        if node.kind == "producer" and self._flow.until_ns is not None:
            self._actions.append(EndAt(node, self._flow.until_ns))

    def add_node(self, node: Node) -> None:
        """Start a producer more."""
        self._nodes.insert(0, node)
        self._added.add(node)
        self._restarts[node] = Restarts(node.restart, kept=node.is_kept)
        self._outcome.add(node)
        self._end_s = self._duration_end_s()
        self._start(node)

    def drop_node(self, node: Node) -> None:
        """Forget a producer that does not run."""
        self._nodes.remove(node)
        self._added.discard(node)
        del self._restarts[node]
        self._due.pop(node, None)
        self._flow.forget(node, self._time.now_s)
        self._outcome.forget(node)
        if any(n.kind == "producer" for n in self._nodes) and not self._sources_left():
            # The videos of the others are over.
            self._end_s = min(self._end_s, self._time.now_s + self._rules.settle_s)

    def stop_node(self, node: Node) -> bool:
        """Ask a node to stop; return False if it does not run."""
        if node in self._running:
            self._actions.append(Terminate(node))
        return node in self._running

    def kill_node(self, node: Node) -> None:
        """Kill a node."""
        self._say(f"{node.name} did not stop in time and was killed")
        self._kill([node])

    def report_change(self, changed: Changed) -> None:
        """Tell the reloader that the change of the sources that was begun last is over."""
        if not changed.is_taken:
            self._rules = self._former_rules
        self._actions.append(changed)

    def _change(self, change: ChangeAsked) -> None:
        if self._stop is not None:
            stops = Changed(exit_codes.FAILED, "the pipeline stops", is_taken=False)
            self._actions.append(stops)
            return
        # Those of sources that go count until they have gone.
        timeouts_s = {**self._rules.health_timeouts_s, **change.health_timeouts_s}
        self._former_rules = self._rules
        self._rules = replace(self._rules, health_timeouts_s=timeouts_s)
        self._changing.begin(change, self._time.now_s)

    def _hear(self, node: Node, word: Word, number: float) -> None:
        life = self._running.get(node)
        if life is not None:
            life.heard_s = self._time.now_s
            if word == "busy":
                life.busy_until_s = self._time.now_s + number
            life.words.add(word)
            life.is_idle = word == "idle"
            self._note_ready()
            self._flow.hear(node, word, self._time.now_s)
            self._outcome.hear(node, word)
            if word == "ready":
                self._let_play(node)
                self._changing.note_open(node)
            if node.kind == "combiner":
                self._changing.hear(word, number, self._time.now_s)

    def _note_ready(self) -> None:
        """Take note of whether frames of all sources flow, in the combiner too."""
        states = {node: self._state(node) for node in self._nodes}
        self._was_ready = self._was_ready or (self._stop is None and all_flow(states))

    def _report(self) -> None:
        """Have our sink say how it went, or say how it is where there is none."""
        for node, life in self._running.items():
            if node.kind == "sink" and node.is_ours and "ready" in life.words:
                self._actions.append(Report(node))
                return
        self._say(
            f"after {round(self._time.real_s - self._began_s)} s: {self.condition.sentence}", "info"
        )

    def _check_report(self) -> None:
        """Say how it is when it is time to, unless a sink of ours says that by itself."""
        every_s = self._rules.report_every_s
        if every_s and self._time.real_s >= self._report_s:
            self._report_s += every_s
            if not any(node.kind == "sink" and node.is_ours for node in self._nodes):
                self._report()

    def _let_play(self, node: Node) -> None:
        """Let recordings begin together once all nodes are ready; one that comes back goes on with them."""
        players = [each for each in self._nodes if each.plays]
        awaited = [n for n in self._nodes if n.plays or (n.is_ours and n.kind not in OPTIONAL)]
        if self._play_ns is not None:
            players = [node] if node.plays else []
        elif all(n in self._running and "ready" in self._running[n].words for n in awaited):
            self._play_ns = round((self._time.real_s + PLAY_AFTER_S) * 1e9)
        else:
            return
        self._actions += [PlayAt(each, self._play_ns) for each in players]

    def _note_signal(self, number: int) -> None:
        if self._stop is None:
            self._outcome.excuse()
            self._begin_stop()
        elif number == signal.SIGINT and self._time.now_s > self._stop.began_s + ECHO_S:
            self._finish(exit_codes.INTERRUPTED)

    def _note_end(self, end: Ended) -> None:
        life = self._running.pop(end.node, None)
        if life is None or self._changing.note_end(end.node, self._time.now_s):
            return
        if self._stop is None:
            if not self._goes_on(end, life) and self.exit_code is None:
                self._begin_stop()
            reason = end.last_lines[-1] if end.last_lines else f"ended with {described(end.status)}"
            is_dropped = end.node not in self._nodes
            self._changing.note_failure(end.node, reason, is_dropped=is_dropped)
        # One that hadn't come to handle signals yet ends of SIGTERM.
        elif end.status not in (0, -signal.SIGTERM):
            self._fail(end.node, end.status)

    def _goes_on(self, end: Ended, life: Life) -> bool:
        """Take note of how a node ended; return whether the pipeline goes on."""
        node, restarts, now_s = end.node, self._restarts[end.node], self._time.now_s
        if self._refused(end, life):
            if node in self._added:
                return self._goes_on_without_new(node)
            # It has said why; whatever the others would report now only hides that.
            self._finish(exit_codes.USAGE)
            return False
        if node.kind == "sink" and end.unread:
            self._outcome.excuse()
            return False
        if "done" in life.words or not restarts.wanted(end.status):
            return self._goes_on_without(node, end.status)
        was_failing = restarts.is_failing
        pause_s = restarts.pause_s(now_s, life.started_s)
        if pause_s is None or (restarts.is_failing and not self._sources_left()):
            self._give_up_on(end, "no source is left" if restarts.is_failing else OFTEN)
            return False
        self._due[node] = now_s + pause_s
        often = f"{OFTEN}; the others go on, and " if restarts.is_failing > was_failing else ""
        self._say(
            f"{node.name} ended with {described(end.status)}: {often}it is started again in {pause_s:g} s"
        )
        if often:
            self._repeat(end.last_lines)
        return True

    def _sources_left(self) -> bool:
        """Return whether there is a source that has neither ended nor fails again and again."""
        started = (*self._running, *self._due)
        return any(n.kind == "producer" and not self._restarts[n].is_failing for n in started)

    def _refused(self, end: Ended, life: Life) -> bool:
        """Return whether a node of ours never worked, as it was asked for what can't be done."""
        first = self._restarts[end.node].count == 0
        refused = end.status == exit_codes.USAGE and "ready" not in life.words
        return refused and end.node.is_ours and first

    def _goes_on_without_new(self, node: Node) -> bool:
        """Forget a producer that came later and cannot open its source; return whether anything else runs."""
        self.drop_node(node)
        if not self._left():
            self._fail(node, exit_codes.USAGE, ": no source is left, so everything stops")
            return False
        self._say(f"{node.name} is not started again: the others go on", "error")
        return True

    def _goes_on_without(self, node: Node, status: int) -> bool:
        """Take note that ``node`` isn't started again; return whether the rest goes on."""
        producing = self._sources_left()
        if node.kind == "sink" and status == 0:
            if not node.is_ours:
                self._outcome.excuse()
            return False
        if status != 0:
            # Consumers that have no relay any more receive from the combiner.
            others = node.kind in ("producer", "relay") and producing
            self._fail(node, status, ": the others go on" if others else "")
            return others
        if node.kind == "producer":
            self._outcome.source_over(node)
        if node.kind == "combiner" or not producing:
            self._end_s = self._time.now_s + self._rules.settle_s
        # A combiner waits for the return of a producer that died, though nothing restarts it.
        return producing or not self._failed

    def _give_up_on(self, end: Ended, why: str) -> None:
        self._fail(end.node, end.status, f": {why}, so everything stops")
        self._repeat(end.last_lines)

    def _repeat(self, lines: Sequence[str]) -> None:
        for line in lines:
            self._say(f"  {line}")

    def _check_time(self) -> None:
        """Do what is due."""
        if self._stop is None:
            self._kill_silent()
            self._note_recovered()
            self._check_report()
            self._start_due()
            self._changing.check_time(self._time.now_s)
            self._check_duration()
            if self._stop is None and (self._time.now_s >= self._end_s or not self._left()):
                self._begin_stop()
        self._go_on_stopping()

    def _alive(self, *kinds: Kind) -> list[Node]:
        return [node for node in self._nodes if node.kind in kinds and node in self._running]

    def _left(self) -> bool:
        return bool(self._running or self._due)

    def _kill_silent(self) -> None:
        now_s = self._time.now_s
        for node, life in list(self._running.items()):
            if now_s > self._silent_s(node, life) and self._stop is None:
                silence_s = now_s - life.heard_s
                self._say(
                    f"{node.name} hangs: it gave no sign of work for {silence_s:.1f} s: if its work takes that"
                    f" long, say --health-timeout {node.key}=SECONDS"
                )
                self._actions.append(Kill([node]))
                self._note_end(Ended(node, -signal.SIGKILL))

    def _silent_s(self, node: Node, life: Life) -> float:
        """Return when a node has been silent for too long."""
        ready = "ready" in life.words
        if not (node.is_ours or ready):
            return math.inf
        starting_s = 0.0 if ready else START_S
        patience_s = self._rules.health_timeouts_s[node.key] + node.patience_s
        return max(life.heard_s, life.busy_until_s) + patience_s + starting_s

    def _note_recovered(self) -> None:
        for node, life in self._running.items():
            works = "flowing" in life.words
            if works and self._restarts[node].recover(self._time.now_s, life.started_s):
                self._say(f"{node.name} works again", "info")

    def _start_due(self) -> None:
        for node in [node for node, due_s in self._due.items() if due_s <= self._time.now_s]:
            del self._due[node]
            self._start(node)

    def _check_duration(self) -> None:
        """Once frames flow, tell the producers when to end."""
        duration = self._rules.duration
        if duration is None or not self._flow.begins(self._time.now_s):
            return
        self._flow.until_ns = until_ns = duration.until_ns(self._time.real_s)
        self._end_s = self._duration_end_s()
        self._actions += [EndAt(node, until_ns) for node in self._alive("producer")]

    def _duration_end_s(self) -> float:
        """Return when everything must be over because of the duration; infinite before that has begun."""
        duration, until_ns = self._rules.duration, self._flow.until_ns
        if duration is None or until_ns is None:
            return math.inf
        left_s = duration.left_s(until_ns, self._time.real_s)
        return self._time.now_s + left_s + self._rules.settle_s

    def _begin_stop(self) -> None:
        """Stop what runs, kind by kind, in the order in which frames flow."""
        self._changing.give_up()
        for node in self._nodes:
            failing = self._restarts[node].is_failing and (
                node in self._due or node in self._running
            )
            if failing or (node in self._due and not node.is_ours):
                self._say(f"{node.name} was {'failing' if failing else 'not running'} at the end")
                self._failed = self._failed or exit_codes.FAILED
        self._due.clear()
        self._stop = StopOrder(self._time.now_s)

    def _go_on_stopping(self) -> None:
        while self._stop is not None and self.exit_code is None:
            nodes = self._alive(*self._stop.kinds)
            if nodes and self._time.now_s < self._stop.deadline_s:
                return
            if nodes:
                self._give_up(nodes)
            kinds = self._stop.next_kinds()
            if not kinds:
                self._finish(self._failed)
            self._actions += [Terminate(node) for node in self._alive(*kinds)]

    def _give_up(self, nodes: Sequence[Node]) -> None:
        self._kill(nodes)
        for node in nodes:
            self._say(f"{node.name} did not stop in time and was killed")
            # A producer whose camera hangs has nothing more to say; without the others, pairs are lost.
            if node.kind != "producer":
                self._failed = self._failed or exit_codes.FAILED

    def _kill(self, nodes: Sequence[Node]) -> None:
        if nodes:
            self._actions.append(Kill(nodes))
        for node in nodes:
            del self._running[node]

    def _fail(self, node: Node, status: int, consequence: str = "") -> None:
        self._say(f"{node.name} ended with {described(status)}{consequence}", "error")
        self._failed = self._failed or exit_codes.FAILED

    def _finish(self, code: int) -> None:
        self._changing.give_up()
        self._kill([node for node in self._nodes if node in self._running])
        counts = {node.name: restarts.count for node, restarts in self._restarts.items()}
        restarted = ", ".join(f"{name} {count}" for name, count in counts.items() if count)
        if restarted:
            self._say(f"restarts: {restarted}", "info")
        told_to_end = self._flow.until_ns is not None
        complaint = self._outcome.complaint(failures=bool(restarted), told_to_end=told_to_end)
        if code == 0 and complaint:
            self._say(complaint, "error")
            code = exit_codes.FAILED
        self.exit_code = code

    def _say(self, sentence: str, level: Level = "warning") -> None:
        self._actions.append(Say(sentence, level))


class StopOrder:
    """Which kinds of nodes have to stop next, and until when."""

    def __init__(self, now_s: float) -> None:
        self.began_s = self.deadline_s = now_s
        self.kinds: tuple[Kind, ...] = ()
        self._stages = list(STOP_ORDER)

    def next_kinds(self) -> tuple[Kind, ...]:
        """Go on to the next kinds and return them, none after the last."""
        self.kinds = self._stages.pop(0) if self._stages else ()
        # What one stage doesn't need of its time is left to the next.
        self.deadline_s += PRODUCERS_S if "producer" in self.kinds else STAGE_S
        return self.kinds


def described(status: int) -> str:
    """Return how a process ended, in words."""
    if status < 0:
        return f"signal {-status} ({signal.strsignal(-status)})"
    return f"exit status {status}"
