"""framepair plan: what the pipeline that the command line asks for will take. Starts nothing."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from cyclopts import CycloptsError
from rich import box
from rich.console import Console
from rich.table import Table

from framepair.nodes.common import exit_codes, json_output
from framepair.nodes.common.patient_console import PatientConsole
from framepair.nodes.common.runtime import Refused
from framepair.nodes.estimate import bounds, probes
from framepair.nodes.estimate.bounds import MB, Format, Limits, Source, ring_bytes
from framepair.nodes.estimate.probes import Probe
from framepair.nodes.launcher import topology as planning
from framepair.nodes.launcher import verbs
from framepair.nodes.launcher.names import (
    MONITOR,
    RECORDER,
    RELAY,
    is_missing_file,
    is_synthetic,
    without_secrets,
)
from framepair.nodes.launcher.options import Options
from framepair.nodes.launcher.topology import Plan
from framepair.protocol.memory import free_space, payload, payloads, shared_ring
from framepair.protocol.memory.auto import Auto
from framepair.protocol.transport import endpoints
from framepair.protocol.transport.endpoints import EndpointError
from framepair.protocol.wire.frame import picture_size

# What is left of 1 GbE for what it carries.
GIGABIT_BYTES_PER_S = 0.94e9 / 8


def of_links(sources: Sequence[Source], pub: str) -> Iterator[str]:
    """Say which links carry more than a usual network does."""
    for source in sources:
        if not endpoints.is_on_this_machine(source.address):
            yield from _too_much(f"{described(source)}", source.link_bytes_per_s)
    if not endpoints.is_on_this_machine(pub):
        whole = sum(source.link_bytes_per_s for source in sources)
        yield from _too_much("all sources, to each consumer elsewhere", whole)


def of_shared_memory(sources: Sequence[Source], limits: Limits, directory: Path) -> Iterator[str]:
    """Say whether the rings don't fit."""
    needed = sum(ring_bytes(source, limits) for source in sources)
    existing, free = _free_bytes(directory)
    if free is not None and needed > free:
        yield (
            f"{existing} has {size(free)}, the rings need {size(needed)}: choose a smaller --history, or give"
            " it more (docker: --shm-size, compose: shm_size)"
        )


def _free_bytes(directory: Path) -> tuple[Path, int | None]:
    """Return what exists of ``directory``, and how much is free there, None if there is no limit."""
    existing = next(path for path in (directory, *directory.parents) if path.exists())
    status = os.statvfs(existing)
    return existing, status.f_bavail * status.f_frsize if status.f_blocks else None


def _fitting(
    sources: Sequence[Source], limits: Limits, directory: Path
) -> tuple[list[Source], list[str]]:
    """Return the sources, with ``auto`` as raw where a ring does not fit, and a sentence on each of those."""
    existing, free = _free_bytes(directory)
    known, sentences, taken = [], [], 0
    for source in sources:
        nbytes = ring_bytes(source, limits)
        if isinstance(source.payload, Auto) and free is not None and taken + nbytes > free:
            sentences.append(
                f"{source.name} is sent raw: its ring needs {size(nbytes)} and {existing} has"
                f" {size(free - taken)}"
            )
            source = replace(source, payload=payloads.DEFAULT, message_bytes=source.frame_bytes)
        else:
            taken += nbytes
        known.append(source)
    return known, sentences


def of_messages(sources: Sequence[Source]) -> Iterator[str]:
    """Say which sources have frames that are too large for a message."""
    for source in sources:
        if source.format is not None and not source.payload.one_machine:
            complaint = payload.message_complaint(source.format.shape)
            if complaint:
                yield f"{source.name}: {complaint}"


def of_no_relay(needed: int, directory: Path) -> Iterator[str]:
    """Say that the rings of a relay don't fit."""
    existing, free = _free_bytes(directory)
    yield (
        f"{existing} has {size(free or 0)}, a relay's rings need {size(needed)}: without them each consumer"
        " receives all frames by itself; choose a smaller --history, or give it more"
    )


