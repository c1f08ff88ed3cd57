"""The final report: tables for people, JSON for programs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from framepair.nodes.common.streams import visible
from framepair.nodes.sink import ledger
from framepair.nodes.sink.latency import Histogram, PairTimes
from framepair.nodes.sink.ledger import Account, told_failures
from framepair.nodes.sink.stampings import Stamping

PERCENTILES = ("p50", "p95", "p99", "max", "mean")
ANNOUNCE_NOTE = (
    "announce < 0: a window closes early once every source has promised a later next frame."
)


@dataclass(frozen=True, slots=True)
class Report:
    """What a sink found: ``duration_s`` is how long it listened to ``address``; ``stampings`` are by source."""

    address: str
    duration_s: float
    times: PairTimes
    accounts: Mapping[str, Account]
    lost_pairs: int
    rejected: int
    stampings: Mapping[str, Stamping] = field(default_factory=dict)

    @property
    def balanced(self) -> bool:
        """Whether every source's frames are accounted for."""
        return all(account.balanced for account in self.accounts.values())

    def as_json(self) -> dict[str, Any]:
        """Return the report for programs: null where nothing was, or could be, measured."""
        times = self.times
        throughput = times.throughput() if times.pace.lossless else None
        return {
            "duration_s": round(self.duration_s, 3),
            "pairs": times.pairs,
            "complete_pairs": times.complete,
            "partial_pairs": times.partial,
            "lost_pairs": self.lost_pairs,
            "rejected": self.rejected,
            "ledger_balanced": self.balanced,
            "lag_ms": _milliseconds(times.lag, "std"),
            "lag_uncertainty_ms": _milliseconds(times.uncertainty),
            "lag_uncertainty_unknown": times.unknown,
            "interval_ms": _milliseconds(times.interval, "std"),
            "hops_ms": {
                "transport": _milliseconds(times.transport, "std"),
                "announce": _milliseconds(times.announce, "std"),
                "delivery": _milliseconds(times.delivery, "std"),
            },
            "throughput": _rounded(asdict(throughput)) if throughput else None,
            "sources": {
                name: _source(account) | _stamping(self.stampings.get(name, Stamping()))
                for name, account in self.accounts.items()
            },
        }

    def show(self, console: Console) -> None:
        """Print the report for people."""
        console.print()
        for line in self._sentences():
            console.print(line, soft_wrap=True)
        if self.times.pairs:
            console.print(_latency_table(self.times))
            if certainty := self._certainty():
                console.print(certainty, soft_wrap=True)
            if _is_early(self.times.announce):
                console.print(ANNOUNCE_NOTE, style="dim", soft_wrap=True)
        if self.accounts:
            console.print(_source_table(self.accounts))
            if any(stamping.grades for stamping in self.stampings.values()):
                console.print(_stamp_table(self.stampings))
            for line in _failures(self.accounts):
                console.print(line, soft_wrap=True)
            style = "green" if self.balanced else "bold red"
            console.print(ledger.sentence(self.accounts), style=style, soft_wrap=True)

    def _certainty(self) -> str | None:
        """Say how far latencies between machines can be believed; None if there is one machine only."""
        times, found = self.times, self.times.uncertainty.summary()
        if times.unknown:
            return (
                f"Of {times.unknown} pairs nobody knows how wrong lag and hops are: clocks of several machines"
                " were not compared (--sync)."
            )
        if found is None:
            return None
        return (
            f"lag ± {found.p50:.2f} ms, {found.max:.2f} at most: the machines' clocks are compared."
        )

    def _sentences(self) -> Iterator[str]:
        times = self.times
        if not times.pairs:
            yield f"No pair came from {visible(self.address)} in {self.duration_s:.1f} s."
            if any(account.captured for account in self.accounts.values()):
                yield (
                    "No window was covered from its start to its end: --pace max takes every frame of a"
                    " short video, and a smaller --window has shorter pairs."
                )
        else:
            came = "1 pair" if times.pairs == 1 else f"{times.pairs} pairs"
            yield (
                f"{came} in {self.duration_s:.1f} s: {times.complete} complete,"
                f" {times.lacking} with something missing, {times.partial} cut short by the end of the stream."
            )
        if self.lost_pairs:
            yield f"{self.lost_pairs} pairs lost: this consumer was too slow, or could not be reached."
        if self.rejected:
            yield f"{self.rejected} malformed messages dropped."
        throughput = times.throughput()
        if times.pace.lossless and throughput:
            yield f"{throughput.x_realtime:.1f} x realtime, {throughput.frames_per_s:.0f} frames/s."


