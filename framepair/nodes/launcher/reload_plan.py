"""What is to change of a pipeline that runs: worked out from how it runs and from what is asked for now."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, fields, replace

from framepair.nodes.common import source_options
from framepair.nodes.common.options import AUTO_MAX_WAIT_S
from framepair.nodes.common.runtime import Refused
from framepair.nodes.launcher import commands, pace, ports, topology
from framepair.nodes.launcher.commands import Node
from framepair.nodes.launcher.names import COMBINER, is_stream
from framepair.nodes.launcher.options import Options
from framepair.nodes.launcher.topology import Plan
from framepair.protocol.wire.limits import MAX_SOURCES

# What is said of sources, or of a node by its name: what of it may change is looked for node by node.
OF_SOURCES = (
    "sources",
    *source_options.NAMES,
    "payload",
    "restart",
    "health_timeout",
    "hosts",
    "ports",
)
CHANGE_NOTHING_ELSE = "only sources and their settings change while a pipeline runs: start it again"


@dataclass(frozen=True, slots=True)
class Running:
    """A pipeline as it runs: what was asked for, where its nodes meet, and the nodes of this host."""

    options: Options
    plan: Plan
    producers: tuple[Node, ...]
    max_wait_s: float
    room: int
    """For how many sources there is room in what queues for a consumer."""
    names: frozenset[str]
    """All sources that there have been since the start."""
    status_writer: str | None
    """Which of the nodes writes the status file, if one is asked for: another would have to start again."""


@dataclass(frozen=True, slots=True)
class Difference:
    """What is to change: names of sources, and the nodes of this host."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]
    retried: tuple[str, ...]
    """Those that could not open their source before."""
    retimed: tuple[str, ...]
    """Those with another --health-timeout, whose producers stay."""
    nodes_added: tuple[Node, ...]
    nodes_removed: tuple[Node, ...]
    nodes_replaced: tuple[tuple[Node, Node], ...]
    notes: tuple[str, ...]
    """What the user should know of it."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing is to change."""
        return not (self.added or self.removed or self.changed or self.retried or self.retimed)

    def __str__(self) -> str:
        told = {
            "added": self.added,
            "removed": self.removed,
            "started again with other settings": self.changed,
            "started again": self.retried,
            "given another --health-timeout": self.retimed,
        }
        said = [f"{words}: {', '.join(names)}" for words, names in told.items() if names]
        return "; ".join([*(said or ["nothing has changed"]), *self.notes])


def running(options: Options, plan: Plan, nodes: Sequence[Node]) -> Running:
    """Return how a pipeline runs that was just started."""
    return Running(
        options,
        plan,
        producers=tuple(node for node in nodes if node.kind == "producer"),
        max_wait_s=topology.max_wait_s(options, plan),
        room=options.most_sources(len(plan.uris)),
        names=frozenset(plan.uris),
        status_writer=commands.status_writer_of(nodes),
    )


def compared(
    former: Running, asked: Options, python: tuple[str, ...] = ("python",)
) -> tuple[Running, Difference]:
    """Return how the pipeline runs once it does what is ``asked``, and what that changes.

    Raises Refused or EndpointError, in one sentence, for what can't be, or not while it runs.
    """
    _refuse_others(former.options, asked)
    plan = topology.plan(asked, former.plan.endpoints, _gone(former, asked))
    names = former.names | plan.uris.keys()
    _refuse_plan(former, plan, len(names))
    _refuse_other_ports(former, asked, plan)
    # As it was at the start: windows and rings are made for it.
    told = replace(asked, max_wait=former.max_wait_s)
    table = commands.table(told, plan, python, status_writer=_status_writer(former, plan))
    nodes = tuple(node for node in table if node.kind == "producer")
    now = replace(
        former,
        options=asked,
        plan=plan,
        producers=nodes,
        names=names,
        status_writer=commands.status_writer_of(table, _status_writer(former, plan)),
    )
    return now, _difference(former, plan, nodes)


def _status_writer(former: Running, plan: Plan) -> str | None:
    """Return which node should write the status file: the one that does, else a new one, if there is one."""
    if former.status_writer not in former.plan.uris or former.status_writer in plan.uris:
        return former.status_writer
    new = (name for name in plan.uris if name not in former.plan.uris and plan.here(name))
    return next(new, None)


def _refuse_others(former: Options, asked: Options) -> None:
    """Raise Refused if options differ that are no source's."""
    if not pace.of(former).sources_change:
        raise Refused(
            "with --pace max every pair has all sources: start again with the ones that you want"
        )
    others = [field.name for field in fields(Options) if field.name not in OF_SOURCES]
    differ = [name for name in others if getattr(former, name) != getattr(asked, name)]
    if differ:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in differ)
        differ_now = "is not what it was" if len(differ) == 1 else "are not what they were"
        raise Refused(f"{flags} {differ_now} at the start: {CHANGE_NOTHING_ELSE}")
    if not asked.sources:
        raise Refused("no source would be left: a pipeline needs one, or is to be stopped")
    if asked.max_sources is not None and len(asked.sources) > asked.max_sources:
        raise Refused(
            f"{len(asked.sources)} sources, and --max-sources {asked.max_sources}: start again with more"
        )


