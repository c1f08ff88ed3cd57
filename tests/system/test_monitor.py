"""The monitor among real nodes that are killed: its counters go on, and its ledger is the sink's."""

from __future__ import annotations

import json
import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from framepair.protocol.wire import reasons
from tests.lib.launcher import SMALL, launcher
from tests.lib.pipeline import SOURCE, Pipeline, free_ports, more
from tests.lib.processes import PATIENCE_S, Running, memory_bytes, python
from tests.lib.scraping import counters, get, labelled, state
from tests.lib.shm import until

POLL_S = 0.1
# What one consumer loses and another doesn't.
OWN = {reasons.PUBLISHER_OVERFLOW, reasons.SUBSCRIBER_SLOW, reasons.NO_SUBSCRIBER}


class Scraped:
    """Scrapes a monitor, and sees that no counter goes back."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.counters: dict[str, float] = {}

    def scrape(self) -> dict[str, float]:
        """Return the counters as they are now."""
        found = counters(self.url)
        fallen = {name for name, before in self.counters.items() if found.get(name, -1.0) < before}
        assert not fallen, {name: (self.counters[name], found.get(name)) for name in fallen}
        self.counters = found
        return found

    def ledger(self, source: str) -> tuple[dict[str, Any], Counter[str]]:
        """Return a source's row, and what is lost of it."""
        row = next(each for each in state(self.url)["sources"] if each["name"] == source)
        return row, Counter(row["lost"])

    def wait_for_sentence(self, begin: str) -> None:
        """Wait until the monitor says what begins so."""
        deadline_s = time.monotonic() + PATIENCE_S
        while not (said := state(self.url)["sentence"]).startswith(begin):
            assert time.monotonic() < deadline_s, said
            time.sleep(POLL_S)

    def wait_for(self, condition: Callable[[dict[str, float]], bool]) -> None:
        """Scrape until the counters fulfil ``condition``."""
        deadline_s = time.monotonic() + PATIENCE_S
        while not condition(self.scrape()):
            assert time.monotonic() < deadline_s, self.counters
            time.sleep(POLL_S)

    def wait_for_health(self, status: int, begin: str) -> None:
        """Wait until the health check has this status, and says what begins so."""
        deadline_s = time.monotonic() + PATIENCE_S
        while not (
            (found := get(f"{self.url}healthz"))[0] == status and found[1].startswith(begin)
        ):
            assert time.monotonic() < deadline_s, found
            time.sleep(POLL_S)


def url_of(monitor: Running) -> str:
    return monitor.wait_for(r"READY (http://\S+)")[1]


