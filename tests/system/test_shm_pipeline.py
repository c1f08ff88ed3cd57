"""Shared memory with real processes: right pixels, slow and blind consumers, and nothing left by any end."""

from __future__ import annotations

import itertools
import json
import math
import os
import re
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import zmq

from framepair import Clip, Overwritten, Pair, subscribe
from framepair.nodes.common.runtime import Refused
from framepair.nodes.common.status import STATUS_VARIABLE
from framepair.nodes.producer import main
from framepair.nodes.producer.options import Options
from framepair.protocol.memory.shared_ring import attach, remove_stale
from framepair.protocol.transport import sockets
from framepair.protocol.wire import frame
from framepair.protocol.wire.frame import FrameHeader
from tests.lib.launcher import launcher
from tests.lib.pipeline import ALL_COME, Pipeline, check
from tests.lib.processes import PATIENCE_S, Running, python, wait_for_exit
from tests.lib.shm import own_directory, rings, small_file_system, until
from tests.lib.stream import lost_frames

LEFT, RIGHT = "synthetic://320x240@25", "synthetic://200x150@30"
# Enough for a busy machine, and little enough to go round; and what leaves a slow consumer behind: as little as
# there can be where no pair waits, a window and a second.
HISTORY_S, SHORT_S, SLOTS = 1.5, 0.4, 32
PAIR = r"left +\d+/\d+ +right +\d+/\d+"


@pytest.fixture
def shm() -> Iterator[Path]:
    with own_directory() as path:
        yield path
        # Tests that don't end with a clean stop kill their producers.
        remove_stale(path)


def flags(shm: Path, history_s: float = HISTORY_S) -> list[str]:
    return [
        "--payload",
        "shm",
        "--shm-dir",
        str(shm),
        "--history",
        str(history_s),
        "--max-wait",
        "0",
    ]


def launch(directory: Path, *arguments: str | Path, run: str = "run") -> Running:
    """Start the launcher with two small sources."""
    small = [f"{name}=synthetic://160x120@25" for name in ("left", "right")]
    command = launcher("--run-dir", directory / run, "--window", "0.2", *small)
    return Running([*command, *map(str, arguments)], cwd=directory)


def sentences(running: Running) -> list[str]:
    return [line for line in running.stderr if "READY" not in line and "captured" not in line]


def copies(pairs: Iterator[Pair]) -> Iterator[tuple[Pair, Pair]]:
    """Yield pairs and copies of them, each checked, but for those that this machine was too slow to copy."""
    for pair in pairs:
        try:
            copy = pair.copy()
        except Overwritten:
            continue
        check(copy)
        yield pair, copy


def wraps(clip: Clip) -> bool:
    return clip._pixels.slots[-1].index < clip._pixels.slots[0].index


def test_every_frame_is_in_the_pair_of_its_capture_time_and_nothing_is_copied(shm: Path) -> None:
    with (
        Pipeline(["left", "right"]) as nodes,
        subscribe(nodes.pub, keep=100, shm_dir=shm) as pairs,
    ):
        nodes.combiner(*ALL_COME)
        nodes.producer("left", LEFT, *flags(shm))
        nodes.producer("right", RIGHT, *flags(shm))
        taken, wrapped = [], 0
        for pair, copy in copies(pairs):
            taken.append(copy)
            wrapped += any(wraps(clip) for clip in pair.values())
            for clip in pair.values():
                ring, first = clip._pixels.slots[0].ring, clip._pixels.slots[0].index
                assert clip.array.ctypes.data == ring.view(first, 1).ctypes.data
                assert not clip.array.flags.owndata
                with pytest.raises(ValueError, match="read-only"):
                    clip.array[0, 0, 0, 0] = 1
            if len(taken) >= 10 and wrapped:
                break
    assert all(pair.complete for pair in taken)
    assert {pair["left"].array.shape for pair in taken} == {(5, 240, 320, 3)}
    assert {pair["right"].array.shape for pair in taken} == {(6, 150, 200, 3)}
    assert {header.payload for pair in taken for header in pair["left"].frames} == {"shm"}


@pytest.mark.slow
def test_one_source_may_be_shared_and_the_other_not(shm: Path) -> None:
    with (
        Pipeline(["left", "right"], "tcp") as nodes,
        subscribe(nodes.pub, keep=100, shm_dir=shm) as pairs,
    ):
        nodes.combiner(*ALL_COME)
        nodes.producer("left", LEFT, *flags(shm))
        nodes.producer("right", RIGHT)
        taken = [copy for _, copy in itertools.islice(copies(pairs), 5)]
        assert len(rings(shm)) == 1
    assert all(pair.complete for pair in taken)
    payloads = {
        (h.source, h.payload) for pair in taken for clip in pair.values() for h in clip.frames
    }
    assert payloads == {("left", "shm"), ("right", "raw")}