def _milliseconds(histogram: Histogram, *more: str) -> dict[str, float] | None:
    summary = histogram.summary()
    if summary is None:
        return None
    values = asdict(summary)
    return _rounded({name: values[name] for name in (*PERCENTILES, *more)})


def _source(account: Account) -> dict[str, Any]:
    return {
        "captured": account.captured,
        "delivered": account.delivered,
        "late": account.late,
        "gaps": account.gaps,
        "rejected": account.rejected,
        "in_flight": account.in_flight,
        "dropped": dict(account.dropped),
        "restarts": account.restarts,
        "reopened": account.reopened,
        "longest_outage_s": round(account.outage_ns / 1e9, 3),
        "fps": None if account.fps is None else round(account.fps, 3),
        "restamped": account.restamped,
    }


def _stamping(stamping: Stamping) -> dict[str, Any]:
    return {
        "stamps": dict(stamping.grades),
        "stamp_uncertainty_ms": _milliseconds(stamping.uncertainty),
        "stamp_uncertainty_unknown": stamping.unknown,
        "delay_ms": round(stamping.delay_ns / 1e6, 3) if stamping.delay_ns else None,
    }


def _rounded(values: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 3) for name, value in values.items()}


def _is_early(announce: Histogram) -> bool:
    return bool(announce.count) and announce.percentile_ns(50) < 0


def _latency_table(times: PairTimes) -> Table:
    table = Table("ms", "", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in (*PERCENTILES, "std"):
        table.add_column(name, justify="right", no_wrap=True)
    for name, what, histogram in (
        ("lag", "newest capture -> pair here", times.lag),
        ("interval", "a pair -> the next", times.interval),
        ("transport", "capture -> combiner", times.transport),
        ("announce", "window's end -> announcement", times.announce),
        ("delivery", "announcement -> pair here", times.delivery),
    ):
        summary = histogram.summary()
        if summary:
            values = asdict(summary)
            table.add_row(name, what, *(f"{values[key]:.2f}" for key in (*PERCENTILES, "std")))
    return table


def _source_table(accounts: Mapping[str, Account]) -> Table:
    table = Table("source", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("captured", "delivered", "late", "in flight", "gaps", "fps"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("dropped")
    for source, account in accounts.items():
        counts = (
            account.captured,
            account.delivered,
            account.late,
            account.in_flight,
            account.gaps,
        )
        fps = "-" if account.fps is None else f"{account.fps:.2f}"
        table.add_row(source, *map(str, counts), fps, _reasons(account))
    return table


def _stamp_table(stampings: Mapping[str, Stamping]) -> Table:
    table = Table("source", "stamps", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("± ms p50, max", "delay ms"):
        table.add_column(name, justify="right", no_wrap=True)
    for source, stamping in stampings.items():
        grades = ", ".join(f"{grade} {count}" for grade, count in stamping.grades.items())
        delay = f"{stamping.delay_ns / 1e6:.0f}" if stamping.delay_ns else "-"
        table.add_row(source, grades or "-", stamping.certainty, delay)
    return table


def _failures(accounts: Mapping[str, Account]) -> Iterator[str]:
    """Say of each source how often it failed, and for how long it was away."""
    for source, account in accounts.items():
        told = told_failures(account)
        if account.outage_ns:
            told.append(f"away for {account.outage_ns / 1e9:.1f} s at most")
        if told:
            yield f"{source}: {', '.join(told)}."


def _reasons(account: Account) -> str:
    reasons = ", ".join(f"{visible(reason)} {count}" for reason, count in account.dropped.items())
    return reasons or "0"
