"""Where the nodes of a pipeline meet, and how pixels travel: decided before anything starts."""

from __future__ import annotations

import itertools
import platform
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from framepair.nodes.common import (
    fault_spec,
    monitor_options,
    payload_limits,
    source_options,
    sources_file,
)
from framepair.nodes.common.fault_spec import Fault
from framepair.nodes.common.options import Consuming
from framepair.nodes.common.runtime import MAX_SECONDS, Refused
from framepair.nodes.common.source_options import SourceOptions
from framepair.nodes.launcher import pace, recordings
from framepair.nodes.launcher.names import (
    COMBINER,
    MONITOR,
    OTHERS,
    OTHERS_IN_WORDS,
    RECORDER,
    RELAY,
    SINK,
    is_stream,
    name_sources,
)
from framepair.nodes.launcher.options import Options
from framepair.nodes.launcher.restarts import POLICIES, Policy
from framepair.protocol.memory import payloads as table
from framepair.protocol.memory.auto import Auto
from framepair.protocol.memory.payload import Payload
from framepair.protocol.transport import endpoints, keys
from framepair.protocol.transport.endpoints import Endpoints

PORT = re.compile("[0-9]{1,5}")
EVERYWHERE = ("//*:", "//0.0.0.0:", "//[::]:")


# What --max-wait auto is where all sources are on the machines themselves: their frames take some ms.
LOCAL_MAX_WAIT_S = 0.5
# What a user may place on a host; a relay is where its consumers are.
PLACED = tuple(node for node in OTHERS if node != RELAY)
# So many consumers of a host share a relay. For one, it would be a stop more. The monitor does not count: it
# receives frames only while a browser looks.
MIN_RELAYED = 2
# Of --health-timeout.
HEALTH_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Placement:
    """The host of each node, by the node's name, and the host that this launcher starts the nodes of."""

    host: str
    of: dict[str, str]

    def here(self, node: str) -> bool:
        """Tell whether ``node`` runs on this host."""
        return self.of[node] == self.host

    def beside_combiner(self, node: str) -> bool:
        """Tell whether ``node`` runs on the combiner's host, so that frames need no network."""
        return self.of[node] == self.of[COMBINER]


def place(
    asked: Sequence[str],
    sources: Collection[str],
    *,
    host: str | None,
    this_machine: str,
    listen: str | None,
) -> Placement | None:
    """Return where each node runs, None if the user says nothing of hosts: then all of them run here.

    ``asked`` holds NODE=HOST; a node that is not named runs beside the combiner. ``host`` is the one to start
    the nodes of, else ``this_machine`` if it is among them. Raises Refused for what doesn't fit together.
    """
    if not asked:
        if host is not None:
            raise Refused(f"--host {host}: the configuration has no [hosts] to choose from")
        return None
    named = _named(asked, sources)
    if COMBINER not in named:
        raise Refused("[hosts] does not say where the combiner runs: add combiner = HOST")
    if listen is None or any(mark in listen for mark in EVERYWHERE):
        raise Refused(
            "nodes on several hosts need listen = tcp://ADDRESS:PORT, the address that the others"
            f" reach {named[COMBINER]} at"
        )
    of = {node: named.get(node, named[COMBINER]) for node in (*sources, *PLACED)}
    return Placement(_chosen(host, this_machine, of), of)


def _named(asked: Sequence[str], sources: Collection[str]) -> dict[str, str]:
    """Return the hosts as the user gave them, by node."""
    named: dict[str, str] = {}
    for word in asked:
        node, _, host = word.partition("=")
        if node not in (*sources, *PLACED):
            raise Refused(
                f"[hosts] names {node}, which is no node: they are {', '.join((*sources, *PLACED))}"
            )
        if not host or node in named:
            raise Refused(f"[hosts] needs one host for {node}")
        named[node] = host
    return named


def _chosen(host: str | None, this_machine: str, of: dict[str, str]) -> str:
    known = list(dict.fromkeys(of.values()))
    if host is None:
        short = this_machine.partition(".")[0]
        mine = [name for name in known if name in (this_machine, short)]
        if not mine:
            raise Refused(f"say which host this is with --host: {', '.join(known)}")
        return mine[0]
    if host not in known:
        raise Refused(f"--host {host} runs nothing: the hosts are {', '.join(known)}")
    return host


