"""Which frames of a source came, which are missing, and why."""

from __future__ import annotations

import random

import pytest

from framepair.nodes.combiner.continuity import (
    MAX_HOLES,
    MAX_LOST,
    MAX_RUNS,
    Continuation,
    Continuity,
)
from framepair.protocol.wire.frame import SourceEnd
from framepair.protocol.wire.header import MAX_INT
from tests.lib.feed import BEGIN_NS, PERIOD_NS, at, frame


def seen(continuity: Continuity, *seqs: int, run: int = 1) -> list[Continuation]:
    """Let frames come in this order."""
    return [continuity.frame(frame(seq=seq, run=run)) for seq in seqs]


def ended(continuity: Continuity, seq: int, *, run: int = 1, dropped: int = 0) -> Continuation:
    """Let a run end after ``seq`` frames."""
    return continuity.count(SourceEnd("left", run, seq, dropped, "finished"))


def test_frames_in_a_row() -> None:
    continuity = Continuity()
    assert seen(continuity, 0, 1, 2) == [
        Continuation(new=True, begins=True),
        Continuation(new=True),
        Continuation(new=True),
    ]
    assert (continuity.captured, continuity.dropped()) == (3, {})


def test_a_hole() -> None:
    continuity = Continuity()
    assert seen(continuity, 0, 4)[-1] == Continuation(new=True, lost=3)
    assert (continuity.captured, continuity.dropped()) == (5, {"transport": 3})


def test_a_hole_is_filled_from_either_side_and_from_within() -> None:
    continuity = Continuity()
    seen(continuity, 0, 10)
    for missing, seq in zip(range(8, -1, -1), [5, 1, 9, 2, 8, 4, 6, 3, 7], strict=True):
        assert seen(continuity, seq) == [Continuation(new=True, filled=True)]
        assert continuity.dropped().total() == missing
    assert continuity.captured == 11


@pytest.mark.parametrize("seq", [0, 3, 5])
def test_what_came_before_is_not_new(seq: int) -> None:
    continuity = Continuity()
    seen(continuity, 0, 1, 5, 3)
    assert seen(continuity, seq) == [Continuation(new=False)]
    assert continuity.captured == 6


@pytest.mark.parametrize("seed", range(20))
def test_any_order_with_repeats_adds_up(seed: int) -> None:
    chance = random.Random(seed)
    continuity = Continuity()
    seqs = [chance.randrange(60) for _ in range(80)]
    came: set[int] = set()
    for seq in seqs:
        (arrival,) = seen(continuity, seq)
        assert arrival.new == (seq not in came)
        came.add(seq)
        assert continuity.captured == max(came) + 1
        assert continuity.dropped().total() == continuity.captured - len(came)


def test_each_run_counts_from_zero() -> None:
    continuity = Continuity()
    seen(continuity, 0, 1, run=1)
    assert seen(continuity, 0, 1, run=2) == [
        Continuation(new=True, begins=True),
        Continuation(new=True),
    ]
    assert (continuity.captured, continuity.dropped()) == (4, {})


