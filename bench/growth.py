"""Measure how the costs of a pipeline grow: with its sources, consumers, sizes and hosts; some minutes."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import hosts
from bench.load import Load, NotCarried, measure
from bench.tables import Section, Table, number

SECONDS = 5.0
# Planes as videos are decoded, and rings of 2 s: 64 of the default 4 s would be more memory than most have.
SHARED = ("--payload", "shm", "--pixels", "i420", "--history", "2")
SIZES = {"480p": (854, 480), "720p": (1280, 720), "1080p": (1920, 1080), "2160p": (3840, 2160)}
TINY = (64, 48)


@dataclass(frozen=True, slots=True)
class Cell:
    """One load, which ``what`` says beside its sort of growth."""

    growth: str
    what: str
    load: Load


def cells() -> Iterator[Cell]:
    """Yield all loads that are measured."""
    for count in (2, 8, 16, 32, 64):
        yield Cell("sources (shm)", f"{count}", Load(sources=count, flags=SHARED))
    for count in (1, 2, 4, 8, 16):
        flags = ("--relay", "always" if count > 1 else "never")
        yield Cell("consumers (raw)", f"{count}", Load(consumers=count, flags=flags))
    for what, size in SIZES.items():
        yield Cell("size (shm)", what, Load(size=size, flags=SHARED))
    for count in (1, 2, 4):
        yield Cell("hosts (4 sources, raw)", f"{count}", Load(sources=4, hosts=count))
    for count in (500, 1500):
        yield Cell(
            "frames a second (4 tiny sources)", f"{4 * count}", Load(4, size=TINY, fps=count)
        )


def relay_cells() -> Iterator[Cell]:
    """Yield loads with one and several consumers, with a relay and without one, in turns."""
    for count in (1, 2, 4, 8):
        for asked in ("never", "always"):
            load = Load(consumers=count, flags=("--relay", asked))
            yield Cell(
                "consumers (raw)", f"{count}, {'with' if asked == 'always' else 'no'} relay", load
            )


def growth(*, only: str = "", seconds: float = SECONDS, json: Path | None = None) -> None:
    """Measure how costs grow with sources, consumers, sizes and hosts, and how many frames a combiner carries.

    Parameters
    ----------
    only
        What grows, such as sources; everything without it.
    seconds
        How long each load is measured, once it runs.
    json
        File that the results are written to.
    """
    _run([cell for cell in cells() if cell.growth.startswith(only)], seconds, json)


def relay(*, seconds: float = SECONDS, json: Path | None = None) -> None:
    """Measure 1 to 8 consumers of one machine, with a relay and without one.

    Parameters
    ----------
    seconds
        How long each load is measured, once it runs.
    json
        File that the results are written to.
    """
    _run(list(relay_cells()), seconds, json)


def _run(asked: Sequence[Cell], seconds: float, path: Path | None) -> None:
    rows = compare(asked, seconds, lambda sentence: print(sentence, flush=True))
    if path:
        path.write_text(json.dumps(rows, indent=1) + "\n")
    print(table(rows).markdown())


def compare(asked: Sequence[Cell], seconds: float, say: Callable[[str], None]) -> list[Section]:
    """Measure the loads one after the other; return a row of figures for each."""
    rows = []
    for cell in asked:
        row: Section = {"growth": cell.growth, "what": cell.what}
        try:
            row |= {"why_not": None, **_measured(cell.load, seconds)}
        except (NotCarried, subprocess.CalledProcessError) as error:
            row |= {"why_not": str(error)}
        say(f"{cell.growth}: {row}")
        rows.append(row)
    return rows


def _measured(load: Load, seconds: float) -> Section:
    if load.hosts > 1 and not hosts.can_be_made():
        raise NotCarried("needs root and the command ip to make hosts")
    return measure(load, seconds).summary()


def table(rows: Sequence[Mapping[str, object]]) -> Table:
    """Return the rows as a table."""
    columns = (
        "",
        "cores",
        "of producers",
        "ms a frame",
        "lag p50",
        "p99",
        "lost",
        "memory",
        "combiner",
    )
    found = Table("", columns)
    for row in rows:
        found.rows.append((f"{row['growth']}: {row['what']}", *_figures(row)))
    found.notes.append(
        "Processor time of all processes and of the producers among them, in cores, and of all for each frame"
        " captured; lag in ms; frames lost in all consumers; memory in GB, shared memory counted once; what the"
        " combiner's main thread takes for a frame, in µs."
    )
    return found


def _figures(row: Mapping[str, object]) -> tuple[str, ...]:
    if row["why_not"]:
        return ("-",) * 8
    cores_of = row["cores_of"]
    producers = cores_of.get("producer", 0.0) if isinstance(cores_of, Mapping) else 0.0
    values = {name: value for name, value in row.items() if isinstance(value, int | float)}
    return (
        number(values["cores"], 2),
        number(producers, 2),
        number(values["ms_per_frame"], 2),
        number(values.get("lag_p50_ms"), 1),
        number(values.get("lag_p99_ms"), 1),
        number(values["frames_lost"], 0),
        number(values["memory_bytes"] / 1e9, 1),
        number(values["combiner_us_per_frame"], 0),
    )