@dataclass(frozen=True, slots=True)
class Plan:
    """The sources of a pipeline by name, and where its nodes meet."""

    uris: dict[str, str]
    payloads: dict[str, Payload]
    endpoints: Endpoints
    run_dir: Path | None
    restarts: dict[str, Policy]
    faults: list[Fault]
    health_timeouts_s: dict[str, float]
    """For how long each node may be silent."""
    asked: dict[str, SourceOptions]
    """What is asked of each source's frames."""
    relayed: frozenset[str]
    """The consumers here that receive from a relay; empty: there is none."""
    settled: str | None = None
    """What ``--payload auto`` has come to, in a sentence; None if no source has it."""
    placement: Placement | None = None
    control: Path | None = None
    """The socket at which the launcher hears what is to change; None: there is no directory for one."""

    @property
    def sources_file(self) -> Path | None:
        """The file by which the combiner of this host is told of other sources; None: it can't be."""
        return self.run_dir / sources_file.NAME if self.run_dir and self.here(COMBINER) else None

    def here(self, node: str) -> bool:
        """Tell whether ``node`` is to be started on this host."""
        return self.placement is None or self.placement.here(node)


def plan(options: Options, former: Endpoints | None = None, gone: Collection[str] = ()) -> Plan:
    """Name the sources and choose addresses; raises Refused or EndpointError for what can't be used.

    ``former`` are the addresses of the pipeline as it runs: sources that stay keep theirs. Sources that are
    ``gone`` may still be named where flags say ports, as those do not change.
    """
    _refuse_contradictions(options)
    uris = name_sources(recordings.expanded(options.sources))
    options.most_sources(len(uris))
    payloads = _payloads(options.payload, list(uris))
    restarts = _restarts(options, list(uris))
    health = _health_timeouts_s(options, list(uris))
    asked = source_options.of_sources(options, list(uris))
    faults = fault_spec.parse(options.fault, list(uris), OTHERS)
    placement = place(
        options.hosts,
        list(uris),
        host=options.host,
        this_machine=platform.node(),
        listen=options.listen,
    )
    _refuse_open_page(options, placement)
    ports = _own_ports(options, list(uris), gone)
    addresses, run_dir = _meeting_points(options, list(uris), placement, ports)
    if former is not None:
        addresses = endpoints.changed(former, addresses)
    settled = _settled(options, payloads, addresses)
    payloads = {
        name: payload_limits.settled(payload, options.pace, addresses.listening())
        for name, payload in payloads.items()
    }
    _refuse_impossible(options, payloads, addresses)
    if placement is not None:
        for node, payload in itertools.product(consumers(options), payloads.values()):
            payload_limits.refuse_elsewhere(payload, node, placement.beside_combiner(node))
    return Plan(
        uris=uris,
        payloads=payloads,
        endpoints=addresses,
        run_dir=run_dir,
        restarts=restarts,
        faults=faults,
        health_timeouts_s=health,
        asked=asked,
        relayed=_relayed(options, payloads, placement),
        settled=settled,
        placement=placement,
        control=_control(options, run_dir, placement),
    )


def listening_here(options: Options, plan: Plan) -> list[str]:
    """Return the addresses that nodes on this host listen at."""
    found = plan.endpoints.listening() if plan.here(COMBINER) else []
    if options.monitor and plan.here(MONITOR):
        found = [*found, monitor_options.parse_address(options.monitor).tcp]
    return found


def consumers(options: Options) -> list[str]:
    """Return the nodes that are started to take pairs."""
    wanted = {SINK: not options.no_sink, RECORDER: options.record, MONITOR: options.monitor}
    return [node for node, is_wanted in wanted.items() if is_wanted]