def test_the_launcher_shares_the_sources_that_it_is_told_to(directory: Path, shm: Path) -> None:
    asked = ("--payload", "left=shm", "--shm-dir", str(shm), "--json", "report.json")
    with launch(directory, *asked) as running:
        running.wait_for(PAIR, count=3)
        with subscribe(f"ipc://{directory}/run/pairs", shm_dir=shm) as pairs:
            pair = next(pair for pair, _ in copies(pairs))
        assert {clip.source: clip.frames[0].payload for clip in pair.values()} == {
            "left": "shm", "right": "raw",
        }  # fmt: skip
        assert [name.split(".")[0] for name in rings(shm)] == ["left"]
        assert running.stop() == 0
        assert "The ledger balances" in running.stdout[-1]
    assert not shm.exists()
    report = json.loads((directory / "report.json").read_text())
    assert report["ledger_balanced"]
    assert report["lost_pairs"] == 0


def test_auto_shares_the_sources_that_there_is_room_for(directory: Path) -> None:
    with small_file_system(12 * 1024 * 1024) as small:
        asked = ("right=synthetic://640x480@25", "--payload", "auto", "--shm-dir", small / "rings")
        command = launcher(
            "--run-dir", directory / "run", "--window", "0.2", "left=synthetic://160x120@25", *asked
        )
        with Running(command, cwd=directory) as running:
            running.wait_for(r"^framepair: --payload auto: shm, as all nodes are on this machine")
            running.wait_for("right: payload raw instead of shm: a ring of")
            running.wait_for(PAIR, count=3)
            with subscribe(f"ipc://{directory}/run/pairs", shm_dir=small / "rings") as pairs:
                pair = next(pair for pair, _ in copies(pairs))
            assert {clip.source: clip.frames[0].payload for clip in pair.values()} == {
                "left": "shm", "right": "raw",
            }  # fmt: skip
            assert running.stop() == 0
            assert "The ledger balances" in running.stdout[-1]
        assert list(small.iterdir()) == []


def test_a_slow_consumer_gets_what_is_intact_and_the_count_of_the_rest(shm: Path) -> None:
    with (
        Pipeline(["left", "right"]) as nodes,
        subscribe(nodes.pub, keep=1000, shm_dir=shm) as pairs,
    ):
        nodes.combiner(*ALL_COME)
        producers = [nodes.producer(name, LEFT, *flags(shm, SHORT_S)) for name in ("left", "right")]
        held = next(pairs)
        until(lambda: not held.intact)
        with pytest.raises(Overwritten, match="frames of"):
            held.copy()
        until(lambda: pairs.stats().queued > 10)
        later = next(pairs)
        assert later.lost == later.index - held.index - 1 >= 5
        check(next(copy for _, copy in copies(pairs)))
        stats = pairs.stats()
        assert stats.lost_pairs >= later.lost
        assert lost_frames(stats)["left"] == 5 * stats.lost_pairs
        assert stats.rejected == 0
        for source in producers:
            assert source.stop() == 0
            source.wait_for("could not send 0")


def test_the_ledger_of_a_sink_that_is_too_slow_balances(shm: Path) -> None:
    with Pipeline(["left", "right"]) as nodes:
        report = nodes.run_dir / "report.json"
        sink = nodes.sink(
            "--json", str(report), "--keep", "50", "--work-ms", "600", "--shm-dir", str(shm)
        )
        combiner = nodes.combiner(*ALL_COME)
        producers = [nodes.producer(name, LEFT, *flags(shm, SHORT_S)) for name in ("left", "right")]
        sink.wait_for(r"left +\d/5", count=7)
        for node in (*producers, combiner, sink):
            assert node.stop(signal.SIGTERM) == 0
        result = json.loads(report.read_text())
    assert result["lost_pairs"] > 0
    assert result["ledger_balanced"]
    left = result["sources"]["left"]
    assert left["captured"] == left["delivered"] + sum(left["dropped"].values())


def test_a_stopped_consumer_disturbs_nobody(shm: Path) -> None:
    with (
        Pipeline(["left", "right"]) as nodes,
        subscribe(nodes.pub, keep=100, shm_dir=shm) as pairs,
    ):
        combiner = nodes.combiner(*ALL_COME)
        producers = [nodes.producer(name, LEFT, *flags(shm)) for name in ("left", "right")]
        sink = nodes.sink("--shm-dir", str(shm))
        sink.wait_for("left 5/5")
        sink.process.send_signal(signal.SIGSTOP)
        before = next(pairs).index
        meanwhile = list(itertools.takewhile(lambda pair: pair.index < before + 10, pairs))
        assert all(pair.complete for pair in meanwhile)
        sink.process.send_signal(signal.SIGCONT)
        sink.wait_for("left 5/5", count=len(sink.stdout) + 2)
        for node in (*producers, combiner, sink):
            assert node.stop() == 0
        for source in producers:
            source.wait_for("could not send 0")


