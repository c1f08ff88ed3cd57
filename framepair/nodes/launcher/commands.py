"""The process table: from options to the command of each node."""

from __future__ import annotations

import itertools
import os
import shlex
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Literal

from framepair.nodes.common.fault_spec import OF_PRODUCERS
from framepair.nodes.common.json_output import STDOUT
from framepair.nodes.common.log_format import LOG_FORMAT_VARIABLE
from framepair.nodes.common.monitor_options import Monitoring
from framepair.nodes.common.options import Combining, Consuming, Producing, Relaying
from framepair.nodes.common.plain_words import variable
from framepair.nodes.common.record_options import Recording
from framepair.nodes.common.runtime import Refused
from framepair.nodes.common.source_options import SourceOptions
from framepair.nodes.common.status import STATUS_VARIABLE
from framepair.nodes.launcher import pace
from framepair.nodes.launcher.names import (
    COMBINER,
    MONITOR,
    RECORDER,
    RELAY,
    SINK,
    descriptors,
    holds_secret,
    is_path,
    is_synthetic,
)
from framepair.nodes.launcher.options import Options
from framepair.nodes.launcher.restarts import Policy
from framepair.nodes.launcher.topology import Plan, max_wait_s, reachable
from framepair.protocol.memory import payload, payloads
from framepair.protocol.recording import names as recording_names
from framepair.protocol.transport.endpoints import SUB_VARIABLE, SYNC_VARIABLE
from framepair.protocol.transport.keys import INSECURE_VARIABLE, KEYS_VARIABLE
from framepair.protocol.transport.relays import RELAYED_VARIABLE

# A consumer gives a sign of work whenever it asks for a pair, and may work on one for long.
CONSUMER_PATIENCE_S = 20.0
SOURCE_VARIABLE = variable("source")

Kind = Literal["producer", "combiner", "relay", "sink", "recorder", "monitor"]


@dataclass(frozen=True, slots=True)
class Node:
    """One process: what it is called, what it is, how it is started."""

    name: str
    kind: Kind
    command: tuple[str, ...]
    environment: tuple[tuple[str, str], ...] = ()
    restart: Policy = "on-failure"
    first: tuple[str, ...] = ()
    again: tuple[str, ...] = ()
    """What is added to the command when it is started first, and when it is started again."""
    patience_s: float = 0.0
    """For how long its work may take without a sign of it, beside what any node may."""
    descriptors: tuple[int, ...] = ()
    """The launcher's open files that it reads."""
    is_kept: bool = False
    """Whether the others go on without it, however often it fails; it is tried again now and then."""
    waits: bool = False
    """Whether its source may come at any time."""
    plays: bool = False
    """Whether it plays a recording, together with others that do."""
    is_ours: bool = True
    """Another program need not give signs of its work; only once it has given one they are waited for."""

    def shell_line(self) -> str:
        """Return the command as one pastes it into a shell."""
        variables = [f"{name}={shlex.quote(value)}" for name, value in self.environment]
        return " ".join([*variables, shlex.join((*self.command, *self.first))])

    @property
    def key(self) -> str:
        """What the user calls it: the name of its source, combiner, relay, sink, recorder or monitor."""
        return self.name.rpartition(" ")[2]


def table(
    options: Options,
    plan: Plan,
    python: tuple[str, ...] = ("python",),
    sources_file: Path | None = None,
    status_writer: str | None = None,
) -> list[Node]:
    """Return the nodes in the order in which frames pass them, to be run by the interpreter ``python``.

    The combiner follows ``sources_file``, if there is one. If a status file is asked for, ``status_writer``
    writes it, the key of a node.
    """
    consumers = pace.of(options).consumers(options)
    options = replace(options, max_wait=max_wait_s(options, plan), consumers=consumers)
    nodes = [_producer(options, plan, name, python) for name in plan.uris if plan.here(name)]
    if plan.here(COMBINER):
        nodes.append(_combiner(options, plan, python, sources_file))
    if plan.relayed:
        nodes.append(_relay(options, plan, python))
    if options.record and plan.here(RECORDER):
        nodes.append(_recorder(options, options.record, plan, python))
    if options.monitor and plan.here(MONITOR):
        nodes.append(_monitor(options, options.monitor, plan, python))
    if not options.no_sink and plan.here(SINK):
        nodes.append(
            _consumer(options.sink, options, plan) if options.sink else _sink(options, plan, python)
        )
    writer = status_writer_of(nodes, status_writer)
    return _with_one_status(nodes, writer) if os.environ.get(STATUS_VARIABLE) else nodes


