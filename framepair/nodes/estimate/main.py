"""launch.py --plan: what the pipeline that the command line asks for will take. Starts nothing."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from cyclopts import CycloptsError
from rich import box
from rich.console import Console
from rich.table import Table

from framepair.nodes.common import exit_codes
from framepair.nodes.common.runtime import Refused
from framepair.nodes.estimate import bounds
from framepair.nodes.estimate.bounds import MB, Limits, Source, ring_bytes
from framepair.nodes.launcher import topology as planning
from framepair.nodes.launcher import verbs
from framepair.nodes.launcher.names import without_secrets
from framepair.nodes.launcher.options import Options
from framepair.nodes.launcher.topology import Plan
from framepair.nodes.producer.sources.opening import open_capture
from framepair.nodes.producer.sources.source import (
    Capture,
    CaptureLost,
    Format,
    FrameLost,
    SourceError,
)
from framepair.nodes.producer.sources.uri import parse
from framepair.protocol.clocks import clock
from framepair.protocol.memory import free_space, jpeg, shared_ring
from framepair.protocol.transport import endpoints
from framepair.protocol.transport.endpoints import EndpointError


def probe(
    name: str, uri: str, quality: int | None, *, open_timeout_s: float, read_timeout_s: float
) -> tuple[Format | None, int | None]:
    """Return the format of what ``uri`` names, and how many bytes its first frame takes as JPEG.

    None, if it can't be opened or read now, or there is no ``quality``.
    """
    try:
        capture = open_capture(
            name, uri, loop=False, open_timeout_s=open_timeout_s, read_timeout_s=read_timeout_s
        )
    except SourceError:
        return None, None
    with closing(capture):
        return capture.format, None if quality is None else _jpeg_bytes(capture, quality)


def is_synthetic(uri: str) -> bool:
    """Tell whether ``uri`` names no video: raises SourceError if it names nothing."""
    return parse(uri).synthetic is not None


def _jpeg_bytes(capture: Capture, quality: int) -> int | None:
    try:
        if not capture.grab():
            return None
        memory = np.empty(capture.format.shape, np.uint8)
        return len(jpeg.encode(capture.retrieve(memory, 0, clock.now_ns()), quality))
    except (CaptureLost, FrameLost, SourceError):
        return None


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
    existing = next(path for path in (directory, *directory.parents) if path.exists())
    status = os.statvfs(existing)
    free = status.f_bavail * status.f_frsize
    if status.f_blocks and needed > free:
        yield (
            f"{existing} has {size(free)}, the rings need {size(needed)}: choose a smaller --history, or give"
            " it more (docker: --shm-size, compose: shm_size)"
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
        return f"{source.name} {source.payload}"
    height, width, _ = source.format.shape
    picture = f"{height}p" if width * 9 == height * 16 else f"{width}x{height}@"
    return f"{source.name} {source.payload} {picture}{source.format.fps:g}"


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

    links: dict[str, tuple[str, float]]
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
        needs = find_needs(options, plan, [_source(options, plan, name) for name in plan.uris])
    except (CycloptsError, EndpointError, Refused, SourceError) as error:
        print(f"framepair: {without_secrets(' '.join(str(error).split()))}", file=sys.stderr)
        return exit_codes.USAGE
    try:
        if options.json:
            options.json.write_text(json.dumps(asdict(needs), indent=2) + "\n")
    except OSError as error:
        print(f"framepair: cannot write {options.json}: {error.strerror}", file=sys.stderr)
        return exit_codes.USAGE
    _show(needs, Console(highlight=False))
    return exit_codes.USAGE if needs.refusals else 0


def find_needs(options: Options, plan: Plan, sources: list[Source]) -> Needs:
    """Return what ``sources`` take in the pipeline of ``plan``."""
    limits = Limits(
        window_s=options.window,
        max_bytes=options.max_bytes,
        keep=options.keep,
        history_s=options.history,
    )
    links = {source.name: (source.address, source.link_bytes_per_s) for source in sources}
    whole = sum(source.link_bytes_per_s for source in sources)
    processes = {
        f"producer {source.name}": bounds.producer_bytes(source, limits) for source in sources
    }
    consumer = (
        "your consumer, with nothing else in it" if options.sink or options.no_sink else "sink"
    )
    processes |= {
        "combiner": bounds.combiner_bytes(sources, limits),
        consumer: bounds.sink_bytes(sources, limits),
    }
    if plan.endpoints.sync:
        links |= {"time": (plan.endpoints.sync, 0.0)}
    directory = options.shm_dir or shared_ring.default_directory()
    return Needs(
        links=links | {"pairs": (plan.endpoints.pub, whole)},
        processes=processes,
        shared_bytes=sum(bounds.ring_bytes(source, limits) for source in sources),
        verdicts=[
            *of_unknown(sources),
            *of_links(sources, plan.endpoints.pub),
            *of_memory(sum(processes.values())),
        ],
        refusals=list(of_shared_memory(sources, limits, Path(directory))),
    )


def _source(options: Options, plan: Plan, name: str) -> Source:
    uri = plan.uris[name]
    timeouts = {"open_timeout_s": options.open_timeout, "read_timeout_s": options.read_timeout}
    payload = plan.payloads[name]
    quality = payload.quality if payload.kind == "jpeg" else None
    found, jpeg_bytes = probe(name, uri, quality, **timeouts)
    return Source(
        name=name,
        format=found,
        jpeg_bytes=jpeg_bytes,
        payload=payload.kind,
        synthetic=is_synthetic(uri),
        address=plan.endpoints.pull[name],
    )


def _show(needs: Needs, console: Console) -> None:
    links = Table("link", "address", box=box.SIMPLE_HEAD, pad_edge=False)
    links.add_column("MB/s", justify="right")
    links.add_column("Gbit/s", justify="right")
    for name, (address, rate) in needs.links.items():
        links.add_row(name, address, f"{rate / 1e6:.1f}", f"{8 * rate / 1e9:.2f}")
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
