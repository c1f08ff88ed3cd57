"""Measure framepair beside what one would use instead, in one run: about half an hour."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, get_args

import cyclopts
from cyclopts import Parameter
from rich.console import Console

from bench import capacity, cpu, growth, machine, start, summary, tables
from bench.hop import compare as hop
from bench.pair import compare as pair
from bench.tables import Section

Part = Literal["hop", "pair", "capacity", "cpu"]
PARTS: tuple[Part, ...] = get_args(Part)
# Of what is printed into a file.
WIDTH = 110

app = cyclopts.App(name="python -m bench", help=__doc__, version_flags=[])
app.command(start.start)
app.command(growth.growth)
app.command(growth.relay)


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a benchmark can be told."""

    only: Annotated[tuple[Part, ...], Parameter(negative=(), consume_multiple=True)] = PARTS
    """Which parts to measure."""
    quick: Annotated[bool, Parameter(negative=())] = False
    """Shorter, without capacity, cpu and other projects' software: under a minute."""
    json: Path | None = None
    """File that the results are written to, after each part."""
    load: Path | None = None
    """Such a file, for the parts that are not measured now; by itself, nothing is."""
    markdown: Annotated[bool, Parameter(negative=())] = False
    """Print one table of all, in Markdown, as the README has it."""
    picture: Path | None = None
    """File to draw the results in: a name that ends in .png or .svg."""


DEFAULTS = Options()


@app.default
def bench(options: Annotated[Options, Parameter(name="*")] = DEFAULTS) -> None:
    """Measure framepair beside what one would use instead, all in one run: about half an hour."""
    results = json.loads(options.load.read_text()) if options.load else {}
    for part in asked(options):
        results["machine"] = machine.describe()
        results[part] = MEASURES[part](options)
        if options.json:
            options.json.write_text(json.dumps(results, indent=1) + "\n")
    show(results, options)
    if options.picture:
        # Not at the top, because it is only there with the extra bench.
        from bench import picture

        picture.draw(results, options.picture)


def asked(options: Options) -> tuple[Part, ...]:
    """Return the parts to measure."""
    if options.load and options.only == PARTS:
        return ()
    quick: tuple[Part, ...] = ("hop", "pair")
    return tuple(part for part in options.only if part in quick or not options.quick)


def measure_hop(options: Options) -> Section:
    """Measure the ways from one process to another."""
    if options.quick:
        return hop.compare(hop.OWN, 2, 0.1, say)
    return hop.compare(hop.PEERS + hop.OWN, 7, 0.7, say)


def measure_pair(options: Options) -> Section:
    """Measure the designs."""
    if options.quick:
        return pair.compare(("queues", "raw", "shm"), 3, say)
    return pair.compare(pair.DESIGNS, 20, say)


def measure_capacity(options: Options) -> Section:  # noqa: ARG001 - all parts are called alike
    """Measure how many sources are carried."""
    return capacity.compare(capacity.CONTENDERS, 10, say)


def measure_cpu(options: Options) -> Section:  # noqa: ARG001 - all parts are called alike
    """Measure processor time."""
    return cpu.compare(cpu.CODECS, 4, 8, say)


MEASURES: dict[Part, Callable[[Options], Section]] = {
    "hop": measure_hop,
    "pair": measure_pair,
    "capacity": measure_capacity,
    "cpu": measure_cpu,
}
TABLES: dict[Part, Callable[[Section], tables.Table]] = {
    "hop": tables.hop,
    "pair": tables.pair,
    "capacity": tables.capacity,
    "cpu": tables.cpu,
}


def show(results: dict[str, Section], options: Options) -> None:
    """Print the tables of all parts that there are, or the README's."""
    if options.markdown:
        print(summary.table(results).markdown())
        return
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    for part in PARTS:
        if part in results:
            TABLES[part](results[part]).show(console)
    where = machine.sentence(results["machine"])
    console.print(where, style="dim", soft_wrap=True)


def say(what: str) -> None:
    """Tell how far it is."""
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    app()
