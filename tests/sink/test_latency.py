from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from framepair.nodes.sink.latency import BUCKETS_PER_OCTAVE, CaptureRate, Histogram, PairTimes
from framepair.protocol.client import pace
from framepair.protocol.client.clip import Clip, Pair
from framepair.protocol.wire.frame import FrameHeader
from tests.lib.units import MS, S

PERIOD_NS = 40 * MS
WITHIN = 0.001

durations = st.lists(st.integers(-(2**50), 2**50), min_size=1, max_size=300)
small_durations = st.lists(st.integers(-127, 127), min_size=1, max_size=300)


def filled(values: list[int]) -> Histogram:
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    return histogram


@given(durations, st.integers(1, 100))
def test_percentiles_are_close_to_numpys(values: list[int], percent: int) -> None:
    found = filled(values).percentile_ns(percent)
    rank = -(-percent * len(values) // 100)
    assert found == pytest.approx(np.sort(np.array(values))[rank - 1], rel=WITHIN)
    lower, higher = (
        int(np.percentile(np.array(values), percent, method=method))
        for method in ("lower", "higher")
    )
    assert lower - WITHIN * abs(lower) <= found <= higher + WITHIN * abs(higher)


@given(small_durations, st.integers(1, 100))
def test_percentiles_of_few_nanoseconds_are_exact(values: list[int], percent: int) -> None:
    rank = -(-percent * len(values) // 100)
    assert filled(values).percentile_ns(percent) == sorted(values)[rank - 1]


@given(durations)
def test_maximum_mean_and_deviation_are_exact(values: list[int]) -> None:
    summary = filled(values).summary()
    assert summary is not None
    in_ms = np.array(values) / MS
    scale = float(np.abs(in_ms).max())
    assert summary.max == max(values) / MS
    assert summary.mean == pytest.approx(in_ms.mean(), rel=1e-9, abs=1e-9 * scale)
    assert summary.std == pytest.approx(in_ms.std(), rel=1e-9, abs=1e-9 * scale)


@given(durations)
def test_percentiles_rise_up_to_the_maximum(values: list[int]) -> None:
    summary = filled(values).summary()
    assert summary is not None
    assert summary.p50 <= summary.p95 <= summary.p99 <= summary.max


def test_a_deviation_far_smaller_than_the_mean_keeps_its_digits() -> None:
    summary = filled([10**15 + offset for offset in (-1000, 1000)] * 1000).summary()
    assert summary is not None
    assert summary.std == pytest.approx(0.001)


def test_memory_does_not_grow_with_the_number_of_durations() -> None:
    chance = random.Random(1)
    histogram = filled([round(chance.lognormvariate(16, 3)) for _ in range(200_000)])
    octaves = 63
    assert len(histogram._buckets) < octaves * BUCKETS_PER_OCTAVE
    before = len(histogram._buckets)
    for _ in range(10_000):
        histogram.record(round(chance.uniform(1 * MS, 2 * MS)))
    assert len(histogram._buckets) <= before + BUCKETS_PER_OCTAVE + 1


def test_the_longest_possible_durations_fit() -> None:
    histogram = filled([-(2**63) + 1, 2**63 - 1])
    assert histogram.percentile_ns(50) == pytest.approx(-(2**63), rel=WITHIN)
    assert histogram.percentile_ns(100) == 2**63 - 1


def test_without_durations_there_is_no_summary() -> None:
    assert Histogram().summary() is None
    with pytest.raises(ValueError, match="no durations"):
        Histogram().percentile_ns(50)


# What is measured of pairs.


def frames(source: str, first: int, count: int, **fields: Any) -> tuple[FrameHeader, ...]:
    """Return ``count`` frames that the combiner had 3 ms after their capture."""
    return tuple(
        FrameHeader(
            source=source,
            run=1,
            seq=seq,
            captured_ns=seq * PERIOD_NS,
            next_ns=(seq + 1) * PERIOD_NS,
            sent_ns=seq * PERIOD_NS,
            shape=(2, 2, 3),
            received_ns=seq * PERIOD_NS + 3 * MS,
            **fields,
        )
        for seq in range(first, first + count)
    )


def pair_of(second: int, count: int = 25, **fields: Any) -> Pair:
    """Return window ``second``, closed 1 ms before its end, in the sink's memory 2 ms after that."""
    end_ns = (second + 1) * S
    clip = SimpleNamespace(frames=frames("left", second * 25, count))
    pair = SimpleNamespace(
        header=SimpleNamespace(closed_ns=end_ns - MS, pace=fields.pop("pace", "realtime")),
        start_ns=second * S,
        end_ns=end_ns,
        ready_ns=end_ns + MS,
        lag_ns=41 * MS if count else 0,
        lag_uncertainty_ns=0,
        complete=True,
        partial=False,
        values=lambda: [clip],
    )
    return cast(Pair, SimpleNamespace(**{**vars(pair), **fields}))


def measured(*pairs: Pair) -> PairTimes:
    times = PairTimes()
    for pair in pairs:
        times.add_pair(pair)
    return times


def p50_ms(histogram: Histogram) -> float | None:
    summary = histogram.summary()
    return round(summary.p50, 1) if summary else None


def test_each_hop_is_measured_between_its_stamps() -> None:
    times = measured(pair_of(0), pair_of(1), pair_of(2))
    assert p50_ms(times.lag) == pytest.approx(41, rel=WITHIN)
    assert p50_ms(times.interval) == pytest.approx(1000, rel=WITHIN)
    assert p50_ms(times.transport) == pytest.approx(3, rel=WITHIN)
    assert p50_ms(times.announce) == pytest.approx(-1, rel=WITHIN)
    assert p50_ms(times.delivery) == pytest.approx(2, rel=WITHIN)
    assert (times.lag.count, times.interval.count, times.transport.count) == (3, 2, 75)
    assert (times.pairs, times.complete, times.partial, times.frames) == (3, 3, 0, 75)


def test_the_interval_is_returned_from_the_second_pair_on() -> None:
    times = PairTimes()
    assert [times.add_pair(pair_of(second)) for second in (0, 1, 3)] == [None, 1 * S, 2 * S]


def test_a_pair_cut_short_says_nothing_of_lag_interval_and_announcement() -> None:
    times = measured(pair_of(0), pair_of(1, 5, partial=True, complete=False))
    assert (times.interval.count, times.announce.count, times.lag.count) == (0, 1, 1)
    assert (times.pairs, times.complete, times.partial) == (2, 1, 1)


def test_an_empty_pair_has_no_lag() -> None:
    times = measured(pair_of(0, 0))
    assert (times.lag.count, times.transport.count, times.delivery.count) == (0, 0, 1)
    assert times.throughput() is None


def test_media_time_is_not_compared_with_wall_time() -> None:
    times = measured(*(pair_of(second, pace="max") for second in (0, 1)))
    assert times.pace is pace.OFFLINE
    assert (times.lag.count, times.transport.count, times.announce.count) == (0, 0, 0)
    assert (times.interval.count, times.delivery.count) == (1, 2)


def test_throughput_counts_from_the_first_frames_arrival() -> None:
    first = pair_of(0, pace="max", ready_ns=S // 2)
    last = pair_of(9, 15, pace="max", ready_ns=2 * S + 3 * MS, partial=True)
    throughput = measured(first, last).throughput()
    assert throughput is not None
    assert throughput.x_realtime == pytest.approx((9 * 25 + 14) * PERIOD_NS / (2 * S))
    assert throughput.frames_per_s == pytest.approx(40 / 2)


def test_the_rate_of_capture_counts_frames_that_never_came() -> None:
    rate = CaptureRate()
    for first in (0, 25, 500):
        rate.add_clip(cast(Clip, SimpleNamespace(frames=frames("left", first, 10))))
    assert rate.fps == pytest.approx(25)


def test_the_rate_of_capture_is_not_measured_across_two_runs() -> None:
    rate = CaptureRate()
    one, two = frames("left", 100, 1)[0], frames("left", 0, 1)[0]
    rate.add_clip(cast(Clip, SimpleNamespace(frames=(one,))))
    rate.add_clip(cast(Clip, SimpleNamespace(frames=(replace(two, run=2),))))
    assert rate.fps is None


def test_how_wrong_a_lag_may_be_is_told_from_not_knowing() -> None:
    times = PairTimes()
    for second, uncertainty_ns in enumerate([0, 2 * MS, 4 * MS, None]):
        times.add_pair(pair_of(second, lag_uncertainty_ns=uncertainty_ns))
    assert times.uncertainty.count == 2
    assert times.unknown == 1
