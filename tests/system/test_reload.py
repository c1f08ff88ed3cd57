"""Sources that change while a pipeline runs: the others lose nothing, and what does not fit changes nothing."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from framepair import Pair, Subscription, subscribe
from framepair.nodes.launcher.control import Reply, Request, ask
from framepair.protocol.transport.endpoints import control_path, ipc_endpoints
from framepair.protocol.wire.pair import ClipHeader
from tests.lib.feed import is_balanced
from tests.lib.launcher import launcher
from tests.lib.pipeline import WINDOW_NS, WINDOW_S, check
from tests.lib.processes import PATIENCE_S, ROOT, Running, python

SMALL = "synthetic://160x120@25"
OTHERS = {"left": SMALL, "right": SMALL}


def write(file: Path, sources: dict[str, str], **options: object) -> None:
    """Write a configuration; pairs wait, and queues hold, long enough for a busy machine."""
    patient = {"max_wait": 5.0, "idle_timeout": 20.0, "max_bytes": 200_000_000}
    given = {"window": WINDOW_S, **patient, **options}
    lines = [f"{name} = {json.dumps(value)}" for name, value in given.items()]
    table = [f"{name} = {json.dumps(uri)}" for name, uri in sources.items()]
    file.write_text("\n".join([*lines, "[sources]", *table, ""]))


class Reloaded(contextlib.ExitStack):
    """A pipeline with a configuration file, and a consumer that looks at every pixel of each pair."""

    def __init__(self, directory: Path, **options: object) -> None:
        super().__init__()
        self.file = directory / "pipeline.toml"
        self.run_dir = Path(self.enter_context(tempfile.TemporaryDirectory(prefix="fp-"))) / "run"
        write(self.file, OTHERS, **options)
        command = launcher("--config", self.file, "--run-dir", self.run_dir, "--no-sink")
        self.running = self.enter_context(Running([*command, "--verbose"]))
        pub = ipc_endpoints(self.run_dir, []).pub
        self.subscription: Subscription = self.enter_context(subscribe(pub, keep=1000))
        self.asking = self.enter_context(ThreadPoolExecutor(1))
        self.seen: list[tuple[int, dict[str, ClipHeader]]] = []
        """Of each pair, its window and what is said of its clips."""
        self.take()

    def take(self) -> Pair:
        """Return the next pair."""
        pair = self.subscription.get(PATIENCE_S)
        assert pair is not None, self.running.lines
        self.add(pair)
        return pair

    def add(self, pair: Pair) -> None:
        """Check the pixels of a pair, that none is missing, and that it has the sources that stay."""
        check(pair, WINDOW_NS)
        assert (pair.lost, pair.skipped) == (0, 0)
        assert OTHERS.keys() <= pair.keys()
        self.seen.append((pair.index, dict(pair.header.clips)))

    def change(self, sources: dict[str, str], request: Request | None = None) -> Reply:
        """Ask for other sources, and take pairs until they are as asked for; return the answer."""
        write(self.file, OTHERS | sources)
        path = control_path(self.run_dir)
        reply = self.asking.submit(ask, path, request or Request())
        wanted = OTHERS.keys() | sources
        while not reply.done() or (reply.result().code == 0 and self.take().keys() != wanted):
            if not reply.done():
                self.take()
        return reply.result()

    def finish(self) -> None:
        """Stop, and check that the ledger balances, source by source."""
        assert self.running.stop() == 0
        self.subscription.stop()
        for pair in self.subscription:
            self.add(pair)
        stats = self.subscription.stats()
        assert stats.end is not None
        assert (stats.rejected, stats.lost_pairs) == (0, 0)
        for source, total in stats.totals.items():
            assert is_balanced(total)
            assert (total.open, total.late) == (0, 0)
            missed = stats.lost_frames.get(source, {})
            assert set(missed) <= {"no_subscriber"}
            assert total.paired == stats.delivered_frames[source] + sum(missed.values())
            # What a busy machine keeps a producer from capturing in time is counted there.
            allowed = {"startup", "producer_dropped"} | ({"removed"} if source == "door" else set())
            assert set(total.dropped) <= allowed
        assert not self.run_dir.exists()
        assert self.running.processes() == []


@pytest.fixture
def pipeline(tmp_path: Path) -> Iterator[Reloaded]:
    with Reloaded(tmp_path) as pipeline:
        yield pipeline


def test_twenty_changes_in_a_row_cost_the_others_nothing(pipeline: Reloaded) -> None:
    for number in range(20):
        reply = pipeline.change({} if number % 2 else {"door": SMALL})
        assert reply.code == 0
        said = "removed: door" if number % 2 else "added: door"
        assert reply.sentence.startswith(said)
    pipeline.finish()
    windows = [window for window, _ in pipeline.seen]
    assert windows == list(range(windows[0], windows[-1] + 1))
    # Each life is a run of its own, in pairs without a hole, and ends with a whole window.
    lives: dict[int, list[int]] = {}
    for window, clips in pipeline.seen:
        if "door" in clips:
            assert clips["door"].missing is None
            (run,) = {span.run for span in clips["door"].spans}
            lives.setdefault(run, []).append(window)
    assert len(lives) == 10
    assert sorted(lives) == list(lives)
    assert all(its == list(range(its[0], its[-1] + 1)) for its in lives.values())
    assert pipeline.subscription.stats().totals["door"].runs == 10


def test_an_added_source_that_cannot_be_opened_leaves_the_others_going(
    pipeline: Reloaded, tmp_path: Path
) -> None:
    missing = tmp_path / "nope.mp4"
    for _ in range(2):
        # Asked for once more it is tried once more.
        reply = pipeline.change({"door": str(missing)})
        assert reply.code == 1
        assert reply.sentence.startswith("door: ")
        assert str(missing) in reply.sentence
    assert pipeline.change({}).sentence == "removed: door"
    assert pipeline.change({"door": SMALL}).sentence.startswith("added: door")
    pipeline.finish()


def test_no_pipeline_is_said_with_what_to_do(tmp_path: Path) -> None:
    with Running(python(ROOT / "launch.py", "reload", "--run-dir", tmp_path / "none")) as asked:
        assert asked.wait() == 2
        assert "no pipeline listens at" in asked.stderr[0]
        assert "--run-dir" in asked.stderr[0]


def test_what_does_not_fit_changes_nothing_and_what_does_outlives_a_kill_of_the_combiner(
    pipeline: Reloaded, tmp_path: Path
) -> None:
    fits = pipeline.file.read_text()
    command = python(ROOT / "launch.py", "reload", "--run-dir", pipeline.run_dir)
    for text, said in (
        (fits.replace("[sources]", "[sources"), "is not TOML"),
        (fits.replace("window = 0.2", "window = 9.0"), "--window is not what it was"),
    ):
        pipeline.file.write_text(text)
        with Running(command) as asked:
            assert asked.wait() == 2
            assert len(asked.stderr) == 1
            assert said in asked.stderr[0]
    assert pipeline.change({}).sentence == "nothing has changed"
    assert all(clips.keys() == OTHERS.keys() for _, clips in pipeline.seen)
    # Sources on the command line, instead of the file.
    sources = [f"{name}={uri}" for name, uri in OTHERS.items()]
    with Running([*command, *sources, f"door={SMALL}"], cwd=tmp_path) as asked:
        assert asked.wait() == 0
        assert asked.stderr[0].startswith("framepair: added: door")
    while "door" not in pipeline.take():
        pass
    # On SIGHUP, as there is no terminal, the file is read again: door gets other settings.
    write(pipeline.file, OTHERS | {"door": "synthetic://96x64@25"})
    pipeline.running.process.send_signal(signal.SIGHUP)
    pipeline.running.wait_for("sources: started again with other settings: door")
    while not (frames := pipeline.take()["door"].frames) or frames[-1].shape != (64, 96, 3):
        pass
    os.kill(pipeline.running.pid_of("framepair.nodes.combiner"), signal.SIGKILL)
    while (pair := pipeline.subscription.get(PATIENCE_S)) and pair.header.seq > 5:
        pass
    assert pair is not None
    assert set(pair) == {*OTHERS, "door"}
    assert pipeline.running.stop() == 0
    assert not pipeline.run_dir.exists()
