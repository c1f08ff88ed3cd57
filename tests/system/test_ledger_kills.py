"""The ledger over real nodes that are killed and started again: it balances, and knows every frame."""

from __future__ import annotations

import json
import os
import signal
from typing import Any

import pytest

from tests.lib.launcher import launcher
from tests.lib.pipeline import SOURCE, WHOLE, Pipeline, more
from tests.lib.processes import Running


def captured(producer: Running) -> tuple[int, int]:
    """Return how many frames a producer says that it captured, and could not send."""
    said = producer.wait_for(r"captured (\d+) frames, could not send (\d+)")
    return int(said[1]), int(said[2])


@pytest.mark.parametrize("order", ["pc", pytest.param("ccpcppcpcc", marks=pytest.mark.slow)])
def test_kills_of_producer_and_combiner(order: str) -> None:
    with Pipeline(["left", "right"]) as nodes:
        report = nodes.run_dir / "report.json"
        combiner, sink = nodes.combiner(), nodes.sink("--json", str(report))
        left, right = (nodes.producer(name, SOURCE) for name in nodes.sources)
        more(sink)
        for victim in order:
            if victim == "p":
                left.stop(signal.SIGKILL)
                left = nodes.producer("left", SOURCE)
            else:
                combiner.stop(signal.SIGKILL)
                combiner = nodes.combiner()
            more(sink)
        assert [node.stop() for node in (left, right, combiner, sink)] == [0] * 4
        result: dict[str, Any] = json.loads(report.read_text())
        assert result["ledger_balanced"]
        seen, unsent = captured(right)
        account = result["sources"]["right"]
        assert account["captured"] == seen
        assert account["dropped"].get("producer_dropped", 0) == unsent
        assert account["restarts"] == 0
        account = result["sources"]["left"]
        assert account["restarts"] == order.count("p")
        assert account["captured"] > captured(left)[0]
        if "p" in order:
            assert account["longest_outage_s"] > 0


def test_a_killed_sink_is_replaced_by_one_that_knows_what_it_missed() -> None:
    with Pipeline(["left", "right"]) as nodes:
        report = nodes.run_dir / "report.json"
        combiner, first = nodes.combiner(), nodes.sink()
        producers = [nodes.producer(name, SOURCE) for name in nodes.sources]
        more(first)
        first.stop(signal.SIGKILL)
        second = nodes.sink("--json", str(report))
        more(second)
        assert [node.stop() for node in (*producers, combiner, second)] == [0] * 4
        result = json.loads(report.read_text())
        assert result["ledger_balanced"]
        for name, producer in zip(nodes.sources, producers, strict=True):
            account = result["sources"][name]
            assert account["captured"] == captured(producer)[0]
            assert account["dropped"]["no_subscriber"] >= 10


def launch(*arguments: str) -> Running:
    sources = [f"{name}=synthetic://160x120@25" for name in ("left", "right")]
    run_dir = "--run-dir"
    return Running(launcher("--window", "0.2", run_dir, *arguments, *sources))


def test_strict_accepts_what_is_whole() -> None:
    # Offline nothing may be lost; in real time a machine that is busy enough loses frames, and strict says so.
    arguments = ("--strict", "--pace", "max", "--duration", "4")
    with Pipeline([]) as nodes, launch(f"{nodes.run_dir}/run", *arguments) as running:
        assert running.wait() == 0
        running.wait_for("The ledger balances")


def test_strict_does_not_accept_a_loss() -> None:
    with Pipeline([]) as nodes, launch(f"{nodes.run_dir}/run", "--strict", "--verbose") as running:
        combiner = int(running.wait_for("started combiner as process (.*)")[1])
        running.wait_for(WHOLE, count=3)
        os.kill(combiner, signal.SIGKILL)
        running.wait_for("started combiner as process", count=2)
        more(running)
        assert running.stop() == 1
        running.wait_for("^sink: Not every frame was delivered: ")
        assert not any("does not balance" in line for line in running.stdout)