def status_writer_of(nodes: Sequence[Node], wanted: str | None = None) -> str | None:
    """Return the key of the node that writes the status file: ``wanted``, the combiner, or the first."""
    order = sorted(nodes, key=lambda node: (node.key != wanted, node.kind != "combiner"))
    return order[0].key if order else None


def _with_one_status(nodes: list[Node], writer: str | None) -> list[Node]:
    """Return ``nodes``, of which only ``writer`` is told of the status file."""
    silent = ((STATUS_VARIABLE, ""),)
    return [
        node if node.key == writer else replace(node, environment=node.environment + silent)
        for node in nodes
    ]


def _producer(options: Options, plan: Plan, name: str, python: tuple[str, ...]) -> Node:
    uri = absolute(plan.uris[name])
    secret = holds_secret(uri)
    flags = _producing(options, plan, name, None if secret else uri)
    # Every user of a machine sees the command lines of all processes, but not their environment.
    told = ((SOURCE_VARIABLE, uri),) if secret else ()
    return Node(
        f"producer {name}",
        "producer",
        (*python, "-m", "framepair.nodes.producer", *flags),
        (*_unset(), *told),
        plan.restarts[name],
        first=_faults(options, name),
        # A camera that was there may come back, whenever that is.
        again=() if options.wait else ("--wait",),
        waits=options.wait,
        plays=recording_names.is_recording(uri),
        patience_s=0.0 if is_synthetic(uri) else options.open_timeout + options.read_timeout,
        descriptors=descriptors(plan.uris[name]),
        is_kept=pace.of(options).keeps_sources(options),
    )


def _producing(options: Options, plan: Plan, name: str, uri: str | None) -> Iterator[str]:
    """Return the flags of a source's producer; without a ``uri``, which it is told in another way."""
    asked, until_ns = plan.payloads[name], pace.of(options).until_ns(options)
    return _flags(
        name=name,
        source=uri,
        push=reachable(plan.endpoints.pull[name]),
        sync=_clock(plan, plan.endpoints.pull[name]),
        returns=plan.restarts[name] == "always",
        payload=None if asked == payloads.DEFAULT else asked,
        until=None if until_ns is None else _seconds(until_ns),
        **_given(plan.asked[name], SourceOptions),
        **_given(options, Producing),
    )


def _faults(options: Options, name: str) -> tuple[str, ...]:
    """Return the flags for what a producer is to do wrong."""
    told = [text.partition(":") for text in options.fault]
    own = [
        text for node, _, text in told if node == name and text.partition("@")[0] in OF_PRODUCERS
    ]
    return tuple(word for text in own for word in ("--fault", text))


def _combiner(
    options: Options, plan: Plan, python: tuple[str, ...], sources_file: Path | None
) -> Node:
    pulls = [("--pull", f"{name}={address}") for name, address in plan.endpoints.pull.items()]
    flags = _flags(
        pub=plan.endpoints.pub,
        sync=plan.endpoints.sync,
        sources_file=sources_file,
        **_given(options, Combining),
    )
    command = (*python, "-m", "framepair.nodes.combiner", *itertools.chain(*pulls), *flags)
    return Node("combiner", "combiner", command, tuple(_unset()), plan.restarts[COMBINER])


def _relay(options: Options, plan: Plan, python: tuple[str, ...]) -> Node:
    """Return the relay for this host's consumers, without which they would receive from the combiner."""
    history_s = payload.history_s(options.history, options.window, options.max_wait_s)
    relaying = {**_given(options, Relaying), "history": history_s}
    flags = _flags(sub=reachable(plan.endpoints.pub), **relaying)
    command = (*python, "-m", "framepair.nodes.relay", *flags)
    return Node(RELAY, "relay", command, tuple(_unset()), plan.restarts[RELAY], is_kept=True)


def _relayed(plan: Plan, node: str) -> Iterator[tuple[str, str]]:
    """Yield the variable by which a consumer knows that there will be a relay."""
    if node in plan.relayed:
        yield RELAYED_VARIABLE, reachable(plan.endpoints.pub)


def _sink(options: Options, plan: Plan, python: tuple[str, ...]) -> Node:
    flags = _flags(
        sub=reachable(plan.endpoints.pub),
        sync=_clock(plan, plan.endpoints.pub),
        **_given(options, Consuming),
    )
    command = (*python, "-m", "framepair.nodes.sink", *flags)
    environment = (*_unset(), *_relayed(plan, SINK))
    return Node("sink", "sink", command, environment, plan.restarts[SINK])


