"""The one table that the README has: each design's figures from all parts."""

from __future__ import annotations

from collections.abc import Callable

from bench import machine
from bench.tables import Section, Table, missing, number

# Each design's title, its module in bench.pair, and the way in bench.hop that its frames take.
DESIGNS = (
    ("queues of lists", "queues", "queue"),
    ("pipes and threads", "pipes", "pipe_bytes"),
    ("framepair `raw`, tcp", "raw_tcp", "raw_tcp"),
    ("framepair `raw`", "raw", "raw_ipc"),
    ("framepair `shm`", "shm", "shm"),
)

Results = dict[str, Section]
Figure = Callable[[Section], str]

HOP: dict[str, Figure] = {
    "a frame to another process, ms": lambda row: number(_milli(row["median_us"]), 2),
    "... times as fast as `multiprocessing.Queue`": lambda row: number(row["of_baseline"]),
    "... of the speed of one memcpy": lambda row: number(_percent(row["of_limit"]), 0, " %"),
}
PAIR: dict[str, Figure] = {
    "pairs delivered": lambda row: f"{row['pairs']} of {row['expected']}",
    "frames lost": lambda row: f"{row['frames_lost']:,}",
    "lag p50, ms": lambda row: number(row["lag_p50_ms"]),
    "lag p99, ms": lambda row: number(row["lag_p99_ms"]),
    "lag max, ms": lambda row: number(row["lag_max_ms"]),
    "lag grows, ms each second": lambda row: number(row["lag_slope_ms_per_s"]),
    "interval mean, ms": lambda row: number(row["interval_mean_ms"]),
    "interval std, ms": lambda row: number(row["interval_std_ms"]),
    "processor time, cores": lambda row: number(row["cores"], 2),
}
CAPACITY: dict[str, Figure] = {
    "sources carried, lag p99 below 100 ms": lambda row: str(row["in_time"]),
    "sources carried, any lag that doesn't grow": lambda row: str(row["keeps_up"]),
}


def table(results: Results) -> Table:
    """Return the table of what was measured; a dash is what was not."""
    made = Table("", ("", *(title for title, _, _ in DESIGNS)))
    for part, figures in (("hop", HOP), ("pair", PAIR), ("capacity", CAPACITY)):
        rows = [_row(results, part, design, way) for _, design, way in DESIGNS]
        if any(rows):
            made.rows += [
                (name, *(figure(row) if row else "-" for row in rows))
                for name, figure in figures.items()
            ]
    made.notes = notes(results)
    return made


def notes(results: Results) -> list[str]:
    """Return what else is to be said: other ways, processor time, what was not measured, the machine."""
    said = []
    if "hop" in results:
        said.append(_others(results["hop"]))
        said += missing(results["hop"])
    if "cpu" in results:
        said += [_cpu(results["cpu"], codec) for codec in _codecs(results["cpu"])]
        said += missing(results["cpu"])
    return [*said, f"{machine.sentence(results['machine'])}."]


def _others(section: Section) -> str:
    ours = {way for _, _, way in DESIGNS}
    rows = [row for row in section["rows"] if row["way"] not in ours and row["median_us"]]
    rows.sort(key=lambda row: row["median_us"])
    ways = [f"{row['name']} {number(_milli(row['median_us']), 2)}" for row in rows]
    return f"The same frame by other ways, ms: {'; '.join(ways)}."


def _codecs(section: Section) -> list[str]:
    return list(dict.fromkeys(row["codec"] for row in section["rows"] if not row["why_not"]))


def _cpu(section: Section, codec: str) -> str:
    """Return what two files of a codec take: in cores, and over what OpenCV takes to decode them."""
    ways = [
        f"{row['name'].removeprefix(f'{codec}, ')} {number(row['cores'], 2)} ({number(row['of_opencv'], 2)})"
        for row in section["rows"]
        if row["codec"] == codec and not row["why_not"]
    ]
    return (
        f"Two {codec} files, cores kept busy, and times what OpenCV takes to decode them alone:"
        f" {'; '.join(ways)}."
    )


def _row(results: Results, part: str, design: str, way: str) -> Section | None:
    """Return what was measured of a design in one part."""
    keys = {"way": way, "design": design}
    for row in results.get(part, {}).get("rows", []):
        if any(row.get(key) == value for key, value in keys.items()):
            return None if row["why_not"] else dict(row)
    return None


def _milli(value: float | None) -> float | None:
    return None if value is None else value / 1000


def _percent(value: float | None) -> float | None:
    return None if value is None else 100 * value
