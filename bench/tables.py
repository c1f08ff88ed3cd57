"""Results as tables: for a terminal, and as Markdown for the README."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table as RichTable

Section = dict[str, Any]


@dataclass(slots=True)
class Table:
    """Columns of text, the first of them words and the others figures, with notes below."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def show(self, console: Console) -> None:
        """Print it for people."""
        table = RichTable(title=self.title, title_justify="left", box=box.SIMPLE_HEAD)
        for number, column in enumerate(self.columns):
            table.add_column(column, justify="right" if number else "left", no_wrap=not number)
        for row in self.rows:
            table.add_row(*row)
        console.print(table)
        for note in self.notes:
            console.print(note, style="dim", soft_wrap=True)

    def markdown(self) -> str:
        """Return it as the README has it."""
        lines = [self.columns, ("---", *["---:"] * (len(self.columns) - 1)), *self.rows]
        table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        title = [f"**{self.title}**"] if self.title else []
        return "\n\n".join([*title, table, *self.notes])


def number(value: float | None, digits: int = 1, unit: str = "") -> str:
    """Return a figure as a table has it; a dash if there is none."""
    return "-" if value is None else f"{value:,.{digits}f}{unit}"


def hop(section: Section) -> Table:
    """Return the table of the ways from one process to another, the fastest first."""
    height, width, _ = section["shape"]
    table = Table(
        f"A {width}x{height} frame from one process to another",
        ("", "µs per frame", "memcpy's speed", "x mp.Queue"),
    )
    measured = [row for row in section["rows"] if row["median_us"] is not None]
    for row in sorted(measured, key=lambda row: row["median_us"]):
        of_limit = None if row["of_limit"] is None else 100 * row["of_limit"]
        figures = number(row["median_us"], 0), number(of_limit, 0, " %"), number(row["of_baseline"])
        table.rows.append((row["name"], *figures))
    table.notes.append(
        f"Medians of {section['rounds']} interleaved rounds, each in fresh processes; the receiver holds"
        " the newest 16 frames, and pools have 24."
    )
    table.notes += missing(section)
    return table


def missing(section: Section) -> list[str]:
    """Return a sentence for what was not measured."""
    lacking = [f"{row['name']} ({row['why_not']})" for row in section["rows"] if row.get("why_not")]
    return [f"Not measured: {', '.join(lacking)}."] if lacking else []


LAGS = ("lag p50", "p99", "max", "grows")


def pair(section: Section) -> Table:
    """Return the table of the designs on two videos."""
    height, width, _ = section["shape"]
    table = Table(
        f"{section['sources']} videos of {width}x{height} at 25 frames/s, {section['seconds']} s",
        ("", "pairs", "lost frames", *LAGS, "interval", "std", "cores"),
    )
    for row in section["rows"]:
        if not row["why_not"]:
            table.rows.append((row["name"], *_pair_figures(row)))
    table.notes.append(
        "Lag in ms: from the capture of a pair's newest frame until the consumer has the pair; by how many ms"
        " it grows each second. All sources capture at the same moment, the hardest case. Lost is what was"
        " not there 2 s after its second. Cores: processor time of all processes by time."
    )
    table.notes += missing(section)
    return table


def _pair_figures(row: Section) -> tuple[str, ...]:
    lags = (number(row[f"lag_{name}_ms"]) for name in ("p50", "p99", "max"))
    return (
        f"{row['pairs']} of {row['expected']}",
        str(row["frames_lost"]),
        *lags,
        number(row["lag_slope_ms_per_s"]),
        number(row["interval_mean_ms"]),
        number(row["interval_std_ms"]),
        number(row["cores"], 2),
    )


def capacity(section: Section) -> Table:
    """Return the table of how many sources are carried."""
    height, width, _ = section["shape"]
    table = Table(
        f"Sources of {width}x{height} at 25 frames/s without a frame lost, {section['seconds']} s",
        (
            "",
            f"lag p99 below {section['max_lag_ms']:.0f} ms",
            "any lag that doesn't grow",
            "most tried",
        ),
    )
    for row in section["rows"]:
        figures = (str(row[name]) for name in ("in_time", "keeps_up", "most_tried"))
        table.rows.append((row["name"], *figures))
    table.notes.append(
        "shm with --history 2, as rings of the default 4 s would take 0.6 GB a source."
    )
    return table


NODES = ("producer", "combiner", "consumer", "launcher")


def cpu(section: Section) -> Table:
    """Return the table of what a pipeline takes beside decoding."""
    height, width, _ = section["shape"]
    table = Table(
        f"Two {width}x{height} files at 25 frames/s, in cores kept busy",
        ("", "cores", "of OpenCV's", "of decoding alone", *(f"{node}s" for node in NODES)),
    )
    for row in section["rows"]:
        if not row["why_not"]:
            ratios = (number(row[name], 2) for name in ("of_opencv", "of_decoding"))
            nodes = (number(row["cores_of"].get(node), 3) for node in NODES)
            table.rows.append((row["name"], number(row["cores"], 3), *ratios, *nodes))
    table.notes += missing(section)
    table.notes.append(
        f"Medians of {section['rounds']} interleaved rounds of {section['seconds']} s. Of OpenCV's: of what"
        " OpenCV takes to decode them to BGR; of decoding alone: to the same pixels with the same decoder."
    )
    return table
