"""/metrics: what the monitor knows, in the text format that Prometheus reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from framepair import __version__
from framepair.nodes.monitor.histogram import Histogram
from framepair.nodes.monitor.source_state import S
from framepair.nodes.monitor.state import State

PREFIX: Final = "framepair_"


class StateCollector(Collector):
    """Makes metrics of a state whenever it is scraped; ``read`` lends the state and the time."""

    def __init__(self, read: Callable[[], AbstractContextManager[tuple[State, int]]]) -> None:
        self._read = read

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics, of one moment."""
        with self._read() as (state, now_ns):
            metrics = [
                *_frames(state),
                *_pairs(state),
                *_times(state),
                *_sources(state, now_ns),
                *_nodes(state),
            ]
        yield from metrics


def text(read: Callable[[], AbstractContextManager[tuple[State, int]]]) -> Callable[[], bytes]:
    """Return what gives the text of all metrics."""
    registry = CollectorRegistry()
    registry.register(StateCollector(read))
    return lambda: generate_latest(registry)


def _frames(state: State) -> Iterator[Metric]:
    frames = CounterMetricFamily(
        f"{PREFIX}frames",
        "Frames that the source captured, that are in pairs, and that are lost; the rest are on their way.",
        labels=["source", "state"],
    )
    lost = CounterMetricFamily(
        f"{PREFIX}frames_lost",
        "Frames that are in no pair, by reason, counted once their window is closed.",
        labels=["source", "reason"],
    )
    for name, source in state.sources.items():
        counters = source.counters
        counts = {
            "captured": counters.captured,
            "paired": counters.paired,
            "lost": counters.lost.total(),
        }
        for word, count in counts.items():
            frames.add_metric([name, word], count)
        for reason, count in sorted(counters.lost.items()):
            lost.add_metric([name, reason], count)
    yield from (frames, lost)


def _pairs(state: State) -> Iterator[Metric]:
    pairs = CounterMetricFamily(
        f"{PREFIX}pairs",
        "Pairs, by whether they have every frame; unknown: announced, and lost on the way to the monitor.",
        labels=["complete"],
    )
    for complete, count in state.strip.pairs.items():
        pairs.add_metric([complete], count)
    yield pairs


def _times(state: State) -> Iterator[Metric]:
    lag = HistogramMetricFamily(
        f"{PREFIX}pair_lag_seconds",
        "From the capture of a pair's newest frame until the monitor has its announcement.",
    )
    _add(lag, [], state.lag)
    hops = HistogramMetricFamily(
        f"{PREFIX}hop_seconds",
        "send: capture until the producer sends; receive: until the combiner has it; announce: end of the"
        " window until its announcement; delivery: until the monitor has that.",
        labels=["hop"],
    )
    for hop, histogram in state.hops.items():
        _add(hops, [hop], histogram)
    yield from (lag, hops)


def _add(family: HistogramMetricFamily, labels: list[str], histogram: Histogram) -> None:
    family.add_metric(labels, histogram.cumulative(), histogram.sum_s)


def _sources(state: State, now_ns: int) -> Iterator[Metric]:
    up = GaugeMetricFamily(
        f"{PREFIX}source_up", "Whether frames of the source come (1) or not (0).", labels=["source"]
    )
    age = GaugeMetricFamily(
        f"{PREFIX}source_frame_age_seconds",
        "How long ago the newest frame that pairs tell of was captured.",
        labels=["source"],
    )
    uncertainty = GaugeMetricFamily(
        f"{PREFIX}capture_uncertainty_seconds",
        "By how much capture times of the newest clip may be wrong, by how its stamps are known.",
        labels=["source", "stamp"],
    )
    reopened = CounterMetricFamily(
        f"{PREFIX}source_reopened", "How often the source was opened again.", labels=["source"]
    )
    for name, source in state.sources.items():
        reopened.add_metric([name], source.counters.reopened)
        if source.is_gone:
            continue
        up.add_metric([name], state.is_up(source, now_ns))
        age_ns, clip = source.age_ns(now_ns), source.described
        if age_ns is not None:
            age.add_metric([name], age_ns / S)
        if clip.uncertainty_ns is not None:
            uncertainty.add_metric([name, clip.stamp or "unknown"], clip.uncertainty_ns / S)
    yield from (up, age, uncertainty, reopened)


def _nodes(state: State) -> Iterator[Metric]:
    restarts = CounterMetricFamily(
        f"{PREFIX}node_restarts",
        "How often a producer or the combiner was started again.",
        labels=["node"],
    )
    for node, count in state.restarts().items():
        restarts.add_metric([node], count)
    build = GaugeMetricFamily(
        f"{PREFIX}build_info", "The version of framepair: always 1.", labels=["version"]
    )
    build.add_metric([__version__], 1)
    yield from (restarts, build)