def test_runs_that_alternate_have_holes_of_their_own() -> None:
    continuity = Continuity()
    for seq in range(0, 20, 2):
        seen(continuity, seq, run=1)
        seen(continuity, seq // 2, run=2)
    assert continuity.dropped() == {"transport": 9}


def test_an_end_tells_of_the_last_frames() -> None:
    continuity = Continuity()
    seen(continuity, 0, 1)
    assert ended(continuity, 5) == Continuation(new=True, lost=3)
    assert (continuity.captured, continuity.dropped()) == (5, {"transport": 3})
    assert ended(continuity, 5) == Continuation(new=True, lost=3)
    assert continuity.captured == 5


def test_an_end_that_knows_of_less_than_came_changes_nothing() -> None:
    continuity = Continuity()
    seen(continuity, 0, 1, 2)
    assert ended(continuity, 1) == Continuation(new=True)
    assert continuity.captured == 3


def test_an_end_may_be_all_that_comes_of_a_run() -> None:
    continuity = Continuity()
    assert ended(continuity, 5, dropped=2) == Continuation(new=True, lost=5, begins=True)
    assert continuity.dropped() == {"producer_dropped": 2, "before_combiner": 3}


def test_a_frame_after_the_end_fills_the_hole() -> None:
    continuity = Continuity()
    ended(continuity, 3)
    assert seen(continuity, 1) == [Continuation(new=True, filled=True)]
    assert continuity.dropped() == {"before_combiner": 2}


def test_a_refused_frame_is_missing_for_a_reason_of_its_own() -> None:
    continuity = Continuity()
    seen(continuity, 0)
    assert continuity.refuse(frame(seq=1), "future").new
    assert not continuity.refuse(frame(seq=1), "future").new
    assert seen(continuity, 2) == [Continuation(new=True, lost=1)]
    assert (continuity.captured, continuity.dropped()) == (3, {"future": 1})


def test_what_is_certain_comes_before_what_is_likely() -> None:
    continuity = Continuity()
    continuity.explain("corrupt", 3)
    continuity.frame(frame(seq=9, dropped=2))
    continuity.refuse(frame(seq=10, dropped=2), "future")
    continuity.frame(frame(seq=20, dropped=4))
    assert continuity.dropped() == {
        "producer_dropped": 4,
        "future": 1,
        "before_combiner": 7,
        "corrupt": 3,
        "transport": 4,
    }


def test_frames_that_come_after_all_were_not_before_the_combiner() -> None:
    continuity = Continuity()
    seen(continuity, 4, 2, 3)
    assert continuity.dropped() == {"before_combiner": 2}
    seen(continuity, 8, 6)
    assert continuity.dropped() == {"before_combiner": 2, "transport": 2}


def test_what_a_producer_dropped_it_does_not_take_back() -> None:
    continuity = Continuity()
    continuity.frame(frame(seq=0))
    continuity.frame(frame(seq=5, dropped=2))
    continuity.frame(frame(seq=3, dropped=1))
    assert continuity.dropped() == {"producer_dropped": 2, "transport": 1}


def test_more_explanations_than_holes_explain_no_more_than_the_holes() -> None:
    continuity = Continuity()
    seen(continuity, 0)
    continuity.explain("corrupt", 100)
    seen(continuity, 3)
    assert continuity.dropped() == {"corrupt": 2}
    continuity.frame(frame(seq=4, dropped=4))
    assert continuity.dropped() == {"producer_dropped": 2}


def test_explanations_are_for_the_run_that_was_heard_of_last() -> None:
    continuity = Continuity()
    seen(continuity, 0, run=1)
    seen(continuity, 0, run=2)
    continuity.explain("corrupt")
    seen(continuity, 2, run=1)
    assert continuity.dropped() == {"transport": 1}
    seen(continuity, 2, run=2)
    assert continuity.dropped() == {"transport": 1, "corrupt": 1}


def test_forgotten_runs_stay_in_the_counts() -> None:
    continuity = Continuity()
    for run in range(10 * MAX_RUNS):
        seen(continuity, 0, 2, run=run)
    assert continuity.captured == 3 * 10 * MAX_RUNS
    assert continuity.dropped() == {"transport": 10 * MAX_RUNS}


def test_forgotten_holes_stay_in_the_counts() -> None:
    continuity = Continuity()
    seen(continuity, *range(0, 6 * MAX_HOLES, 2))
    assert continuity.dropped().total() == 3 * MAX_HOLES - 1
    # What is forgotten can't be told from a duplicate any more.
    assert seen(continuity, 1) == [Continuation(new=False)]
    assert seen(continuity, 6 * MAX_HOLES - 3) == [Continuation(new=True, filled=True)]


@pytest.mark.parametrize("seq", [MAX_LOST + 1, 2**62, MAX_INT])
def test_a_seq_beyond_all_reason_is_not_taken(seq: int) -> None:
    continuity = Continuity()
    assert seen(continuity, seq) == [Continuation(new=False)]
    assert not continuity.refuse(frame(seq=seq), "future").new
    assert not ended(continuity, seq).new
    assert (continuity.captured, continuity.dropped()) == (0, {})
    assert seen(continuity, 0)[0].begins


def test_what_is_missing_in_a_stretch_of_time() -> None:
    continuity = Continuity()
    seen(continuity, *range(5), *range(9, 12))
    assert continuity.lost_in(at(0), at(0.4)) == (0, False)
    assert continuity.lost_in(at(0), at(1)) == (4, True)
    assert continuity.lost_in(at(0.5), at(0.7)) == (2, True)
    assert continuity.lost_in(at(0.8), at(0.9)) == (1, True)
    assert continuity.lost_in(at(0.9), at(5)) == (0, False)


def test_nothing_is_missed_in_time_once_a_hole_is_filled() -> None:
    continuity = Continuity()
    seen(continuity, 0, 3, 2)
    assert continuity.lost_in(at(0), at(1)) == (1, True)
    assert continuity.lost_in(at(0.2), at(1)) == (0, False)
    seen(continuity, 1)
    assert continuity.lost_in(at(0), at(1)) == (0, False)


def test_stamps_that_run_backwards_place_a_hole_between_them() -> None:
    continuity = Continuity()
    continuity.frame(frame(seq=0, captured_ns=at(5)))
    continuity.frame(frame(seq=2, captured_ns=at(3)))
    assert continuity.lost_in(at(3), at(6)) == (1, True)
    assert continuity.lost_in(at(0), at(3)) == (0, False)


def test_what_a_run_lost_at_its_start_was_before_its_first_frame() -> None:
    continuity = Continuity()
    seen(continuity, 3)
    assert continuity.lost_in(0, BEGIN_NS) == (0, True)
    assert continuity.lost_in(at(0), at(0.3)) == (3, True)
    assert continuity.lost_in(at(0.2) + 1, at(9)) == (0, False)
    assert continuity.lost_in(at(0.3) - PERIOD_NS, at(9)) == (1, True)


def test_forgotten_runs_and_holes_are_missed_in_time_for_good() -> None:
    continuity = Continuity()
    seen(continuity, *range(0, 4 * MAX_HOLES, 2))
    assert continuity.lost_in(at(0), at(0.1))[1]
    for run in range(100, 101 + MAX_RUNS):
        seen(continuity, 0, run=run)
    assert continuity.lost_in(at(0), at(1))[1]
    assert not continuity.lost_in(at(4 * MAX_HOLES), at(4 * MAX_HOLES + 1))[1]