def of_memory(total: int) -> Iterator[str]:
    """Say whether the processes may take more memory than there is."""
    free = free_space.free_memory()
    if total > free:
        taken = f"the nodes may take {size(total)} and {size(free)} are free"
        yield f"{taken}: choose a smaller --max-bytes or --keep"


def of_unknown(sources: Sequence[Source]) -> Iterator[str]:
    """Say what could not be found out."""
    for source in sources:
        if source.format is None:
            yield f"{source.name} can't be opened now: what it takes is not known"


def described(source: Source) -> str:
    """Return what a source is, such as left raw 1080p25."""
    if source.format is None:
        return f"{source.name} {source.payload.name}"
    width, height = picture_size(source.format.shape, source.format.encoding)
    picture = f"{height}p" if width * 9 == height * 16 else f"{width}x{height}@"
    return f"{source.name} {source.payload.name} {picture}{source.format.fps:g}"


def size(nbytes: float) -> str:
    """Return a number of bytes for people."""
    return f"{nbytes / MB / 1000:.1f} GB" if nbytes >= 1000 * MB else f"{nbytes / MB:.0f} MB"


def _too_much(what: str, bytes_per_s: float) -> Iterator[str]:
    if bytes_per_s > GIGABIT_BYTES_PER_S:
        rate = f"{8 * bytes_per_s / 1e9:.2f} Gbit/s"
        yield (
            f"{what} = {rate}: more than 1 GbE carries; use --payload jpeg or smaller pictures, or"
            " --payload shm on one machine"
        )


@dataclass(frozen=True, slots=True)
class Needs:
    """What a pipeline takes: bytes a second by link, bytes at most by process, and what is wrong with that."""

    links: dict[str, tuple[str, float | None]]
    """The address, and the bytes a second, None if those are not known."""
    processes: dict[str, int]
    shared_bytes: int
    verdicts: list[str]
    refusals: list[str]


def main() -> int:
    """Print the plan; return 0, or 2 if the pipeline cannot run."""
    try:
        options = verbs.read(sys.argv[1:])
        if options is None:
            return 0
        plan = planning.plan(options)
        needs = find_needs(options, plan, find_sources(options, plan))
    except (CycloptsError, EndpointError, Refused) as error:
        print(f"framepair: {without_secrets(' '.join(str(error).split()))}", file=sys.stderr)
        return exit_codes.USAGE
    to_stderr = options.json == json_output.STDOUT
    _show(needs, PatientConsole(highlight=False, stderr=to_stderr))
    try:
        if options.json:
            json_output.write(options.json, asdict(needs))
    except OSError as error:
        print(f"framepair: cannot write {options.json}: {error.strerror}", file=sys.stderr)
        return exit_codes.USAGE
    return exit_codes.USAGE if needs.refusals else 0


def find_needs(options: Options, plan: Plan, sources: list[Source]) -> Needs:
    """Return what ``sources`` take in the pipeline of ``plan``."""
    limits = _limits(options, plan)
    directory = options.shm_dir or shared_ring.default_directory()
    sources, fallen_back = _fitting(sources, limits, directory)
    rings, free = sum(ring_bytes(source, limits) for source in sources), _free_bytes(directory)[1]
    relays = sum(bounds.relay_ring_bytes(source, limits) for source in sources if plan.relayed)
    relayed = bool(plan.relayed) and (free is None or rings + relays <= free)
    processes = _processes(options, sources, limits, relayed=relayed)
    return Needs(
        links=_links(plan, sources),
        processes=processes,
        shared_bytes=rings + relays * relayed,
        verdicts=[
            *of_unknown(sources),
            *fallen_back,
            *(of_no_relay(relays, directory) if plan.relayed and not relayed else ()),
            *of_links(sources, plan.endpoints.pub),
            *of_memory(sum(processes.values())),
        ],
        refusals=[
            *of_messages(sources),
            *of_shared_memory(sources, limits, directory),
        ],
    )


