"""Two producers that send as one source: the first goes on until it is gone."""

from __future__ import annotations

import pytest

from framepair.nodes.combiner.intake import QUIET_NS, Rivals
from framepair.protocol.wire.frame import SourceEnd
from tests.lib.feed import Feed, alive, frame, frames
from tests.lib.units import MS


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
    """Its producer says twice a second that it is alive."""
    rivals = Rivals()
    assert not rivals.is_one(frame(run=1, fps=0.2), 0)
    for half in range(1, 10):
        assert not rivals.is_one(alive("left", half / 2, 1), half * 500 * MS)
        assert rivals.is_one(frame(run=2, fps=0.2), half * 500 * MS + 1)
        assert rivals.is_one(alive("left", half / 2, 1, run=2), half * 500 * MS + 2)


@pytest.mark.parametrize("fps", [1e-3, 0.2, 1.0])
def test_a_slow_camera_whose_producer_is_gone_is_replaced_as_soon_as_any(fps: float) -> None:
    rivals = Rivals()
    assert not rivals.is_one(frame(run=1, fps=fps), 0)
    assert not rivals.is_one(alive("left", 0.5, 1), 500 * MS)
    assert rivals.is_one(frame(run=2, fps=fps), 500 * MS + QUIET_NS - 1)
    assert not rivals.is_one(frame(run=2, fps=fps), 500 * MS + QUIET_NS)


def test_what_is_refused_is_accounted_for_once_its_run_is_the_source_s() -> None:
    feed = Feed("left")
    feed.send(*frames("left", range(5)))
    for header in frames("left", range(3), run=2, offset_ns=450 * MS):
        feed.windows.reject_rival(header)
    assert (feed.totals().rejected, feed.totals().dropped) == (3, {})
    feed.send(*frames("left", range(4, 8), run=2, offset_ns=1450 * MS))
    assert feed.totals().dropped == {"rival": 3, "transport": 1}
