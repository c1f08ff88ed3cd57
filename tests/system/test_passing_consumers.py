"""Consumers that come and go at once."""

from __future__ import annotations

import pytest

from framepair import subscribe
from tests.lib.pipeline import Pipeline
from tests.lib.processes import PATIENCE_S

# A combiner that told the ends of connections that were gone already crashed within 25.
PASSING = 60


def test_they_do_not_end_the_combiner() -> None:
    with Pipeline(["left"]) as nodes:
        combiner = nodes.combiner()
        nodes.producer("left", "synthetic://64x48@50")
        with subscribe(nodes.pub) as staying:
            assert staying.get(PATIENCE_S) is not None
            for _ in range(PASSING):
                subscribe(nodes.pub).close()
            while staying.stats().queued:
                staying.get(0)
            assert staying.get(PATIENCE_S) is not None
        assert combiner.stop() == 0


@pytest.mark.parametrize("transport", ["ipc", "tcp"])
def test_one_that_comes_when_another_leaves_gets_pairs_for_good(transport: str) -> None:
    with Pipeline(["left"], transport) as nodes:
        nodes.combiner()
        nodes.producer("left", "synthetic://64x48@25")
        for _ in range(4):
            with subscribe(nodes.pub) as pairs:
                for _ in range(6):
                    assert pairs.get(PATIENCE_S) is not None


def test_those_that_were_there_first_miss_no_frame() -> None:
    with Pipeline(["left"]) as nodes, subscribe(nodes.pub) as one, subscribe(nodes.pub) as other:
        combiner = nodes.combiner()
        combiner.wait_for("READY")
        # Long enough for both to have come.
        for pairs in (one, other):
            assert pairs.get(0.3) is None
        nodes.producer("left", "synthetic://64x48@25")
        first = [pairs.get(PATIENCE_S) for pairs in (one, other)]
        assert {pair.header.seq for pair in first if pair} == {0}
        assert all(pair and pair.complete for pair in first)
