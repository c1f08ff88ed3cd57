"""Two producers that send as one source: pure logic, and with real processes on one address."""

from __future__ import annotations

import itertools
import signal

from framepair import subscribe
from framepair.nodes.combiner.intake import QUIET_NS, Rivals
from framepair.protocol.wire.frame import SourceEnd
from tests.lib.feed import MS, frame
from tests.lib.pipeline import Pipeline, checked

SOURCE = "synthetic://160x120@25"


def test_the_first_goes_on_and_the_second_is_refused() -> None:
    rivals = Rivals()
    for i in range(10):
        assert not rivals.is_one(frame(run=1, seq=i, fps=25.0), i * 40 * MS)
        assert rivals.is_one(frame(run=2, seq=i, fps=25.0), i * 40 * MS + 1)
        assert rivals.is_one(SourceEnd("left", 2, i, 0, "stopped"), i * 40 * MS + 2)
    # Others have nothing to do with it.
    assert not rivals.is_one(frame("right", run=3), 0)


def test_one_that_is_gone_is_replaced() -> None:
    rivals = Rivals()
    assert not rivals.is_one(frame(run=1, fps=25.0), 0)
    assert rivals.is_one(frame(run=2, fps=25.0), QUIET_NS - 1)
    assert not rivals.is_one(frame(run=2, fps=25.0), QUIET_NS)
    # It is the first now.
    assert rivals.is_one(frame(run=1, fps=25.0), QUIET_NS + 1)


def test_one_that_says_goodbye_is_replaced_at_once() -> None:
    rivals = Rivals()
    assert not rivals.is_one(frame(run=1), 0)
    assert not rivals.is_one(SourceEnd("left", 1, 1, 0, "stopped"), 1)
    assert not rivals.is_one(frame(run=2), 2)


def test_a_slow_camera_is_not_gone_between_two_frames() -> None:
    rivals = Rivals()
    assert not rivals.is_one(frame(run=1, fps=1.0), 0)
    assert rivals.is_one(frame(run=2, fps=1.0), 2900 * MS)
    assert not rivals.is_one(frame(run=2, fps=1.0), 3000 * MS)


def test_a_second_producer_changes_nothing_until_the_first_is_gone() -> None:
    with Pipeline(["left", "right"]) as nodes, subscribe(nodes.pub, keep=1000) as pairs:
        combiner = nodes.combiner()
        first = nodes.producer("left", SOURCE)
        nodes.producer("right", SOURCE)
        stream = checked(pairs)
        seen = list(itertools.islice(stream, 3))
        nodes.producer("left", SOURCE)
        combiner.wait_for("left: a second producer sends as this source")
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
