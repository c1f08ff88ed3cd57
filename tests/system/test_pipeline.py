"""The nodes together: real processes, real sockets, and the pixels read back."""

from __future__ import annotations

import itertools
import json
import signal

import cv2
import numpy as np
import pytest
import zmq

from framepair import Pair, subscribe
from framepair.nodes.producer.sources import pattern
from tests.lib.pipeline import PATIENT, PATIENT_COMBINER, Pipeline, check, checked
from tests.lib.stream import lost_frames

LEFT, RIGHT = "synthetic://320x240@25", "synthetic://200x150@30"


@pytest.mark.parametrize("transport", ["ipc", "tcp"])
def test_every_frame_is_in_the_pair_of_its_capture_time(transport: str) -> None:
    with (
        Pipeline(["left", "right"], transport) as nodes,
        subscribe(nodes.pub, keep=100, copy=True) as pairs,
    ):
        nodes.combiner(*PATIENT_COMBINER)
        nodes.producer("left", LEFT, *PATIENT)
        nodes.producer("right", RIGHT, *PATIENT)
        taken = list(itertools.islice(checked(pairs), 10))
    assert [pair.index for pair in taken] == list(range(taken[0].index, taken[0].index + 10))
    assert all(pair.complete for pair in taken)
    assert {len(pair["left"].frames) for pair in taken} == {5}
    assert {len(pair["right"].frames) for pair in taken} == {6}
    assert taken[0]["left"].array.shape == (5, 240, 320, 3)
    for source in ("left", "right"):
        seqs = np.concatenate([pair[source].seq for pair in taken])
        assert list(np.diff(seqs)) == [1] * (len(seqs) - 1)


@pytest.mark.parametrize(
    "order",
    ["psc", "scp", *(pytest.param(order, marks=pytest.mark.slow) for order in ("cps", "spc"))],
)
def test_nodes_start_in_any_order(order: str) -> None:
    with Pipeline(["left"]) as nodes:
        starters = {
            "p": lambda: nodes.producer("left", LEFT),
            "c": nodes.combiner,
            "s": nodes.sink,
        }
        started = {name: starters[name]() for name in order}
        started["s"].wait_for(r"left 5/5", count=3)
        assert started["s"].stop() == 0


def test_sixteen_sources_work_as_two_do() -> None:
    names = [f"cam{i}" for i in range(16)]
    with Pipeline(names, window_s=1.0) as nodes, subscribe(nodes.pub) as pairs:
        nodes.combiner()
        started = [nodes.start(
            "producer", "--name", name, "--source", "synthetic://80x60@10",
            "--push", nodes.endpoints.pull[name],
        ) for name in names]  # fmt: skip
        for node in started:
            node.wait_for("READY")
        stream = (pair for pair in checked(pairs, 1_000_000_000) if pair.complete)
        assert [len(pair) for pair in itertools.islice(stream, 2)] == [16, 16]


def test_a_killed_producer_is_offline_until_it_is_back() -> None:
    with Pipeline(["left", "right"]) as nodes, subscribe(nodes.pub, keep=100) as pairs:
        nodes.combiner("--idle-timeout", "0.5")
        nodes.producer("right", LEFT)
        left = nodes.producer("left", LEFT)
        stream = checked(pairs)
        first_run = next(pair for pair in stream if pair.complete)["left"].frames[0].run
        left.stop(signal.SIGKILL)
        offline = next(pair for pair in stream if pair["left"].missing == "offline")
        assert not offline.complete
        assert offline["right"].missing is None
        nodes.producer("left", LEFT)
        back = next(pair for pair in stream if pair.complete)
        assert back["left"].frames[0].run != first_run


def test_a_slow_consumer_gets_whole_newest_pairs_and_the_count_of_the_lost() -> None:
    with (
        Pipeline(["left", "right"]) as nodes,
        subscribe(nodes.pub, keep=100) as quick,
        subscribe(nodes.pub, keep=1) as slow,
    ):
        nodes.combiner(*PATIENT_COMBINER)
        nodes.producer("left", LEFT, *PATIENT)
        nodes.producer("right", RIGHT, *PATIENT)
        held = next(slow)
        newest = next(pair for pair in quick if pair.index >= held.index + 10)
        check(held)
        assert held.intact
        later = next(slow)
        check(later)
        assert later.complete
        assert later.index >= newest.index - 1
        assert later.lost == later.index - held.index - 1
        stats = slow.stats()
        assert stats.lost_pairs >= later.lost
        assert lost_frames(stats)["left"] == 5 * stats.lost_pairs


