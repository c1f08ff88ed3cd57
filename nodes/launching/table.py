"""The process table: from options to the command of each node."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from nodes import shm_limits
from nodes.launching.naming import name_sources
from nodes.launching.options import Options
from nodes.runtime import Refused
from protocol import endpoint
from protocol.endpoint import Endpoints

PAYLOADS = ("raw", "shm")
# Seconds until the last node works, on a machine that is busy: --duration means the time after that.
STARTUP_S = 1
SOURCE_VARIABLE = "FRAMEPAIR_SOURCE"

Kind = Literal["producer", "combiner", "sink"]


@dataclass(frozen=True, slots=True)
class Node:
    """One process: what it is called, what it is, how it is started."""

    name: str
    kind: Kind
    command: tuple[str, ...]
    environment: tuple[tuple[str, str], ...] = ()

    def shell_line(self) -> str:
        """Return the command as one pastes it into a shell."""
        variables = [f"{name}={shlex.quote(value)}" for name, value in self.environment]
        return " ".join([*variables, shlex.join(self.command)])


@dataclass(frozen=True, slots=True)
class Plan:
    """The sources of a pipeline by name, and where its nodes meet."""

    uris: dict[str, str]
    payloads: dict[str, str]
    endpoints: Endpoints
    run_dir: Path | None


def plan(options: Options) -> Plan:
    """Name the sources and choose addresses; raises Refused or EndpointError for what can't be used."""
    uris = name_sources(options.sources)
    payloads = _payloads(options.payload, list(uris))
    if options.listen is not None:
        endpoints = endpoint.tcp_endpoints(options.listen, list(uris))
        _refuse_impossible(options, payloads, endpoints)
        return Plan(uris, payloads, endpoints, None)
    run_dir = (options.run_dir or endpoint.default_run_dir()).absolute()
    endpoints = endpoint.ipc_endpoints(run_dir, list(uris))
    for address in (*endpoints.pull.values(), endpoints.pub):
        endpoint.ipc_path(address)
    _refuse_impossible(options, payloads, endpoints)
    if options.shm_dir and options.shm_dir.absolute() == run_dir:
        # Each is locked: the one by the launcher for good, the other by producers for moments.
        raise Refused(f"--shm-dir and --run-dir are both {run_dir}: name two directories")
    return Plan(uris, payloads, endpoints, run_dir)


def _refuse_impossible(options: Options, payloads: dict[str, str], endpoints: Endpoints) -> None:
    for name, payload in payloads.items():
        if payload == "shm":
            shm_limits.refuse_beyond(options.pace, _reachable(endpoints.pull[name]))


def _payloads(asked: tuple[str, ...], sources: list[str]) -> dict[str, str]:
    """Return each source's payload; raises Refused for a word that is none, or a source that isn't there."""
    payloads = dict.fromkeys(sources, "raw")
    for word in asked:
        name, separator, payload = word.rpartition("=")
        if payload not in PAYLOADS or (separator and name not in payloads):
            raise Refused(
                f"--payload {word}: it is raw or shm, or NAME=shm for a source of that name"
            )
        payloads |= {name: payload} if separator else dict.fromkeys(sources, payload)
    return payloads


def until_ns(options: Options, now_ns: int) -> int | None:
    """Return the capture time at which producers started now are to end; None: they aren't told to."""
    if options.duration is None:
        return None
    duration_ns, window_ns = round(options.duration * 1e9), round(options.window * 1e9)
    if options.pace == "max":
        return duration_ns
    # Windows begin at multiples of their length, and the last one should be whole.
    return -(-(now_ns + STARTUP_S * 10**9 + duration_ns) // window_ns) * window_ns


def table(
    options: Options, plan: Plan, until_ns: int | None, python: tuple[str, ...] = ("python",)
) -> list[Node]:
    """Return the nodes in the order in which frames pass them, to be run by the interpreter ``python``."""
    producers = [_producer(options, plan, name, until_ns, python) for name in plan.uris]
    sinks = [_sink(options, plan, python)] if options.sink else []
    return [*producers, _combiner(options, plan, python), *sinks]


def _producer(
    options: Options, plan: Plan, name: str, until_ns: int | None, python: tuple[str, ...]
) -> Node:
    uri = _absolute(plan.uris[name])
    secret = holds_secret(uri)
    flags = _flags(
        name=name,
        source=None if secret else uri,
        push=_reachable(plan.endpoints.pull[name]),
        pace=options.pace,
        window=options.window,
        loop=options.loop,
        wait=options.wait,
        payload=None if plan.payloads[name] == "raw" else plan.payloads[name],
        history=options.history,
        shm_dir=options.shm_dir and options.shm_dir.absolute(),
        until=None if until_ns is None else _seconds(until_ns),
        max_bytes=options.max_bytes,
        open_timeout=options.open_timeout,
        read_timeout=options.read_timeout,
    )
    # Every user of a machine sees the command lines of all processes, but not their environment.
    environment = ((SOURCE_VARIABLE, uri),) if secret else ()
    return Node(
        f"producer {name}", "producer", (*python, "-m", "nodes.producer", *flags), environment
    )


def _combiner(options: Options, plan: Plan, python: tuple[str, ...]) -> Node:
    pulls = [("--pull", f"{name}={address}") for name, address in plan.endpoints.pull.items()]
    flags = _flags(
        pub=plan.endpoints.pub,
        window=options.window,
        pace=options.pace,
        max_wait=options.max_wait,
        idle_timeout=options.idle_timeout,
        start_timeout=options.start_timeout,
        max_bytes=options.max_bytes,
    )
    arguments = [word for pull in pulls for word in pull]
    return Node("combiner", "combiner", (*python, "-m", "nodes.combiner", *arguments, *flags))


def _sink(options: Options, plan: Plan, python: tuple[str, ...]) -> Node:
    shm_dir = options.shm_dir and options.shm_dir.absolute()
    json = None if options.json is None else options.json.absolute()
    flags = _flags(
        sub=_reachable(plan.endpoints.pub), keep=options.keep, json=json, shm_dir=shm_dir
    )
    return Node("sink", "sink", (*python, "-m", "nodes.sink", *flags))


def _flags(**values: object) -> Iterator[str]:
    for name, value in values.items():
        flag, text = f"--{name.replace('_', '-')}", str(value).removesuffix(".0")
        if value is True:
            yield flag
        elif text.startswith("-"):
            yield f"{flag}={text}"
        elif value is not None and value is not False:
            yield from (flag, text)


def _seconds(time_ns: int) -> str:
    return f"{time_ns // 10**9}.{time_ns % 10**9:09}".rstrip("0").rstrip(".")


def holds_secret(uri: str) -> bool:
    """Tell whether ``uri`` may hold a password: as ``user:password@host``, or as a parameter."""
    scheme, separator, rest = uri.partition("://")
    return bool(separator) and scheme.lower() != "synthetic" and any(mark in rest for mark in "@?=")


def _absolute(uri: str) -> str:
    """Return a file's absolute path, so that its command means the same in any directory."""
    path = Path(uri)
    return str(path.absolute()) if not uri.isdecimal() and path.exists() else uri


def _reachable(address: str) -> str:
    """Return where to connect to what listens at ``address``, which may stand for all interfaces."""
    return address.replace("://*:", "://127.0.0.1:").replace("://0.0.0.0:", "://127.0.0.1:")