def _refuse_other_ports(former: Running, asked: Options, plan: Plan) -> None:
    """Raise Refused if a source would have another port than that which is ``asked``, by [ports] or its place.

    With hosts that is where one that starts now would look for it.
    """
    kept, gone = plan.endpoints.pull, _gone(former, asked)
    fresh = topology.plan(asked, gone=gone).endpoints.pull
    names = kept if plan.placement else _said_ports(asked, plan)
    moved = [name for name in names if name in former.plan.uris and fresh[name] != kept[name]]
    if moved and plan.placement:
        told = replace(asked, ports=_kept_ports(former, asked, plan))
        fresh = topology.plan(told, gone=gone).endpoints.pull
    owners = {address: name for name, address in former.plan.endpoints.pull.items()}
    taken = [n for n in names if n not in former.plan.uris and fresh[n] in owners]
    reasons = []
    if moved:
        lines = ", ".join(_kept_ports(former, asked, plan)).replace("=", " = ")
        reasons.append(
            f"{', '.join(moved)} would have another port: say in the table [ports], on all hosts: {lines}"
        )
    if taken:
        owner = owners[fresh[taken[0]]]
        reasons.append(
            f"{taken[0]} would have the port of {owner}: remove {owner}, and add {taken[0]} in another reload"
        )
    if reasons:
        raise Refused("; ".join(reasons))


def _gone(former: Running, asked: Options) -> Collection[str]:
    """Return the sources that flags may name though they are not there: flags do not change."""
    return former.names if asked.config is None else ()


def _said_ports(asked: Options, plan: Plan) -> dict[str, str]:
    said = (word.partition("=") for word in asked.ports)
    return {name: port for name, _, port in said if name in plan.uris}


def _kept_ports(former: Running, asked: Options, plan: Plan) -> tuple[str, ...]:
    """Return what ``asked`` has to say of ports, so that all sources that go on keep theirs."""
    kept = {
        name: address.rpartition(":")[2]
        for name, address in former.plan.endpoints.pull.items()
        if name in plan.uris and address.startswith("tcp://")
    }
    return tuple(f"{name}={port}" for name, port in {**_said_ports(asked, plan), **kept}.items())


def _refuse_plan(former: Running, plan: Plan, names: int) -> None:
    """Raise Refused for what is no source's in settings that are said of nodes, and for addresses in use."""
    for name in former.plan.restarts.keys() - former.plan.uris.keys():
        if former.plan.restarts[name] != plan.restarts[name]:
            raise Refused(f"--restart of {name} has changed: {CHANGE_NOTHING_ELSE}")
        if former.plan.health_timeouts_s[name] != plan.health_timeouts_s[name]:
            raise Refused(f"--health-timeout of {name} has changed: {CHANGE_NOTHING_ELSE}")
    moved = [name for name in _placed(former.plan) if name in _placed(plan)]
    moved = [name for name in moved if _placed(former.plan)[name] != _placed(plan)[name]]
    if moved:
        raise Refused(f"[hosts] has another host for {', '.join(moved)}: {CHANGE_NOTHING_ELSE}")
    if names > MAX_SOURCES:
        raise Refused(
            f"{names} sources since the start, and {MAX_SOURCES} is the most: start again"
        )
    if plan.here(COMBINER):
        new = set(plan.endpoints.listening()) - set(former.plan.endpoints.listening())
        ports.refuse_taken_ports(sorted(new))


def _placed(plan: Plan) -> dict[str, str]:
    return plan.placement.of if plan.placement else {}


def _difference(former: Running, plan: Plan, nodes: Sequence[Node]) -> Difference:
    old, new = former.plan.uris, plan.uris
    was = {node.key: node for node in former.producers}
    now = {node.key: node for node in nodes}
    was_s, now_s = former.plan.health_timeouts_s, plan.health_timeouts_s
    replaced = [(was[key], node) for key, node in now.items() if key in was and was[key] != node]
    return Difference(
        added=tuple(name for name in new if name not in old),
        removed=tuple(name for name in old if name not in new),
        changed=tuple(node.key for node, _ in replaced),
        retried=tuple(key for key in now if key in old and key not in was),
        retimed=tuple(name for name in new if name in old and was_s[name] != now_s[name]),
        nodes_added=tuple(node for key, node in now.items() if key not in was),
        nodes_removed=tuple(node for key, node in was.items() if key not in now),
        nodes_replaced=tuple(replaced),
        notes=tuple(_notes(former, plan)),
    )


def _notes(former: Running, plan: Plan) -> Iterator[str]:
    """Yield what was decided at the start, and might have been otherwise for the sources that there are now."""
    new = [name for name in plan.uris if name not in former.plan.uris]
    if len(plan.uris) > former.room and new:
        yield (
            f"a consumer that stalls may lose pairs sooner, as queues have room for {former.room} sources:"
            f" start with --max-sources {len(plan.uris)} for more"
        )
    streams = [name for name in new if is_stream(plan.uris[name])]
    if streams and former.options.max_wait == "auto" and former.max_wait_s < AUTO_MAX_WAIT_S:
        yield (
            f"pairs wait {former.max_wait_s:g} s for {', '.join(streams)} at most, as no stream was there"
            f" at the start: start with --max-wait {AUTO_MAX_WAIT_S:g} for more"
        )
