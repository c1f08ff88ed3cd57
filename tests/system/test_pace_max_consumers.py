"""Consumers of an offline run: how many are waited for, what each gets, and the end when the last has left."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

from framepair import Subscription, subscribe
from tests.lib.pipeline import Pipeline
from tests.lib.processes import Running, python
from tests.lib.videos import write_video

FRAMES, FPS = 40, 20
# The combiner, waiting less long for another consumer than it does.
IMPATIENT = """
from framepair.nodes.combiner import main, publisher
publisher.CONSUMER_TIMEOUT_S = 1.0
main.main()
"""


def combiner(nodes: Pipeline) -> Running:
    pulls = [f"--pull={name}={nodes.endpoints.pull[name]}" for name in nodes.sources]
    options = ("--pub", nodes.pub, "--window", "0.2", "--pace", "max", "--consumers", "2")
    running = nodes.enter_context(Running(python("-c", IMPATIENT, *pulls, *options)))
    running.wait_for("READY")
    return running


def test_nothing_is_sent_before_the_second_consumer_and_both_get_every_pair(
    directory: Path,
) -> None:
    video = write_video(directory / "video.avi", frames=FRAMES, fps=FPS)
    with Pipeline(["left", "right"]) as nodes:
        running = combiner(nodes)
        for name in nodes.sources:
            nodes.producer(name, str(video), "--pace", "max")
        with subscribe(nodes.pub) as first:
            running.wait_for(r"waiting for 2 consumers of pairs .*, of which 1 subscribe")
            assert first.get(0) is None
            assert first.stats().totals == {}
            with subscribe(nodes.pub) as second:
                both = list(itertools.zip_longest(seqs(first), seqs(second)))
        assert running.wait() == 0
    assert all(mine == other for mine, other in both)
    for name in nodes.sources:
        assert [seq for mine, _ in both for seq in mine[name]] == list(range(FRAMES))


def test_a_run_ends_once_the_last_consumer_has_left_and_none_comes() -> None:
    with Pipeline(["left", "right"]) as nodes:
        running = combiner(nodes)
        for name in nodes.sources:
            nodes.producer(name, "synthetic://160x120@25", "--pace", "max")
        with subscribe(nodes.pub) as first, subscribe(nodes.pub) as second:
            assert len(list(zip(itertools.islice(first, 5), second, strict=False))) == 5
            second.close()
            assert len(list(itertools.islice(first, 20))) == 20
            first.close()
            assert running.wait() == 1
    assert sum("the last consumer has left" in line for line in running.stderr) == 1
    assert "no consumer has come in 1 s" in running.stderr[-1]


def test_a_consumer_of_one_source_and_one_without_pixels_are_consumers(directory: Path) -> None:
    video = write_video(directory / "video.avi", frames=FRAMES, fps=FPS)
    with Pipeline(["left", "right"]) as nodes:
        running = combiner(nodes)
        with (
            subscribe(nodes.pub, sources=["right"]) as right,
            subscribe(nodes.pub, sources=[]) as bare,
        ):
            for name in nodes.sources:
                nodes.producer(name, str(video), "--pace", "max")
            both = list(itertools.zip_longest(seqs(right), seqs(bare)))
        assert running.wait() == 0
    assert [seq for mine, _ in both for seq in mine["right"]] == list(range(FRAMES))
    assert all(list(mine) == ["right"] and other["right"] == mine["right"] for mine, other in both)


def seqs(subscription: Subscription) -> Iterator[dict[str, list[int]]]:
    for pair in subscription:
        yield {name: clip.seq.tolist() for name, clip in pair.items()}
