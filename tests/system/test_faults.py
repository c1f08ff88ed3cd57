"""Each fault on purpose, with real nodes: the others go on, pixels are right, the ledger balances."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from framepair import Pair, subscribe
from framepair.protocol.clocks import clock
from tests.lib.launcher import launcher
from tests.lib.pipeline import checked
from tests.lib.processes import Running, python

KEEP = 1000


@dataclass
class Outcome:
    """What came out of a pipeline with a fault: its pairs, each frame of them checked, and the report."""

    pairs: list[Pair]
    report: dict[str, Any]
    running: Running

    def others_had_no_gap(self) -> bool:
        """Return whether there is a pair for each window, with all frames of the right source."""
        indices = np.diff([pair.index for pair in self.pairs])
        seqs = np.diff(np.concatenate([pair["right"].seq for pair in self.pairs]))
        return set(indices) == {1} and set(seqs) == {1}


def run(
    directory: Path,
    *arguments: str,
    until: str | Sequence[str],
    pairs_after: int = 3,
    patience: Sequence[str] = ("--idle-timeout", "0.4"),
) -> Outcome:
    """Run a pipeline until it has said ``until``, and then for some whole pairs of the time after that."""
    small = [f"{name}=synthetic://160x120@25" for name in ("left", "right")]
    command = launcher("--run-dir", directory / "run", "--window", "0.2", "--verbose",
        *patience, "--json", directory / "report.json", *arguments, *small,
    )  # fmt: skip
    address = f"ipc://{directory}/run/pairs"
    taken: list[Pair] = []
    with Running(command) as running, subscribe(address, keep=KEEP) as pairs:
        stream = checked(pairs)
        while sum(pair.complete for pair in taken) < 2:
            taken.append(next(stream))
        for said in [until] if isinstance(until, str) else until:
            running.wait_for(said)
        said_ns = clock.now_ns()
        while sum(pair.complete and pair.start_ns > said_ns for pair in taken) < pairs_after:
            taken.append(next(stream))
        pairs.close()
        assert running.stop() == 0
        assert running.processes() == []
    report = json.loads((directory / "report.json").read_text())
    assert report["ledger_balanced"]
    return Outcome(taken, report, running)


def test_freeze(directory: Path) -> None:
    outcome = run(directory, "--fault", "left:freeze@0.5s,1s", until="left offline")
    assert outcome.others_had_no_gap()
    assert outcome.report["sources"]["left"]["longest_outage_s"] > 0.5
    assert outcome.report["sources"]["left"]["restarts"] == 0


def test_slow(directory: Path) -> None:
    outcome = run(directory, "--fault", "left:slow@0.3s,45ms", until="left [1-4]/5")
    assert outcome.others_had_no_gap()


def test_drop(directory: Path) -> None:
    outcome = run(
        directory, "--fault", "left:drop@0.3", until=r"left: \d frames? missing", pairs_after=0
    )
    assert outcome.others_had_no_gap()
    assert outcome.report["sources"]["left"]["dropped"]["producer_dropped"] > 0


def test_kill_of_the_combiner(directory: Path) -> None:
    # Whatever came after that came from another one; the first may not have lived to announce a pair.
    ended = "combiner ended with signal 9"
    outcome = run(directory, "--fault", "combiner:kill@0.5s", until=ended)
    assert len({pair.header.run for pair in outcome.pairs}) <= 2
    for source in ("left", "right"):
        assert outcome.report["sources"][source]["restarts"] == 0


def test_crash_and_kill(directory: Path) -> None:
    crash, kill = ("--fault", "left:crash@0.5s"), ("--fault", "top:kill@0.5s")
    ended = ("left ended with exit status 70", "top ended with signal 9")
    outcome = run(directory, *crash, *kill, "top=synthetic://160x120@25", until=ended)
    outcome.running.wait_for("process .* gets SIGKILL, as asked for")
    restarts = {name: each["restarts"] for name, each in outcome.report["sources"].items()}
    assert restarts == {"left": 1, "top": 1, "right": 0}
    assert outcome.others_had_no_gap()


def test_garbage_skew_and_stop_of_the_sink(directory: Path) -> None:
    faults = ("left:garbage@0.5s", "left:skew@60ms", "sink:stop@0.5s,1s")
    flags = [word for fault in faults for word in ("--fault", fault)]
    said = ("left: refused a message", "gets SIGCONT, as asked for")
    # On a machine that stalls, frames and garbage are waited for, and not dropped unread.
    patience = ("--idle-timeout", "20", "--max-wait", "20", "--max-bytes", "100000000")
    outcome = run(directory, *flags, until=said, patience=patience)
    assert outcome.others_had_no_gap()
    assert all(pair.complete for pair in outcome.pairs)
    assert outcome.report["sources"]["left"]["rejected"] == 5
    # Frames of another time than they say: only somebody who looks at the clock could tell.
    frame = outcome.pairs[-1]["left"].frames[-1]
    assert frame.sent_ns < frame.captured_ns


def test_faults_are_checked_before_anything_starts(directory: Path) -> None:
    command = launcher("--run-dir", directory / "run", "--fault", "top:crash@1s")
    with Running(command) as running:
        assert running.wait() == 2
        (sentence,) = running.stderr
        assert sentence.startswith("framepair: --fault top:crash@1s: nodes are left, right, ")
    source = ("--source", "synthetic://", "--push", "ipc:///tmp/x")
    asked = ("--name", "a", "--fault", "kill@1s")
    with Running(python("-m", "framepair.nodes.producer", *source, *asked)) as running:
        assert running.wait() == 2
