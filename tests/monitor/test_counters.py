"""Counters of frames: each loss once, never back, whatever is found out about it later."""

from __future__ import annotations

from collections import Counter
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from framepair.nodes.monitor.counters import FrameCounters, losses
from framepair.protocol.wire.pair import Totals
from tests.lib.examples import examples

REASONS = ("transport", "producer_dropped", "corrupt")
FIRST = Totals(
    captured=100, paired=80, open=10, late=4, dropped={"transport": 6}, runs=3, reopened=2
)


def grown(totals: Totals, **dropped: int) -> Totals:
    """Return totals in which so many frames more are lost."""
    lost = Counter(totals.dropped) + Counter(dropped)
    count = sum(dropped.values())
    return replace(totals, captured=totals.captured + count, dropped=dict(lost))


def test_a_monitor_begins_at_zero_and_counts_on_from_there() -> None:
    counters = FrameCounters(FIRST, {"no_subscriber": 30})
    counters.update(FIRST, {"no_subscriber": 30}, final=True)
    assert (counters.captured, counters.paired, counters.lost.total()) == (0, 0, 0)
    assert (counters.reopened, counters.restarts) == (0, 0)
    later = replace(FIRST, captured=150, paired=125, late=5, runs=5, restamped=1, reopened=3)
    counters.update(later, {"no_subscriber": 30, "publisher_overflow": 5}, final=True)
    assert (counters.captured, counters.paired) == (50, 40)
    assert counters.lost == {"late": 1, "publisher_overflow": 5}
    assert (counters.reopened, counters.restarts) == (1, 1)


def test_a_loss_is_counted_once_its_window_is_closed() -> None:
    counters = FrameCounters(FIRST, {})
    lost = grown(FIRST, transport=2)
    counters.update(lost, {})
    assert not counters.lost
    counters.update(lost, {})
    assert counters.lost == {"transport": 2}


def test_a_frame_that_came_after_all_was_never_lost() -> None:
    counters = FrameCounters(FIRST, {})
    for totals in (grown(FIRST, transport=2), FIRST, FIRST):
        counters.update(totals, {})
    assert not counters.lost


def test_a_reason_that_changes_later_counts_no_frame_twice() -> None:
    counters = FrameCounters(FIRST, {})
    for dropped in ({"transport": 5}, {"transport": 5}, {"producer_dropped": 5}):
        counters.update(grown(FIRST, **dropped), {})
    counters.update(grown(FIRST, producer_dropped=7), {}, final=True)
    assert counters.lost == {"transport": 5, "producer_dropped": 2}


counts = st.fixed_dictionaries(dict.fromkeys(REASONS, st.integers(0, 5)))


@settings(deadline=None, max_examples=examples(100))
@given(st.lists(counts, max_size=8), st.randoms(use_true_random=False))
def test_no_counter_goes_back_and_the_sum_is_that_of_the_ledger(
    news: list[dict[str, int]], random: Random
) -> None:
    counters, totals, former = FrameCounters(FIRST, {}), FIRST, Counter[str]()
    for dropped in news:
        totals = grown(totals, **dropped)
        # The same losses, of which some turn out to have another reason.
        moved = dict(totals.dropped)
        one, other = (random.choice(REASONS) for _ in range(2))
        count = min(moved.get(one, 0), random.randint(0, 3))
        moved[one] = moved.get(one, 0) - count
        moved[other] = moved.get(other, 0) + count
        totals = replace(totals, dropped=moved)
        counters.update(totals, {})
        assert all(counters.lost[reason] >= count for reason, count in former.items())
        assert counters.lost.total() <= losses(totals, {}).total() - losses(FIRST, {}).total()
        former = Counter(counters.lost)
    counters.update(totals, {}, final=True)
    assert counters.lost.total() == losses(totals, {}).total() - losses(FIRST, {}).total()
