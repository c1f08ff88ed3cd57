"""Where the nodes of a pipeline meet, and how pixels travel: decided before anything starts."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path

from nodes import shm_limits
from nodes.faults import language
from nodes.faults.language import Fault
from nodes.launching import hosts
from nodes.launching.hosts import Placement
from nodes.launching.naming import COMBINER, SINK, name_sources
from nodes.launching.options import Options
from nodes.launching.restarts import POLICIES, Policy
from nodes.runtime import Refused
from protocol import endpoint, keys
from protocol.endpoint import Endpoints
from protocol.payload_spec import WORDS, Spec


@dataclass(frozen=True, slots=True)
class Plan:
    """The sources of a pipeline by name, and where its nodes meet."""

    uris: dict[str, str]
    payloads: dict[str, Spec]
    endpoints: Endpoints
    run_dir: Path | None
    restarts: dict[str, Policy]
    faults: list[Fault]
    placement: Placement | None = None

    def here(self, node: str) -> bool:
        """Tell whether ``node`` is to be started on this host."""
        return self.placement is None or self.placement.here(node)


def plan(options: Options) -> Plan:
    """Name the sources and choose addresses; raises Refused or EndpointError for what can't be used."""
    _refuse_contradictions(options)
    uris = name_sources(options.sources)
    payloads = _payloads(options.payload, list(uris))
    restarts = _restarts(options, list(uris))
    faults = language.parse(options.fault, list(uris), (COMBINER, SINK))
    placement = hosts.place(
        options.hosts,
        list(uris),
        host=options.host,
        this_machine=platform.node(),
        listen=options.listen,
    )
    if options.listen is not None and placement is None:
        endpoints = endpoint.tcp_endpoints(options.listen, list(uris))
        _refuse_impossible(options, payloads, endpoints)
        return Plan(uris, payloads, endpoints, None, restarts, faults)
    run_dir = (options.run_dir or endpoint.default_run_dir()).absolute()
    endpoints = endpoint.ipc_endpoints(run_dir, list(uris))
    if options.listen is not None and placement is not None:
        endpoints = _across_hosts(options.listen, placement, endpoints)
    for address in endpoints.listening():
        endpoint.ipc_path(address)
    _refuse_impossible(options, payloads, endpoints)
    shared = any(payload.kind == "shm" for payload in payloads.values())
    if placement is not None and shared and not options.no_sink:
        shm_limits.refuse_elsewhere(SINK, placement.beside_combiner(SINK))
    if options.shm_dir and options.shm_dir.absolute() == run_dir:
        # Each is locked: the one by the launcher for good, the other by producers for moments.
        raise Refused(f"--shm-dir and --run-dir are both {run_dir}: name two directories")
    needed = placement is None or placement.here(COMBINER)
    return Plan(uris, payloads, endpoints, run_dir if needed else None, restarts, faults, placement)


def _refuse_contradictions(options: Options) -> None:
    """Raise Refused for flags that would do nothing."""
    if options.sink or options.no_sink:
        flag = "--sink" if options.sink else "--no-sink"
        for name in ("strict", "json", "keep"):
            if getattr(options, name) and not options.plan:
                raise Refused(f"--{name} is for the consumer that prints, which {flag} leaves out")


def _across_hosts(listen: str, placement: Placement, on_one: Endpoints) -> Endpoints:
    """Return tcp addresses, but for the frames of sources that are beside the combiner."""
    tcp = endpoint.tcp_endpoints(listen, list(on_one.pull))
    local = {name: on_one.pull[name] for name in tcp.pull if placement.beside_combiner(name)}
    return Endpoints(pull=tcp.pull | local, pub=tcp.pub, sync=tcp.sync)


def _refuse_impossible(options: Options, payloads: dict[str, Spec], endpoints: Endpoints) -> None:
    for address in endpoints.listening():
        keys.refuse_open(options.keys, address, insecure=options.insecure)
    if options.clock == "corrected" and endpoints.sync is None:
        raise Refused("--clock corrected: on one machine there is one clock; it is for --listen")
    for name, payload in payloads.items():
        if payload.kind == "shm":
            shm_limits.refuse_beyond(options.pace, reachable(endpoints.pull[name]))


def _payloads(asked: tuple[str, ...], sources: list[str]) -> dict[str, Spec]:
    """Return each source's payload; raises Refused for a word that is none, or a source that isn't there."""
    payloads = dict.fromkeys(sources, Spec("raw"))
    for word in asked:
        name, separator, text = word.rpartition("=")
        try:
            payload = Spec.parse(text)
        except ValueError:
            payload = None
        if payload is None or (separator and name not in payloads):
            raise Refused(f"--payload {word}: it is {WORDS}, or NAME=shm for a source of that name")
        payloads |= {name: payload} if separator else dict.fromkeys(sources, payload)
    return payloads


def reachable(address: str) -> str:
    """Return where to connect to what listens at ``address``, which may stand for all interfaces."""
    return address.replace("://*:", "://127.0.0.1:").replace("://0.0.0.0:", "://127.0.0.1:")


def _restarts(options: Options, sources: list[str]) -> dict[str, Policy]:
    """Return each node's policy; raises Refused for a word that is none, or a node that isn't there."""
    # What was lost of an offline run is lost: a new producer would begin its video again.
    default: Policy = "never" if options.pace == "max" else "on-failure"
    policies = dict.fromkeys((*sources, COMBINER, SINK), default)
    for word in options.restart:
        name, separator, asked = word.rpartition("=")
        policy = next((policy for policy in POLICIES if policy == asked), None)
        if policy is None or (separator and name not in policies):
            raise Refused(
                f"--restart {word}: it is {', '.join(POLICIES)}, or NODE=one of them for a source of that"
                " name, combiner or sink"
            )
        policies |= {name: policy} if separator else dict.fromkeys(policies, policy)
    return policies
