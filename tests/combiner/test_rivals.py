"""Two producers that send as one source: the first goes on until it is gone."""

from __future__ import annotations

from framepair.nodes.combiner.intake import QUIET_NS, Rivals
from framepair.protocol.wire.frame import SourceEnd
from tests.lib.feed import MS, frame


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
