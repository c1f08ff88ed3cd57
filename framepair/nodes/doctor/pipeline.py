"""What the pipeline of a configuration needs on this machine: a place, ports, keys, sources, memory."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

from framepair.nodes.common.runtime import Refused
from framepair.nodes.doctor.finding import Finding
from framepair.nodes.estimate import main as estimate
from framepair.nodes.estimate import probes
from framepair.nodes.estimate.probes import Probe
from framepair.nodes.launcher import ports, run_dir
from framepair.nodes.launcher.names import COMBINER, is_missing_file
from framepair.nodes.launcher.options import Options
from framepair.nodes.launcher.topology import Plan, listening_here
from framepair.protocol.transport import keys as key_files
from framepair.protocol.transport.endpoints import EndpointError

# How long the combiner's machine has to answer.
CONNECT_S = 2.0
VIDEO_DEVICES = "/dev/video"

Check = Callable[[Options, Plan], Iterator[Finding]]


def place(_options: Options, plan: Plan) -> Iterator[Finding]:
    """Yield whether the run directory can be had."""
    if plan.run_dir is None:
        return
    try:
        with run_dir.locked(plan.run_dir) as (_, made):
            if made:
                plan.run_dir.rmdir()
    except (EndpointError, OSError) as error:
        yield Finding("bad", "run directory", str(error))
        return
    yield Finding("ok", "run directory", f"{plan.run_dir} is free")


def addresses(options: Options, plan: Plan) -> Iterator[Finding]:
    """Yield whether ports are free, and on another host than the combiner's whether that answers."""
    tcp = [each for each in listening_here(options, plan) if each.startswith("tcp://")]
    try:
        ports.refuse_taken_ports(tcp)
        if tcp:
            yield Finding(
                "ok", "ports", f"{', '.join(tcp)} {'is' if len(tcp) == 1 else 'are'} free"
            )
    except Refused as error:
        yield Finding("bad", "ports", str(error))
    if not plan.here(COMBINER):
        yield from _answers(plan.endpoints.pub)


def _answers(address: str) -> Iterator[Finding]:
    host, _, port = address.removeprefix("tcp://").rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), CONNECT_S):
            yield Finding("ok", "combiner", f"{address} answers")
    except OSError as error:
        reason = error.strerror or str(error)
        todo = "start the pipeline on that host, and let this port through its firewall"
        yield Finding("note", "combiner", f"{address} does not answer ({reason}): {todo}")


def keys(options: Options, plan: Plan) -> Iterator[Finding]:
    """Yield whether the keys that this host needs can be read."""
    tcp = [address for address in plan.endpoints.listening() if address.startswith("tcp://")]
    directory = key_files.directory(options.keys)
    if not tcp or directory is None:
        return
    try:
        if plan.here(COMBINER):
            server = key_files.server(options.keys, tcp, insecure=options.insecure)
            count = len(server.clients) if server else 0
            yield Finding("ok", "keys", f"{directory}: the combiner's, and of {count} clients")
        key_files.client(options.keys, tcp[0], insecure=options.insecure)
        yield Finding("ok", "keys", f"{directory}: a client's")
    except EndpointError as error:
        yield Finding("bad", "keys", str(error))


def sources(options: Options, plan: Plan) -> Iterator[Finding]:
    """Yield of each source here whether it can be opened; of all of them whether memory suffices."""
    names = [name for name in plan.uris if plan.here(name)]
    missing = [name for name in names if is_missing_file(plan.uris[name])]
    for name in missing:
        sentence = f"there is no file {plan.uris[name]}: correct the path"
        yield Finding("note" if options.wait else "bad", f"source {name}", sentence)
    found = list(probes.look(options, plan, [name for name in names if name not in missing]))
    for probe in found:
        yield _source(options, plan.uris[probe.name], probe)
    if not missing and not any(probe.refused for probe in found):
        yield from _memory(options, plan, found)


def _source(options: Options, uri: str, probe: Probe) -> Finding:
    what = f"source {probe.name}"
    if probe.found:
        height, width, _ = probe.found["shape"]
        said = (
            f"{width}x{height} {probe.found['encoding']} at {probe.found['fps']:g} frames a second"
        )
        return Finding("ok", what, said)
    if probe.complaint is None:
        return Finding("note", what, "a pipe can be read only once: it was not looked at")
    complaint = probe.complaint.removeprefix(f"source {probe.name}: ")
    advice = _camera_advice(uri)
    said = f"{complaint}; {advice}" if advice else complaint
    return Finding("note" if options.wait and not probe.refused else "bad", what, said)


def _camera_advice(uri: str) -> str | None:
    """Return what to do about a camera that is there and may not be opened by this user."""
    path = Path(f"{VIDEO_DEVICES}{uri}" if uri.isdecimal() else uri)
    if not str(path).startswith(VIDEO_DEVICES) or not path.exists():
        return None
    if os.access(path, os.R_OK | os.W_OK):
        return None
    group = path.group()
    return (
        f"this user may not open {path}: usermod --append --groups {group} USER, and log in again"
    )


def _memory(options: Options, plan: Plan, found: list[Probe]) -> Iterator[Finding]:
    """Yield what speaks against the pipeline as framepair plan has it, of the sources of this host."""
    known = [estimate.known_source(plan, probe) for probe in found]
    needs = estimate.find_needs(options, plan, known)
    yield from (Finding("bad", "memory", sentence) for sentence in needs.refusals)
    unknown = set(estimate.of_unknown(known))
    yield from (Finding("note", "memory", each) for each in needs.verdicts if each not in unknown)
    if not needs.refusals and not set(needs.verdicts) - unknown:
        total = estimate.size(sum(needs.processes.values()))
        shared = estimate.size(needs.shared_bytes)
        yield Finding("ok", "memory", f"at most {total}, of shared memory {shared}")


CHECKS: tuple[Check, ...] = (place, addresses, keys, sources)
