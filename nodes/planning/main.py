"""launch.py --plan: what the pipeline that the command line asks for will take. Starts nothing."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from cyclopts import CycloptsError
from rich import box
from rich.console import Console
from rich.table import Table

from nodes.launching import options as launching
from nodes.launching import plan as planning
from nodes.launching.options import Options
from nodes.launching.plan import Plan
from nodes.launching.table import OPEN_TIMEOUT_S, READ_TIMEOUT_S
from nodes.planning import bounds, verdicts
from nodes.planning.bounds import Limits, Source
from nodes.planning.probe import is_synthetic, probe
from nodes.planning.verdicts import size
from nodes.runtime import EXIT_USAGE, Refused
from nodes.sources.source import SourceError
from protocol import shared_ring
from protocol.endpoint import EndpointError

KEEP, HISTORY_S = 2, 4.0


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
        options = launching.parse(sys.argv[1:])
        if options is None:
            return 0
        plan = planning.plan(options)
        needs = find_needs(options, plan, [_source(options, plan, name) for name in plan.uris])
    except (CycloptsError, EndpointError, Refused, SourceError) as error:
        print(f"launch: {' '.join(str(error).split())}", file=sys.stderr)
        return EXIT_USAGE
    try:
        if options.json:
            options.json.write_text(json.dumps(asdict(needs), indent=2) + "\n")
    except OSError as error:
        print(f"launch: cannot write {options.json}: {error.strerror}", file=sys.stderr)
        return EXIT_USAGE
    _show(needs, Console(highlight=False))
    return EXIT_USAGE if needs.refusals else 0


def find_needs(options: Options, plan: Plan, sources: list[Source]) -> Needs:
    """Return what ``sources`` take in the pipeline of ``plan``."""
    limits = Limits(
        window_s=options.window,
        max_bytes=options.max_bytes,
        keep=options.keep or KEEP,
        history_s=options.history or HISTORY_S,
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
            *verdicts.of_unknown(sources),
            *verdicts.of_links(sources, plan.endpoints.pub),
            *verdicts.of_memory(sum(processes.values())),
        ],
        refusals=list(verdicts.of_shared_memory(sources, limits, Path(directory))),
    )


def _source(options: Options, plan: Plan, name: str) -> Source:
    uri = plan.uris[name]
    timeouts = {
        "open_timeout_s": options.open_timeout or OPEN_TIMEOUT_S,
        "read_timeout_s": options.read_timeout or READ_TIMEOUT_S,
    }
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


if __name__ == "__main__":
    sys.exit(main())