def test_a_consumer_that_sees_no_rings_says_so_once_and_goes_on(shm: Path) -> None:
    with (
        Pipeline(["left"]) as nodes,
        subscribe(nodes.pub, keep=100, shm_dir=shm) as pairs,
    ):
        report = nodes.run_dir / "report.json"
        blind = nodes.sink("--json", str(report), "--shm-dir", str(nodes.run_dir))
        nodes.combiner(*ALL_COME)
        nodes.producer("left", LEFT, *flags(shm))
        blind.wait_for(f"no ring left.* in {nodes.run_dir}: No such file")
        assert len(list(itertools.islice(copies(pairs), 2))) == 2
        assert blind.stop() == 0
        assert (
            sum("shared memory that this process cannot see" in line for line in blind.lines) == 1
        )
        found = json.loads(report.read_text())
        assert (found["rejected"], found["ledger_balanced"]) == (0, True)
        assert found["sources"]["left"]["dropped"]["unseen"] > 5


def test_frames_that_nobody_takes_are_counted_and_the_ring_goes_with_its_producer(
    shm: Path, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(STATUS_VARIABLE, str(directory / "status"))
    with Pipeline(["left"]) as nodes:
        source = nodes.producer("left", LEFT, *flags(shm, SHORT_S))
        (name,) = rings(shm)
        ring = attach(shm, name, (240, 320, 3))
        assert ring.slots == SLOTS
        until(lambda: (directory / "status").exists())
        until(lambda: int((directory / "status").read_text().split()[0]) > SLOTS)
        with (
            sockets.new_context() as context,
            sockets.pull(context, nodes.endpoints.pull["left"]) as pull,
        ):
            pull.rcvtimeo = round(PATIENCE_S * 1000)
            first, second = receive(pull), receive(pull)
            assert rings(shm) == [name]
            assert source.stop(signal.SIGTERM) == 0
        assert first.dropped == first.seq > SLOTS
        assert (second.seq, second.dropped) == (first.seq + 1, first.dropped)
        assert first.location is not None
        assert second.location is not None
        # Only the first was tried: the others were not even decoded, and took no slot.
        assert (first.location.slot, second.location.slot) == (1, 2)
        assert [ring.seq(slot) for slot in range(3)] == [0, first.seq, second.seq]
        assert source.wait_for(f"could not send {first.dropped}$")
    assert not shm.exists()


def receive(pull: zmq.Socket[bytes]) -> FrameHeader:
    parts = pull.recv_multipart()
    while len(parts) == 1:
        # A sign of life.
        parts = pull.recv_multipart()
    header, data = parts
    decoded = frame.decode(header)
    assert isinstance(decoded, FrameHeader)
    assert data == b""
    return decoded


# The synthetic source, but with pictures of another size from frame 22 on, as when a camera is set anew.
CHANGING = """
import numpy as np
from framepair.nodes.producer import main, parts
from framepair.nodes.common import runtime
from framepair.nodes.producer.sources.source import Format
from framepair.nodes.producer.sources.synthetic import Synthetic

class Changing(Synthetic):
    def retrieve(self, out, seq, captured_ns):
        if seq == 22:
            super().__init__(self._name, Format((96, 128, 3), fps=25.0))
        if out.shape != self.format.shape:
            out = np.empty(self.format.shape, np.uint8)
        return super().retrieve(out, seq, captured_ns)

def opened(name, uri, **_):
    return Changing(name, Format((240, 320, 3), fps=25.0))

parts.open_source = opened
runtime.run(main.app, "producer")
"""


def test_a_change_of_resolution_begins_another_ring(shm: Path) -> None:
    with Pipeline(["left"]) as nodes, subscribe(nodes.pub, keep=100, shm_dir=shm) as pairs:
        nodes.combiner(*ALL_COME)
        address = nodes.endpoints.pull["left"]
        command = python("-c", CHANGING, "--name", "left", "--push", address, "--window", "0.2")
        source = nodes.enter_context(Running([*command, *flags(shm, 1.0)]))
        source.wait_for("READY")
        shapes: list[tuple[int, ...]] = []
        together = False
        for _, copy in copies(pairs):
            assert copy.complete
            shapes += [image.shape for image in copy["left"].images]
            together = together or len(rings(shm)) == 2
            if shapes[-1] == (96, 128, 3) and len(rings(shm)) == 1:
                break
        assert together, "the former ring stays while its frames are on their way"
        assert shapes == sorted(shapes, reverse=True)
        assert shapes.count((240, 320, 3)) <= 22
        assert source.stop() == 0
        source.wait_for("could not send 0")
    assert not shm.exists()


def test_what_a_killed_producer_leaves_goes_at_the_next_start(shm: Path) -> None:
    with Pipeline(["left", "right"]) as nodes:
        nodes.producer("right", RIGHT, *flags(shm))
        (alive,) = rings(shm)
        nodes.producer("left", LEFT, *flags(shm)).stop(signal.SIGKILL)
        stale = next(name for name in rings(shm) if name != alive)
        back = nodes.producer("left", LEFT, *flags(shm))
        assert stale not in rings(shm)
        assert alive in rings(shm)
        assert len(rings(shm)) == 2
        assert back.stop() == 0
        assert rings(shm) == [alive]


def test_what_is_left_when_everything_is_killed_goes_at_the_next_start(
    directory: Path, shm: Path
) -> None:
    with launch(directory, *flags(shm)) as running:
        running.wait_for(PAIR)
        for pid in running.processes():
            os.kill(pid, signal.SIGSTOP)
        for pid in running.processes():
            os.kill(pid, signal.SIGKILL)
            wait_for_exit(pid, PATIENCE_S)
    stale = rings(shm)
    assert len(stale) == 2
    with launch(directory, *flags(shm)) as running:
        running.wait_for(PAIR)
        assert len(rings(shm)) == 2
        assert not set(rings(shm)) & set(stale)
        assert running.stop() == 0
    assert not shm.exists()


def test_two_pipelines_may_share_a_directory(directory: Path, shm: Path) -> None:
    with launch(directory, *flags(shm)) as running:
        running.wait_for(PAIR)
        mine = rings(shm)
        with launch(directory, *flags(shm), "--restart", "left=never", run="other") as other:
            other.wait_for(PAIR)
            assert len(rings(shm)) == 4
            os.kill(other.pid_of("framepair.nodes.producer", "left"), signal.SIGKILL)
            other.wait_for("left ended with signal 9")
            assert other.stop() == 1
        assert rings(shm) == mine
        running.wait_for(PAIR, count=len(running.stdout) + 2)
        assert running.stop() == 0
        assert "The ledger balances" in running.stdout[-1]
    assert not shm.exists()


def test_a_ring_that_does_not_fit_ends_everything_at_the_start(directory: Path) -> None:
    with small_file_system(1024 * 1024) as small:
        asked = flags(small / "rings", history_s=10)
        with launch(directory, *asked, "--payload", "right=raw") as running:
            assert running.wait() == 2
            assert running.stdout == []
            (sentence,) = sentences(running)
            assert sentence.startswith("producer: left: a ring of 14.1 MiB is needed and ")
            assert f"{small}/rings has 1.0 MiB free: choose a smaller --history" in sentence
            assert "shm_size" in sentence
            assert running.processes() == []
        assert list(small.iterdir()) == []
        by_hand = ("--name", "left", "--source", LEFT, "--push", f"ipc://{directory}/x")
        with Running(python("-m", "framepair.nodes.producer", *by_hand, *asked)) as running:
            assert running.wait() == 2
            assert len(running.stderr) == 1
        assert list(small.iterdir()) == []


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (["--pace", "max"], "cannot wait for consumers"),
        (
            ["--insecure", "--listen", "tcp://192.0.2.1:7400"],
            "tcp://192.0.2.1:7402 may be another machine",
        ),
    ],
)
def test_what_shared_memory_cannot_do_is_refused(
    directory: Path, shm: Path, asked: list[str], reason: str
) -> None:
    with launch(directory, *flags(shm), *asked) as running:
        assert running.wait() == 2
        (sentence,) = running.stderr
        assert reason in sentence
        assert "use --payload raw" in sentence
        assert running.stdout == []
    assert not (directory / "run").exists()
    push = "tcp://192.0.2.1:7402" if "--listen" in asked else f"ipc://{directory}/x"
    pace = asked if "--pace" in asked else ["--insecure"]
    by_hand = ("--name", "left", "--source", LEFT, "--push", push, *pace, *flags(shm))
    with Running(python("-m", "framepair.nodes.producer", *by_hand)) as running:
        assert running.wait() == 2
        (sentence,) = running.stderr
        assert reason in sentence
    assert not shm.exists()


def test_one_directory_for_everything_would_lock_itself_out(directory: Path) -> None:
    with launch(directory, "--payload", "shm", "--shm-dir", directory / "run") as running:
        assert running.wait() == 2
        (sentence,) = running.stderr
        assert sentence.endswith("name two directories")


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf, 1e300])
@pytest.mark.parametrize("flag", ["history", "window"])
def test_a_time_that_is_none_is_refused(flag: str, value: float) -> None:
    asked = Options(name="left", push="ipc:///x", source=LEFT, payload="shm")
    with pytest.raises(Refused, match=re.escape(f"--{flag} {value}: it takes")):
        main.produce(replace(asked, **{flag: value}))  # type: ignore[arg-type]