def _limits(options: Options, plan: Plan) -> Limits:
    wait_s = planning.max_wait_s(options, plan)
    return Limits(
        window_s=options.window,
        max_bytes=options.max_bytes,
        keep=options.keep,
        history_s=payload.history_s(options.history, options.window, wait_s),
        max_wait_s=wait_s,
        max_sources=options.max_sources,
    )


def _links(plan: Plan, sources: list[Source]) -> dict[str, tuple[str, float | None]]:
    links = {source.name: (source.address, _rate(source)) for source in sources}
    if plan.endpoints.sync:
        links |= {"time": (plan.endpoints.sync, 0.0)}
    known = [rate for source in sources if (rate := _rate(source)) is not None]
    return links | {
        "pairs": (plan.endpoints.pub, sum(known) if len(known) == len(sources) else None)
    }


def _rate(source: Source) -> float | None:
    return None if source.format is None else source.link_bytes_per_s


def _processes(
    options: Options, sources: list[Source], limits: Limits, *, relayed: bool
) -> dict[str, int]:
    own = "your consumer, with nothing else in it" if options.sink or options.no_sink else "sink"
    producers = {f"producer {s.name}": bounds.producer_bytes(s, limits) for s in sources}
    needed = producers | {
        "combiner": bounds.combiner_bytes(sources, limits),
        own: bounds.sink_bytes(sources, limits),
    }
    if options.record:
        needed[RECORDER] = bounds.recorder_bytes(sources)
    if options.monitor:
        needed[MONITOR] = bounds.monitor_bytes(sources)
    if relayed:
        needed[RELAY] = bounds.relay_bytes(sources, limits)
    return needed


def find_sources(options: Options, plan: Plan) -> list[Source]:
    """Return the sources of ``plan``; raises Refused if one can't be one, or is a file that is not there."""
    _refuse_missing_files(options, plan)
    return [known_source(plan, probe) for probe in probes.look(options, plan, list(plan.uris))]


def _refuse_missing_files(options: Options, plan: Plan) -> None:
    for name, uri in plan.uris.items():
        if plan.here(name) and not options.wait and is_missing_file(uri):
            raise Refused(
                f"{name}: there is no file {uri}: correct the path, or say --wait if it will be there"
            )


def known_source(plan: Plan, probe: Probe) -> Source:
    """Return a source as far as ``probe`` knows it; raises Refused if it can't be one."""
    if probe.refused:
        raise Refused(probe.complaint or f"{probe.name} is no source")
    name, found = probe.name, probe.found
    return Source(
        name=name,
        format=Format(tuple(found["shape"]), found["fps"], found["encoding"]) if found else None,
        message_bytes=found.get("message_bytes"),
        payload=plan.payloads[name],
        synthetic=is_synthetic(plan.uris[name]),
        address=plan.endpoints.pull[name],
    )


def _show(needs: Needs, console: Console) -> None:
    links = Table("link", "address", box=box.SIMPLE_HEAD, pad_edge=False)
    links.add_column("MB/s", justify="right")
    links.add_column("Gbit/s", justify="right")
    for name, (address, rate) in needs.links.items():
        figures = ("?", "?") if rate is None else (f"{rate / 1e6:.1f}", f"{8 * rate / 1e9:.2f}")
        links.add_row(name, address, *figures)
    processes = Table("process", box=box.SIMPLE_HEAD, pad_edge=False)
    processes.add_column("memory at most", justify="right")
    for name, nbytes in needs.processes.items():
        processes.add_row(name, size(nbytes))
    console.print(links)
    console.print(processes)
    console.print(
        f"Shared memory: {size(needs.shared_bytes)}. The combiner's memory is for one consumer;"
    )
    console.print("each further one that does not receive adds what queues for it.", end="\n\n")
    for sentence in (*needs.refusals, *needs.verdicts):
        console.print(sentence, style="yellow", soft_wrap=True)
    if not needs.refusals and not needs.verdicts:
        console.print("Nothing speaks against it.", style="green")
