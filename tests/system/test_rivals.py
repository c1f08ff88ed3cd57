"""Two producers that send as one source, on one address."""

from __future__ import annotations

import itertools
import signal

from framepair import subscribe
from tests.lib.pipeline import ALL_COME, PATIENT, Pipeline, checked

SOURCE = "synthetic://160x120@25"


def test_a_second_producer_changes_nothing_until_the_first_is_gone() -> None:
    with Pipeline(["left", "right"]) as nodes, subscribe(nodes.pub, keep=1000) as pairs:
        combiner = nodes.combiner(*PATIENT, *ALL_COME)
        first = nodes.producer("left", SOURCE, *PATIENT)
        nodes.producer("right", SOURCE, *PATIENT)
        stream = checked(pairs)
        seen = list(itertools.islice(stream, 3))
        nodes.producer("left", SOURCE, *PATIENT)
        combiner.wait_for("left: a second producer sends as this source")
        # Pairs of before may be waiting here: go on to one that was announced since.
        seen += itertools.takewhile(lambda _: not pairs.stats().totals["left"].rejected, stream)
        seen += itertools.islice(stream, 10)
        assert len({frame.run for pair in seen for frame in pair["left"].frames}) == 1
        assert all(pair.complete for pair in seen)
        assert pairs.stats().totals["left"].rejected > 0
        first.stop(signal.SIGKILL)
        # Then its frames are the source's.
        after = next(
            p
            for p in stream
            if p.complete and p["left"].frames[0].run != seen[0]["left"].frames[0].run
        )
        assert after["left"].array.shape[0] == 5