GARBAGE = [
    [b""],
    [b"\xc1" * 100],
    [b"\x00" * 100_000],
    [b"\x80"],
    [b"not a header", b"not pixels"],
    [b"\x81\xa1v\x01", b"x", b"y", b"z"],
]


def test_garbage_is_counted_and_dropped_and_nothing_else_happens() -> None:
    with (
        Pipeline(["left", "right"]) as nodes,
        subscribe(nodes.pub, keep=100) as pairs,
        zmq.Context() as context,
        context.socket(zmq.PUSH) as stranger,
    ):
        combiner = nodes.combiner(*PATIENT_COMBINER)
        nodes.producer("left", LEFT, *PATIENT)
        nodes.producer("right", RIGHT, *PATIENT)
        stream = checked(pairs)
        next(stream)
        stranger.connect(nodes.endpoints.pull["left"])
        for message in GARBAGE:
            stranger.send_multipart(message)
        seen = list(itertools.takewhile(
            lambda pair: pair.header.clips["left"].totals.rejected < len(GARBAGE), stream
        ))  # fmt: skip
        seen += itertools.islice(stream, 3)
        assert all(pair.complete for pair in seen)
        assert combiner.wait_for("left: refused a message")
        assert pairs.stats().totals["left"].rejected == len(GARBAGE)
        assert pairs.stats().totals["right"].rejected == 0


def test_a_clean_stop_ends_with_everything_accounted_for() -> None:
    with Pipeline(["left", "right"]) as nodes:
        report = nodes.run_dir / "report.json"
        sink = nodes.sink("--json", str(report), "--keep", "100")
        combiner = nodes.combiner(*PATIENT_COMBINER)
        uris = {"left": LEFT, "right": RIGHT}
        producers = [nodes.producer(name, uri, *PATIENT) for name, uri in uris.items()]
        sink.wait_for("left 5/5", count=5)
        assert [producer.stop(signal.SIGTERM) for producer in producers] == [0, 0]
        assert combiner.stop(signal.SIGTERM) == 0
        assert sink.stop(signal.SIGTERM) == 0
        result = json.loads(report.read_text())
        assert result["ledger_balanced"]
        assert result["lost_pairs"] == 0
        for name, producer in zip(("left", "right"), producers, strict=True):
            captured = int(producer.wait_for(r"captured (\d+) frames, could not send 0").group(1))
            source = result["sources"][name]
            assert source["captured"] == captured
            assert source["captured"] == source["delivered"] + sum(source["dropped"].values())
        assert {path.name for path in nodes.run_dir.iterdir()} == {"report.json"}


def offline_pairs(nodes: Pipeline, *uris: str) -> list[Pair]:
    """Run sources at full speed to their end; return all pairs, with their pixels."""
    with subscribe(nodes.pub, keep=2) as pairs:
        combiner = nodes.combiner("--pace", "max")
        started = [
            nodes.producer(name, uri, "--pace", "max")
            for name, uri in zip(nodes.sources, uris, strict=True)
        ]
        taken = [pair.copy() for pair in checked(pairs)]
    assert [node.wait() for node in [*started, combiner]] == [0] * (len(uris) + 1)
    return taken


def test_at_full_speed_nothing_is_lost_and_every_run_is_the_same() -> None:
    uris = ("synthetic://320x240@25?frames=113", "synthetic://200x150@50?frames=201")
    runs = []
    for _ in range(2):
        with Pipeline(["slow", "fast"]) as nodes:
            pairs = offline_pairs(nodes, *uris)
        assert sum(len(pair["slow"].frames) for pair in pairs) == 113
        assert sum(len(pair["fast"].frames) for pair in pairs) == 201
        assert [pair.index for pair in pairs] == list(range(len(pairs)))
        runs.append([[(s, pair[s].seq.tolist(), pair[s].missing) for s in pair] for pair in pairs])
    assert runs[0] == runs[1]
    assert pairs[-1].partial


def test_video_files_come_out_as_they_are(tmp_path: object) -> None:
    with Pipeline(["a", "b"]) as nodes:
        paths = [nodes.run_dir / "a.mp4", nodes.run_dir / "b.avi"]
        for name, path, fourcc in zip("ab", paths, ("mp4v", "MJPG"), strict=True):
            writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*fourcc), 20.0, (320, 240))
            for seq in range(50):
                image = np.full((240, 320, 3), 90, np.uint8)
                pattern.stamp(image, name, seq, seq * 50_000_000)
                writer.write(image)
            writer.release()
        taken = offline_pairs(nodes, *map(str, paths))
    assert sum(len(pair["a"].frames) for pair in taken) == 50
    assert sum(len(pair["b"].frames) for pair in taken) == 50
    assert all(pair.complete for pair in taken[:-1])
