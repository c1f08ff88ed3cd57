"""The results as a picture for the README."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench import machine
from bench.tables import Section

OURS, OTHERS, LIMIT = "#1f77b4", "#b8b8b8", "#4d4d4d"
# Lines of designs, so that each keeps its colour if one is missing.
LINES = {
    "queues": ("#d62728", "--"),
    "pipes": ("#ff7f0e", "--"),
    "raw_tcp": ("#9ecae1", "-"),
    "raw": ("#4292c6", "-"),
    "shm": ("#08306b", "-"),
}
INCHES, DPI = (11.0, 7.5), 110
LABEL_ROOM = 0.14


def draw(results: dict[str, Section], path: Path) -> None:
    """Draw the parts that there are into ``path``; raises ModuleNotFoundError without matplotlib."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=INCHES, layout="constrained")
    axes = figure.subplots(2, 2, width_ratios=(1.15, 1), height_ratios=(1.5, 1)).flat
    panels = {"hop": _hop, "pair": _pair, "capacity": _capacity, "cpu": _cpu}
    for (part, panel), axis in zip(panels.items(), axes, strict=True):
        if part in results:
            panel(axis, results[part])
            axis.title.set(fontweight="bold", fontsize=11)
            axis.spines[["top", "right"]].set_visible(False)
        else:
            axis.set_axis_off()
    figure.supxlabel(machine.sentence(results["machine"]), fontsize=8, color=LIMIT)
    figure.savefig(path, dpi=DPI)


def _hop(axis: Any, section: Section) -> None:
    rows = [row for row in section["rows"] if row["median_us"]]
    rows.sort(key=lambda row: row["median_us"], reverse=True)
    values = [row["median_us"] / 1000 for row in rows]
    # Dots, since the length of a bar says nothing where there is no zero.
    for place, (row, value) in enumerate(zip(rows, values, strict=True)):
        axis.plot(value, place, "o", markersize=9, color=_colour(row["name"]))
        axis.annotate(
            f"{value:.2f}", (value, place), (9, -3), textcoords="offset points", fontsize=8
        )
    axis.set_yticks(range(len(rows)), [row["name"] for row in rows])
    axis.grid(axis="x", which="major", alpha=0.4)
    axis.set_xscale("log")
    axis.set_xlim(min(values) / 1.5, max(values) * 2)
    axis.xaxis.set_major_formatter("{x:g}")
    axis.xaxis.set_minor_formatter("")
    axis.set_xlabel("ms per frame, logarithmic; further left is better")
    axis.set_title("A 1080p frame from one process to another")


def _pair(axis: Any, section: Section) -> None:
    for row in section["rows"]:
        if not row["why_not"]:
            colour, style = LINES[row["design"]]
            axis.plot(
                row["windows"], row["lags_ms"], style, color=colour, marker=".", label=row["name"]
            )
    axis.set_yscale("log")
    axis.grid(axis="y", which="major", alpha=0.4)
    axis.yaxis.set_major_formatter("{x:g}")
    axis.set_xlim(0, section["seconds"])
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.set_xlabel("second of video; no dot: not there in time")
    axis.set_ylabel("lag in ms, logarithmic; lower is better")
    axis.set_title("Lag of each pair of two 1080p videos")
    axis.legend(fontsize=8, loc="center", bbox_to_anchor=(0.5, 0.38), ncols=2)


def _capacity(axis: Any, section: Section) -> None:
    rows = section["rows"][::-1]
    colours = [_colour(row["name"]) for row in rows]
    bars = axis.barh([row["name"] for row in rows], [row["in_time"] for row in rows], color=colours)
    axis.bar_label(bars, padding=3, fontsize=8)
    axis.set_xlabel("1080p sources at 25 frames/s; longer is better")
    axis.set_title(f"Carried without loss, lag p99 below {section['max_lag_ms']:.0f} ms")
    axis.margins(x=LABEL_ROOM)


def _cpu(axis: Any, section: Section) -> None:
    """Draw the first codec: what cameras and telephones record."""
    rows = [row for row in section["rows"][::-1] if not row["why_not"]]
    codec = section["rows"][0]["codec"]
    rows = [row for row in rows if row["codec"] == codec]
    names = [row["name"].removeprefix(f"{codec}, ") for row in rows]
    colours = [LIMIT if row["alone"] else OURS for row in rows]
    bars = axis.barh(names, [row["cores"] for row in rows], color=colours)
    axis.bar_label(bars, [f"{row['cores']:.2f}" for row in rows], padding=3, fontsize=8)
    axis.set_xlabel("cores kept busy; shorter is better")
    axis.set_title(f"Two {codec} files, decoded and paired")
    axis.margins(x=LABEL_ROOM)


def _colour(name: str) -> str:
    if name.startswith("framepair"):
        return OURS
    return LIMIT if "limit" in name else OTHERS
