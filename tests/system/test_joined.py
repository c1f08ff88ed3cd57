"""Two pipelines of real processes as one, and one of them that goes."""

from __future__ import annotations

from collections.abc import Callable

from framepair import Pair, Subscription, subscribe, testing
from tests.lib.pipeline import check
from tests.lib.processes import PATIENCE_S


def first(pairs: Subscription, wanted: Callable[[Pair], object]) -> Pair:
    """Return the first pair that is ``wanted``; all until then are checked."""
    while True:
        pair = pairs.get(PATIENCE_S)
        assert pair is not None
        check(pair)
        if wanted(pair):
            return pair


def test_two_pipelines_are_one_and_go_on_when_one_has_gone() -> None:
    with (
        testing.pipeline("left", "right") as one,
        testing.pipeline("top") as other,
        subscribe([one.address, other.address]) as pairs,
    ):
        pair = first(pairs, lambda pair: pair.complete)
        assert [*pair] == ["left", "right", "top"]
        assert all(len(clip) == 5 for clip in pair.values())
        with_other = pairs.matches("left", "top", within_ms=40)
        assert next(with_other).spread_ns <= 40e6
        with_other.close()
        other.process.terminate()
        pair = first(pairs, lambda pair: pair["top"].missing == "offline")
        assert len(pair["left"]) == len(pair["right"]) == 5
        assert not pair.complete
        assert not pairs.ended