def _control(options: Options, run_dir: Path | None, placement: Placement | None) -> Path | None:
    """Return where this launcher hears what is to change: in the run directory, that of its host."""
    if run_dir is not None:
        return endpoints.control_path(run_dir)
    if placement is None:
        return None
    # Another launcher may have the directory: that of the combiner's host, where that is this machine too.
    directory = (options.run_dir or endpoints.default_run_dir()).absolute()
    return endpoints.control_path(directory, placement.host)


def _meeting_points(
    options: Options, sources: list[str], placement: Placement | None, ports: Mapping[str, int]
) -> tuple[Endpoints, Path | None]:
    """Return all addresses, and the run directory of this host if its nodes meet in one."""
    if options.listen is not None and placement is None:
        own = options.run_dir.absolute() if options.run_dir else None
        return endpoints.tcp_endpoints(options.listen, sources, ports), own
    run_dir = (options.run_dir or endpoints.default_run_dir()).absolute()
    if options.shm_dir and options.shm_dir.absolute() == run_dir:
        # Each is locked: the one by the launcher for good, the other by producers for moments.
        raise Refused(f"--shm-dir and --run-dir are both {run_dir}: name two directories")
    addresses = endpoints.ipc_endpoints(run_dir, sources)
    if options.listen is not None and placement is not None:
        addresses = _across_hosts(options.listen, placement, addresses, ports)
    for address in addresses.listening():
        endpoints.ipc_path(address)
    needed = placement is None or placement.here(COMBINER)
    return addresses, run_dir if needed else None


def _refuse_contradictions(options: Options) -> None:
    """Raise Refused for flags that would do nothing."""
    if options.ports and options.listen is None:
        raise Refused("--ports: sources have ports with --listen tcp://HOST:PORT only")
    if options.plan or not (options.sink or options.no_sink):
        return
    flag = "--sink" if options.sink else "--no-sink"
    for field in fields(Consuming):
        own = field.name in Consuming.__annotations__
        if own and getattr(options, field.name) != field.default:
            name = field.name.replace("_", "-")
            raise Refused(f"--{name} is for the consumer that prints, which {flag} leaves out")


def _refuse_open_page(options: Options, placement: Placement | None) -> None:
    """Raise Refused for a page that anyone could look at; the token is where the monitor runs."""
    if options.monitor is None:
        return
    monitor_options.refuse_open(
        monitor_options.parse_address(options.monitor), options.monitor_token
    )
    if placement is None or placement.here(MONITOR):
        monitor_options.read_token(options.monitor_token)


def _own_ports(options: Options, sources: Collection[str], gone: Collection[str]) -> dict[str, int]:
    """Return the port of each source that has one of its own; raises Refused for what is none of a source."""
    ports: dict[str, int] = {}
    for word in options.ports:
        name, _, text = word.partition("=")
        port = int(text) if PORT.fullmatch(text) else 0
        if not 0 < port <= endpoints.MAX_PORT:
            raise Refused(f"--ports {word}: it is SOURCE=PORT, from 1 to {endpoints.MAX_PORT}")
        if name in gone and name not in sources:
            continue
        if name not in sources:
            raise Refused(f"--ports {word}: no source is called so: they are {', '.join(sources)}")
        if name in ports:
            raise Refused(f"--ports {word}: {name} has port {ports[name]} already")
        ports[name] = port
    return ports


def _across_hosts(
    listen: str, placement: Placement, on_one: Endpoints, ports: Mapping[str, int]
) -> Endpoints:
    """Return tcp addresses, but for the frames of sources that are beside the combiner."""
    tcp = endpoints.tcp_endpoints(listen, list(on_one.pull), ports)
    local = {name: on_one.pull[name] for name in tcp.pull if placement.beside_combiner(name)}
    return Endpoints(pull=tcp.pull | local, pub=tcp.pub, sync=tcp.sync)


def _refuse_impossible(
    options: Options, payloads: dict[str, Payload], endpoints: Endpoints
) -> None:
    if options.relay == "always" and options.pace == "max":
        raise Refused(
            "--relay always: shared memory does not wait for consumers, as --pace max has to: use --relay never"
        )
    for address in endpoints.listening():
        keys.refuse_open(options.keys, address, insecure=options.insecure)
    if options.clock == "corrected" and endpoints.sync is None:
        raise Refused("--clock corrected: on one machine there is one clock; it is for --listen")
    for name, payload in payloads.items():
        payload_limits.refuse_beyond(payload, options.pace, reachable(endpoints.pull[name]))


