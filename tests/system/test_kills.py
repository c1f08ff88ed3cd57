"""kill -9 of each node, again and again: the others go on, and what comes back is right."""

from __future__ import annotations

import itertools
import json
import re
import signal
import statistics
from collections.abc import Iterator

import numpy as np
import pytest

from framepair import Pair, subscribe
from framepair.protocol.clocks import clock
from tests.lib.busy import allowed
from tests.lib.pipeline import ALL_COME, PATIENT, WINDOW_NS, Pipeline, checked
from tests.lib.processes import Running

SOURCE = "synthetic://160x120@25"
PERIOD_NS = 40_000_000
# Often enough that the second one meets what the first has left.
KILLS = pytest.mark.parametrize("kills", [3, pytest.param(10, marks=pytest.mark.slow)])
# From the moment that a new process works.
BACK_NS = 3_000_000_000
# From the moment that a sink goes on until its pairs are new again.
NORMAL_AGAIN_NS = 1_000_000_000
# What a combiner is told that has to wait for each frame, but whose queues are not to be any longer.
WAITS = ("--max-wait", "20", "--idle-timeout", "20", *ALL_COME)
# The lag in a line of the sink, of a whole pair, and how many of them tell what is usual.
LAG, LAGS = r"left 5/5 +right 5/5 +(\d+\.\d)", 5


def whole(pairs: Iterator[Pair], seen: list[Pair]) -> Pair:
    """Return the next pair that is complete; it and all before it are noted in ``seen``."""
    for pair in pairs:
        seen.append(pair)
        if pair.complete:
            return pair
    raise AssertionError("the stream ended")


def runs(pair: Pair, source: str) -> set[int]:
    return {header.run for header in pair[source].frames}


@KILLS
def test_a_producer(kills: int) -> None:
    seen: list[Pair] = []
    with Pipeline(["left", "right"]) as nodes, subscribe(nodes.pub, keep=1000) as pairs:
        nodes.combiner("--idle-timeout", "0.4", *ALL_COME)
        left, right = nodes.producer("left", SOURCE), nodes.producer("right", SOURCE, *PATIENT)
        stream = checked(pairs)
        known = runs(whole(stream, seen), "left")
        for _ in range(kills):
            left.stop(signal.SIGKILL)
            left = nodes.producer("left", SOURCE)
            ready_ns = clock.now_ns()
            back = whole(stream, seen)
            while known & runs(back, "left"):
                back = whole(stream, seen)
            assert back.start_ns < ready_ns + allowed(BACK_NS)
            assert len(runs(back, "left")) == 1
            known |= runs(back, "left")
        assert [node.stop() for node in (left, right)] == [0, 0]
        right.wait_for("could not send 0")
    assert len(known) == kills + 1
    # Not one pair is missing meanwhile, nor one of the other source's frames.
    assert set(np.diff([pair.index for pair in seen])) == {1}
    assert all(pair["right"].missing is None and pair["right"].gaps == 0 for pair in seen)
    seqs = np.concatenate([pair["right"].seq for pair in seen])
    assert set(np.diff(seqs)) == {1}


@KILLS
def test_the_combiner(kills: int) -> None:
    seen: list[Pair] = []
    with Pipeline(["left", "right"]) as nodes, subscribe(nodes.pub, keep=1000) as pairs:
        combiner = nodes.combiner()
        producers = [nodes.producer(name, SOURCE) for name in nodes.sources]
        stream = checked(pairs)
        known = {whole(stream, seen).header.run}
        for _ in range(kills):
            combiner.stop(signal.SIGKILL)
            combiner = nodes.combiner()
            ready_ns = clock.now_ns()
            back = whole(stream, seen)
            while back.header.run in known:
                back = whole(stream, seen)
            known.add(back.header.run)
            assert back.start_ns < ready_ns + allowed(BACK_NS)
        assert [producer.stop() for producer in producers] == [0, 0]
        for producer in producers:
            producer.wait_for("could not send [1-9]")
    for run in known:
        first = next(pair for pair in seen if pair.header.run == run)
        # It looks back no further than to what may have queued for it.
        assert first.start_ns >= run - 2 * WINDOW_NS
    for source in ("left", "right"):
        frames = [header for pair in seen for header in pair[source].frames]
        assert len({header.run for header in frames}) == 1
        # Producers that blocked would have captured less than the time that passed.
        began_ns = np.array([header.captured_ns - header.seq * PERIOD_NS for header in frames])
        assert np.ptp(began_ns) < PERIOD_NS


@KILLS
def test_the_sink(kills: int) -> None:
    with Pipeline(["left", "right"]) as nodes, subscribe(nodes.pub, keep=1000) as pairs:
        combiner = nodes.combiner(*WAITS)
        producers = [nodes.producer(name, SOURCE, *PATIENT) for name in nodes.sources]
        seen = [next(checked(pairs))]
        for _ in range(kills):
            sink = nodes.sink()
            sink.wait_for("left 5/5")
            sink.stop(signal.SIGKILL)
        upstream_is_unaffected(seen, pairs, producers, combiner)


@pytest.mark.parametrize("windows", [15, pytest.param(50, marks=pytest.mark.slow)])
def test_a_sink_that_is_stopped_for_seconds(windows: int) -> None:
    with Pipeline(["left", "right"]) as nodes, subscribe(nodes.pub, keep=1000) as pairs:
        combiner = nodes.combiner(*WAITS)
        producers = [nodes.producer(name, SOURCE, *PATIENT) for name in nodes.sources]
        report = nodes.run_dir / "report.json"
        sink = nodes.sink("--json", str(report))
        sink.wait_for(LAG, count=LAGS)
        usual_ms = statistics.median(lags_ms(sink.stdout))
        stream = checked(pairs)
        # What came until now was before the stop.
        seen = [next(stream)]
        while seen[-1].end_ns < clock.now_ns() - WINDOW_NS:
            seen.append(next(stream))
        sink.process.send_signal(signal.SIGSTOP)
        seen += itertools.islice(stream, windows)
        sink.process.send_signal(signal.SIGCONT)
        continued_ns = clock.now_ns()
        while seen[-1].end_ns <= continued_ns + NORMAL_AGAIN_NS:
            seen.append(next(stream))
        before = len(sink.stdout)
        sink.wait_for(LAG, count=len(lags_ms(sink.stdout)) + LAGS)
        afterwards_ms = statistics.median(lags_ms(sink.stdout[before:]))
        upstream_is_unaffected(seen, pairs, producers, combiner)
        assert sink.stop() == 0
        # A backlog would make each lag as long as the stop was.
        assert afterwards_ms < max(windows * WINDOW_NS / 3e6, 2 * usual_ms)
        found = json.loads(report.read_text())
        # More than what may queue for it, in some six windows, was lost, and it knows of that.
        assert found["lost_pairs"] > 0
        assert found["ledger_balanced"]


def lags_ms(lines: list[str]) -> list[float]:
    """Return the lags in a sink's lines of whole pairs."""
    return [float(found[1]) for line in lines if (found := re.search(LAG, line))]


def upstream_is_unaffected(
    seen: list[Pair], pairs: Iterator[Pair], producers: list[Running], combiner: Running
) -> None:
    """Check that no pair and no frame was missing in all that time, and that nothing was held up."""
    seen += itertools.islice(checked(pairs), 3)
    assert all(pair.complete for pair in seen)
    assert set(np.diff([pair.index for pair in seen])) == {1}
    assert [node.stop() for node in (*producers, combiner)] == [0, 0, 0]
    for producer in producers:
        producer.wait_for("could not send 0")
