"""Consumers that come and go at once."""

from __future__ import annotations

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