@pytest.mark.parametrize("order", ["cp", pytest.param("ccpcppcpcc", marks=pytest.mark.slow)])
def test_kills_move_no_counter_back_and_the_ledger_is_that_of_the_sink(order: str) -> None:
    with Pipeline(["left", "right"]) as nodes:
        report = nodes.run_dir / "report.json"
        place = (f":{free_ports(1)}", "--sub", nodes.pub)
        monitor = nodes.start("monitor", *place, "--unhealthy-after", "2s")
        scraped = Scraped(url_of(monitor))
        scraped.wait_for_health(503, "no pair with frames for ")
        # A sink that is slow at first drops nothing that the monitor has.
        combiner, sink = nodes.combiner(), nodes.sink("--json", str(report), "--keep", "100")
        left, right = (nodes.producer(name, SOURCE) for name in nodes.sources)
        more(sink, 3)
        scraped.wait_for_health(200, "well")
        scraped.scrape()
        first = {name: scraped.ledger(name) for name in nodes.sources}
        begun = scraped.scrape()
        for victim in order:
            if victim == "c":
                combiner.stop(signal.SIGKILL)
                combiner = nodes.combiner()
            else:
                left.stop(signal.SIGKILL)
                left = nodes.producer("left", SOURCE)
            scraped.scrape()
            more(sink)
            scraped.scrape()
        assert [node.stop() for node in (left, right, combiner, sink)] == [0] * 4
        scraped.wait_for_sentence("The combiner was stopped")
        # What it takes before the first browser looks.
        assert memory_bytes(monitor.process.pid, "VmHWM") < 80_000_000
        ended = scraped.scrape()
        told = json.loads(report.read_text())["sources"]
        for name in nodes.sources:
            row, lost = scraped.ledger(name)
            account = told[name]
            ours = {reason: count for reason, count in lost.items() if reason not in OWN}
            theirs = {r: count for r, count in account["dropped"].items() if r not in OWN}
            theirs |= {"late": account["late"]} if account["late"] else {}
            assert (row["captured"], row["open"], ours) == (account["captured"], 0, theirs)
            # The metrics have grown by as much as the ledger has.
            before, lost_before = first[name]
            grown = row["captured"] - before["captured"]
            assert _growth(begun, ended, "framepair_frames_total", name, state="captured") == grown
            for reason in lost:
                grown = lost[reason] - lost_before[reason]
                metric = "framepair_frames_lost_total"
                assert _growth(begun, ended, metric, name, reason=reason) == grown
        restarts = "framepair_node_restarts_total"
        assert labelled(ended, restarts, node="combiner") == order.count("c")
        assert labelled(ended, restarts, node="producer left") == order.count("p")
        assert labelled(ended, restarts, node="producer right") == 0
        assert monitor.stop(signal.SIGTERM) == 0


def _growth(
    begun: dict[str, float], ended: dict[str, float], metric: str, source: str, **labels: str
) -> float:
    return labelled(ended, metric, source=source, **labels) - labelled(
        begun, metric, source=source, **labels
    )


def test_a_monitor_that_is_killed_is_back_and_nothing_else_is(directory: Path) -> None:
    address = f"127.0.0.1:{free_ports(1)}"
    flags = ("--run-dir", directory, "--window", "0.2", "--monitor", address, "--verbose")
    with Running(launcher(*SMALL, *flags, "--relay", "always")) as running:
        url = running.wait_for(r"^framepair: page at (http://\S+)$")[1]
        assert url == f"http://{address}/"
        pid = int(running.wait_for(r"started monitor as process (\d+)")[1])
        running.wait_for("monitor INFO READY")
        running.wait_for(r"left +\d/\d +right +\d/\d", count=3)
        scraped = Scraped(url)
        scraped.wait_for_sentence("All is well: 2 sources, 25/25, lag ")
        # A busy machine loses a frame now and then.
        until(lambda: get(f"{url}healthz?complete") == (200, "well\n"))
        scraped.wait_for_health(200, "well")
        os.kill(pid, signal.SIGKILL)
        running.wait_for("monitor ended with signal 9")
        running.wait_for("monitor INFO READY", count=2)
        scraped.wait_for_sentence("All is well: 2 sources, 25/25, lag ")
        paired = labelled(scraped.scrape(), "framepair_frames_total", state="paired")
        # Both consumers get their pairs by way of a relay.
        os.kill(running.pid_of("framepair.nodes.relay"), signal.SIGKILL)
        running.wait_for("relay ended with signal 9")
        scraped.wait_for(
            lambda found: labelled(found, "framepair_frames_total", state="paired") > paired + 100
        )
        # Another one finds the port taken.
        sub = f"ipc://{directory}/pairs"
        with Running(python("-m", "framepair", "monitor", address, "--sub", sub)) as second:
            assert second.wait() == 2
            [said] = second.stderr
            assert "Address already in use: give another HOST:PORT" in said
        with Running(launcher(*SMALL, "--run-dir", directory / "2", "--monitor", address)) as third:
            assert third.wait() == 2
            [said] = third.stderr
            assert said.startswith(f"framepair: tcp://{address} is in use by process ")
        assert running.stop() == 0
        running.wait_for("^framepair: restarts: relay 1, monitor 1$")
