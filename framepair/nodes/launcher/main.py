"""The launcher: starts the nodes of a pipeline, watches them and stops them. Knows nothing of video."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from framepair.nodes.common import exit_codes, streams
from framepair.nodes.launcher.console import say
from framepair.nodes.launcher.signal_queue import SignalQueue

if TYPE_CHECKING:
    from framepair.nodes.launcher.commands import Node
    from framepair.nodes.launcher.control import Control
    from framepair.nodes.launcher.guard import Guard
    from framepair.nodes.launcher.options import Options
    from framepair.nodes.launcher.reload_requests import Reloader, Reread
    from framepair.nodes.launcher.supervisor import Rules
    from framepair.nodes.launcher.topology import Plan


PYTHON = (sys.executable, "-P")
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD, signal.SIGUSR1)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the pipeline that the command line asks for; return the exit code."""
    streams.prepare()
    words = sys.argv[1:] if arguments is None else arguments
    try:
        with SignalQueue(SIGNALS) as signals:
            return obey(words, signals)
    finally:
        streams.finish()


def become(program: Sequence[str] | None) -> None:
    """Become the process of ``program``, a module and its arguments, if there is one."""
    from framepair.nodes.launcher.python_path import python_path

    if program:
        command = [sys.executable, "-P", "-m", *program]
        os.execve(sys.executable, command, {**os.environ, **python_path()})  # noqa: S606


def obey(words: Sequence[str], signals: SignalQueue) -> int:
    """Do what the ``words`` of the command line ask for; return the exit code."""
    # These take a tenth of a second to import, and a Ctrl-C in that time is no failure either.
    from framepair.nodes.common import log_format, usage
    from framepair.nodes.common.runtime import refusals
    from framepair.nodes.launcher import topology, verbs
    from framepair.nodes.launcher.names import without_secrets

    try:
        become(verbs.program(words))
        asked = verbs.read(words)
        if asked is None:
            return 0
        reread = partial(read_again, words, os.environ.get(log_format.LOG_FORMAT_VARIABLE, ""))
        os.environ[log_format.LOG_FORMAT_VARIABLE] = log_format.resolved(asked.log_format) or "text"
        if asked.keygen:
            return make_keys(asked.keygen)
        if asked.plan or asked.doctor:
            return look(words, "estimate" if asked.plan else "doctor")
        plan = topology.plan(asked)
        if asked.print:
            return show(asked, plan)
        return run(asked, plan, signals, reread)
    except refusals() as error:
        say(without_secrets(usage.sentence(error)), "error")
        return exit_codes.USAGE


def read_again(words: Sequence[str], log_format: str, text: str | None) -> Options | None:
    """Return what is asked for now, by ``text`` if there is one instead of the file that --config names.

    ``log_format`` is what its variable said at the start: by now it tells the nodes.
    """
    from framepair.nodes.common.log_format import LOG_FORMAT_VARIABLE
    from framepair.nodes.launcher import verbs

    told = os.environ[LOG_FORMAT_VARIABLE]
    os.environ[LOG_FORMAT_VARIABLE] = log_format
    try:
        return verbs.read(words, text)
    finally:
        os.environ[LOG_FORMAT_VARIABLE] = told


def run(options: Options, plan: Plan, signals: SignalQueue, reread: Reread) -> int:
    """Start the nodes and return the exit code once all of them have ended and nothing of them is left.

    ``reread`` says what is asked for later on.
    """
    from framepair.nodes.launcher import ports, run_dir, topology
    from framepair.nodes.launcher.cleanup import Leftovers
    from framepair.nodes.launcher.guard import Guard
    from framepair.protocol.transport import endpoints, relays

    ports.refuse_taken_ports(topology.listening_here(options, plan))
    if plan.relayed:
        # Before a consumer looks whether another user could be in the relay's place.
        relays.make_directory(_relay(plan))
    lock_held = (
        run_dir.locked(plan.run_dir) if plan.run_dir else contextlib.nullcontext((None, False))
    )
    with lock_held as (lock, made):
        # The default directory stays: consumers may wait there, and another user must not make it meanwhile.
        made = made and plan.run_dir != endpoints.default_run_dir()
        leftovers = Leftovers(
            addresses=_addresses(plan),
            run_dir=str(plan.run_dir) if plan.run_dir else None,
            files=tuple(str(path) for path in own_files(plan)),
            made=str(plan.run_dir) if made else None,
            shared=bool(plan.relayed) or any(p.one_machine for p in plan.payloads.values()),
            shm_dir=str(options.shm_dir.absolute()) if options.shm_dir else None,
        )
        guard = Guard(leftovers, lock)
        try:
            with guard, controlled(plan, signals) as control:
                return run_nodes(options, plan, signals, guard, partial(reloader, control, reread))
        finally:
            guard.leftovers.remove()


def _addresses(plan: Plan) -> tuple[str, ...]:
    """Return the addresses whose sockets a killed node leaves behind."""
    relay = [_relay(plan)] if plan.relayed else []
    return (*(plan.endpoints.listening() if plan.run_dir else ()), *relay)


def _relay(plan: Plan) -> str:
    """Return the address of this host's relay."""
    from framepair.nodes.launcher import topology
    from framepair.protocol.transport import relays

    return relays.address_of(topology.reachable(plan.endpoints.pub))


def own_files(plan: Plan) -> list[Path]:
    """Return the files that the launcher itself makes."""
    from framepair.nodes.common import sources_file

    file = plan.sources_file
    made = [plan.control, file, sources_file.unfinished(file) if file else None]
    return [path for path in made if path is not None]


