"""A pipeline of which some sources are compressed."""

from __future__ import annotations

import itertools

import pytest

from framepair import subscribe
from tests.lib.launcher import launcher
from tests.lib.pipeline import PATIENT, PATIENT_COMBINER, Pipeline, checked
from tests.lib.processes import Running


@pytest.mark.parametrize("transport", ["ipc", "tcp"])
def test_a_pipeline_of_which_one_source_is_compressed(transport: str) -> None:
    with (
        Pipeline(["left", "right"], transport) as nodes,
        subscribe(nodes.pub, keep=100, copy=True) as pairs,
    ):
        nodes.combiner(*PATIENT_COMBINER)
        nodes.producer("left", "synthetic://320x240@25", "--payload", "jpeg", *PATIENT)
        nodes.producer("right", "synthetic://320x240@25", "--payload", "raw", *PATIENT)
        taken = list(itertools.islice(checked(pairs), 5))
        for pair in taken:
            assert pair.complete, [clip.header.totals for clip in pair.values()]
            assert {frame.payload for frame in pair["left"].frames} == {"jpeg"}
            assert {frame.payload for frame in pair["right"].frames} == {"raw"}
            # Decoded in place: a view of the subscriber's memory, no copy.
            assert not pair["left"].array.flags.owndata
            assert pair["left"].array.shape == (5, 240, 320, 3)
        assert pairs.stats().rejected == 0


def test_the_launcher_compresses_the_sources_that_it_is_told_to() -> None:
    sources = ("left=synthetic://160x120@25", "right=synthetic://160x120@25")
    with Pipeline([]) as nodes:
        command = launcher("--run-dir", f"{nodes.run_dir}/run", *sources)
        with Running([*command, "--payload", "right=jpeg:70", "--duration", "2"]) as running:
            with subscribe(f"ipc://{nodes.run_dir}/run/pairs") as pairs:
                pair = next(pairs)
                assert {c.source: c.frames[0].payload for c in pair.values()} == {
                    "left": "raw", "right": "jpeg",
                }  # fmt: skip
            assert running.wait() == 0
        with Running([*command, "--payload", "jpeg:0"]) as running:
            assert running.wait() == 2
            assert "jpeg:QUALITY" in running.stderr[0]