def _payloads(asked: tuple[str, ...], sources: list[str]) -> dict[str, Payload]:
    """Return each source's payload; raises Refused for a word that is none, or a source that isn't there."""
    payloads = dict.fromkeys(sources, table.DEFAULT)
    for word in asked:
        name, separator, text = word.rpartition("=")
        try:
            payload = table.parse(text)
        except ValueError:
            payload = None
        if payload is None or (separator and name not in payloads):
            raise Refused(
                f"--payload {word}: it is {table.USAGE}, or NAME=shm for a source of that name"
            )
        payloads |= {name: payload} if separator else dict.fromkeys(sources, payload)
    return payloads


def _settled(options: Options, payloads: dict[str, Payload], at: Endpoints) -> str | None:
    """Return what ``--payload auto`` comes to, and why; None if no source has it."""
    if not any(isinstance(payload, Auto) for payload in payloads.values()):
        return None
    reason = payload_limits.why_not_shared(options.pace, at.listening())
    if reason:
        return f"--payload auto: raw, as {reason}"
    return "--payload auto: shm, as all nodes are on this machine; raw for a source whose ring does not fit"


def _relayed(
    options: Options, payloads: dict[str, Payload], placement: Placement | None
) -> frozenset[str]:
    """Return the consumers here that receive from a relay, the relay itself too; empty: none is started."""
    if options.relay == "never" or options.pace == "max":
        return frozenset()
    here = {node for node in consumers(options) if placement is None or placement.here(node)}
    if any(payload.slow for payload in payloads.values()):
        # It writes JPEGs as they travel.
        here.discard(RECORDER)
    in_messages = any(not payload.one_machine for payload in payloads.values())
    if options.relay == "always" or (len(here - {MONITOR}) >= MIN_RELAYED and in_messages):
        return frozenset({RELAY, *here})
    return frozenset()


def max_wait_s(options: Options, plan: Plan) -> float:
    """Return how long a pair waits at most: auto is longer if one of the sources is a stream on a network."""
    streams = any(is_stream(uri) for uri in plan.uris.values())
    return options.max_wait_s if options.max_wait != "auto" or streams else LOCAL_MAX_WAIT_S


def reachable(address: str) -> str:
    """Return where to connect to what listens at ``address``, which may stand for all interfaces."""
    return address.replace("://*:", "://127.0.0.1:").replace("://0.0.0.0:", "://127.0.0.1:")


def _restarts(options: Options, sources: list[str]) -> dict[str, Policy]:
    """Return each node's policy; raises Refused for a word that is none, or a node that isn't there."""
    policies = dict.fromkeys((*sources, *OTHERS), pace.of(options).restart)
    for word in options.restart:
        name, separator, asked = word.rpartition("=")
        policy = next((policy for policy in POLICIES if policy == asked), None)
        if policy is None or (separator and name not in policies):
            raise Refused(
                f"--restart {word}: it is {', '.join(POLICIES)}, or NODE=one of them for a source of that"
                f" name, {OTHERS_IN_WORDS}"
            )
        policies |= {name: policy} if separator else dict.fromkeys(policies, policy)
    return policies


def _health_timeouts_s(options: Options, sources: list[str]) -> dict[str, float]:
    """Return for how long each node may be silent; raises Refused for no time, or a node that isn't there."""
    seconds = dict.fromkeys((*sources, *OTHERS), HEALTH_TIMEOUT_S)
    for word in options.health_timeout:
        name, separator, text = word.rpartition("=")
        try:
            asked = float(text)
        except ValueError:
            asked = 0.0
        if not 0 < asked <= MAX_SECONDS or (separator and name not in seconds):
            raise Refused(
                f"--health-timeout {word}: it is seconds, more than 0, or NODE=SECONDS for a source of that"
                f" name, {OTHERS_IN_WORDS}"
            )
        seconds |= {name: asked} if separator else dict.fromkeys(seconds, asked)
    return seconds