@contextlib.contextmanager
def controlled(plan: Plan, signals: SignalQueue) -> Iterator[Control | None]:
    """Listen for what is to change; None if that can't be, which is no reason not to run."""
    from framepair.nodes.launcher.control import Control
    from framepair.protocol.transport.endpoints import EndpointError

    if plan.sources_file:
        # Of a launcher that was killed together with its guard.
        plan.sources_file.unlink(missing_ok=True)
    control = Control(plan.control, signals) if plan.control else None
    try:
        if control:
            control.open()
    except (EndpointError, OSError) as error:
        say(f"framepair reload cannot reach this pipeline: {error}", "warning")
        control = None
    try:
        yield control
    finally:
        if control:
            control.close()


def reloader(
    control: Control | None,
    reread: Reread,
    options: Options,
    plan: Plan,
    nodes: Sequence[Node],
    guard: Guard,
) -> Reloader:
    """Return what changes the sources of the pipeline that is being started."""
    from framepair.nodes.launcher import reload_plan
    from framepair.nodes.launcher.reload_requests import Reloader

    running = reload_plan.running(options, plan, nodes)
    return Reloader(running, reread, control, plan.sources_file, guard, PYTHON)


def run_nodes(
    options: Options,
    plan: Plan,
    signals: SignalQueue,
    guard: Guard,
    reloading: Callable[[Options, Plan, Sequence[Node], Guard], Reloader],
) -> int:
    """Start the nodes and return the exit code once all of them have ended."""
    from framepair.nodes.common import monitor_options
    from framepair.nodes.common.parent_death import LAUNCHER_VARIABLE
    from framepair.nodes.common.runtime import LOG_LEVEL_VARIABLE, refuse_bad_offset
    from framepair.nodes.launcher import commands, topology
    from framepair.nodes.launcher.faults import pipeline
    from framepair.nodes.launcher.processes import Processes
    from framepair.nodes.launcher.service_manager import ServiceManager
    from framepair.nodes.launcher.supervisor import Supervisor
    from framepair.protocol.clocks import clock

    refuse_bad_offset()
    offset_ns = clock.utc_offset_ns()
    environment = {
        clock.OFFSET_VARIABLE: str(offset_ns),
        LAUNCHER_VARIABLE: str(os.getpid()),
        LOG_LEVEL_VARIABLE: "INFO" if options.verbose else "WARNING",
    }
    nodes = commands.table(options, plan, PYTHON, plan.sources_file)
    say_start(nodes, quiet=options.quiet)
    if plan.settled and not options.quiet:
        say(plan.settled)
    if options.monitor and any(node.kind == "monitor" for node in nodes):
        say(f"page at {monitor_options.parse_address(options.monitor).url}")
    if options.no_sink:
        say(f"pairs at {topology.reachable(plan.endpoints.pub)}")
    manager = ServiceManager.from_environment()
    supervisor = Supervisor(nodes, rules(options, plan, offset_ns), time.monotonic())
    processes = Processes(environment, signals, guard)
    changes = reloading(options, plan, nodes, guard)
    loop = pipeline(supervisor, processes, signals, manager, changes, options, plan.faults)
    return loop.run()


def say_start(nodes: Sequence[Node], *, quiet: bool) -> None:
    """Name the nodes that are being started, on a terminal: the first pair may be seconds away."""
    if not quiet and sys.stderr.isatty():
        say(f"starting {', '.join(node.key for node in nodes)} …")


def rules(options: Options, plan: Plan, offset_ns: int) -> Rules:
    """Return how patient the supervisor is; ``offset_ns`` is UTC minus the monotonic clock."""
    from framepair.nodes.launcher import pace
    from framepair.nodes.launcher.supervisor import Rules

    asked = pace.of(options)
    duration = asked.duration(options, offset_ns)
    return Rules(plan.health_timeouts_s, asked.settle_s(), duration, options.report_every_s)


def make_keys(directory: Path) -> int:
    """Make keys for a pipeline on several machines."""
    from framepair.protocol.transport import keys

    keys.make(directory)
    say(
        f"{directory}: the combiner's machine needs all of it, the others server.key and client.key_secret"
    )
    return 0


def look(arguments: Sequence[str], node: str) -> int:
    """Have ``node`` look at what the pipeline needs and print it; start nothing."""
    import subprocess

    from framepair.nodes.launcher.python_path import python_path

    # Another process: to look at videos takes what a launcher should not have to load.
    command = (sys.executable, "-P", "-m", f"framepair.nodes.{node}", *arguments)
    return subprocess.run(command, env={**os.environ, **python_path()}, check=False).returncode  # noqa: S603


def show(options: Options, plan: Plan) -> int:
    """Print the nodes' commands, each to be pasted into a terminal; start nothing."""
    from framepair.nodes.launcher import commands, pace, verbs

    if options.duration is not None and pace.of(options).until_ns(options) is None:
        say("--duration is the launcher's: add --until UTC_SECONDS to the producers yourself")
    nodes = commands.table(options, plan)
    if options.listen and ("//*:" in options.listen or "//0.0.0.0:" in options.listen):
        say("other machines reach the combiner at its own address: put that in place of 127.0.0.1")
    if any(commands.SOURCE_VARIABLE in dict(node.environment) for node in nodes):
        say("an address below may hold a password")
    verbs.put("\n".join(node.shell_line() for node in nodes))
    return 0