def _recorder(options: Options, directory: Path, plan: Plan, python: tuple[str, ...]) -> Node:
    flags = _flags(
        directory=directory,
        sub=reachable(plan.endpoints.pub),
        **_given(options, Recording),
    )
    command = (*python, "-m", "framepair.nodes.recorder", *flags)
    environment = (*_unset(), *_relayed(plan, RECORDER))
    return Node(RECORDER, "recorder", command, environment, plan.restarts[RECORDER])


def _monitor(options: Options, address: str, plan: Plan, python: tuple[str, ...]) -> Node:
    sub = reachable(plan.endpoints.pub)
    flags = _flags(
        address=address,
        sub=sub,
        sync=_clock(plan, plan.endpoints.pub),
        **_given(options, Monitoring),
    )
    return Node(
        MONITOR,
        "monitor",
        (*python, "-m", "framepair.nodes.monitor", *flags),
        (*_unset(), *_relayed(plan, MONITOR)),
        plan.restarts[MONITOR],
        # Pairs flow without a page that shows them.
        is_kept=True,
    )


def _consumer(command: str, options: Options, plan: Plan) -> Node:
    """Return the user's own consumer; raises Refused if that is no command."""
    sub = reachable(plan.endpoints.pub)
    return Node(
        "sink",
        "sink",
        _words(command, sub),
        (*_told(options, sub, _clock(plan, plan.endpoints.pub)), *_relayed(plan, SINK)),
        plan.restarts[SINK],
        patience_s=CONSUMER_PATIENCE_S,
        is_ours=False,
    )


def _words(command: str, sub: str) -> tuple[str, ...]:
    """Return the program and arguments of ``command``; raises Refused if there is no such program."""
    try:
        words = tuple(word.replace("{sub}", sub) for word in shlex.split(command))
    except ValueError as error:
        raise Refused(f"--sink {command}: {error}") from None
    if not words:
        raise Refused("--sink needs a command, such as --sink 'python model.py'")
    # As if the launcher's environment was activated: its python is the one that has framepair.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    program = shutil.which(words[0], path=path)
    if program is None:
        raise Refused(f"--sink {command}: there is no command {words[0]}")
    return (program, *words[1:])


def _told(options: Options, sub: str, sync: str | None) -> Iterator[tuple[str, str]]:
    """Yield the variables by which subscribe(), in the user's own consumer, finds the pairs."""
    yield SUB_VARIABLE, sub
    yield SYNC_VARIABLE, sync or ""
    if options.keys:
        yield KEYS_VARIABLE, str(options.keys.absolute())
    if options.shm_dir:
        yield variable("shm_dir"), str(options.shm_dir.absolute())
    if options.insecure:
        yield INSECURE_VARIABLE, "1"


def _clock(plan: Plan, address: str) -> str | None:
    """Return where to ask for the time who reaches the combiner at ``address``; None on the same machine."""
    sync = plan.endpoints.sync
    return reachable(sync) if sync and address.startswith("tcp://") else None


def _given(options: object, group: type) -> dict[str, object]:
    """Return what of ``group`` differs from its defaults: a node finds those by itself."""
    values = {field.name: getattr(options, field.name) for field in fields(group)}
    return {
        field.name: values[field.name]
        for field in fields(group)
        if values[field.name] != field.default
    }


def _unset() -> Iterator[tuple[str, str]]:
    """Yield the variables that have told the launcher: what a node should know is in its flags."""
    known = (*(field.name for field in fields(Options)), "source", "sync")
    for name in map(variable, known):
        # The format of log lines has no flag: nodes are told in that variable.
        if os.environ.get(name) and name != LOG_FORMAT_VARIABLE:
            yield name, ""


def _flags(**values: object) -> Iterator[str]:
    for name, value in values.items():
        flag, text = f"--{name.replace('_', '-')}", str(value).removesuffix(".0")
        if value is True:
            yield flag
        elif isinstance(value, Path) and value != STDOUT:
            yield from (flag, str(value.absolute()))
        elif text.startswith("-"):
            yield f"{flag}={text}"
        elif value is not None and value is not False:
            yield from (flag, text)


def _seconds(time_ns: int) -> str:
    return f"{time_ns // 10**9}.{time_ns % 10**9:09}".rstrip("0").rstrip(".")


def absolute(uri: str) -> str:
    """Return a file's absolute path, so that its command means the same in any directory.

    It does not matter whether the file is there: a reload compares the command with that of the start.
    """
    if recording_names.is_recording(uri):
        name, track = recording_names.split(uri)
        return f"{Path(name).absolute()}#{track}" if track else str(Path(name).absolute())
    path = Path(uri)
    is_file = (is_path(uri) and not uri.startswith(("~", "-"))) or (
        not uri.isdecimal() and path.exists()
    )
    return str(path.absolute()) if is_file else uri
