from __future__ import annotations

from framepair.protocol.client.losses import TotalsSum
from framepair.protocol.wire.pair import Progress, Totals
from tests.lib.feed import is_balanced


def totals(paired: int, began: Progress | None, reached: Progress, **fields: int) -> Totals:
    """Return what a combiner counts that heard of one run of a producer, in which it lost nothing."""
    before = (began.seq - began.dropped) if began else 0
    dropped = {
        "before_combiner": before,
        "producer_dropped": reached.dropped,
        "transport": reached.seq - before - reached.dropped - paired - fields.get("open", 0),
    }
    counts = {name: count for name, count in dropped.items() if count}
    return Totals(
        captured=reached.seq,
        paired=paired,
        dropped=counts,
        runs=1,
        began=began,
        reached=reached,
        **fields,
    )


def both(first: Totals, second: Totals, *, ended: bool = False) -> Totals:
    tally = TotalsSum()
    tally.update(1, {"left": first}, ended=ended)
    tally.update(2, {"left": second}, ended=False)
    return tally.sum()["left"]


def test_one_combiner_is_taken_at_its_word() -> None:
    tally = TotalsSum()
    for reached in (50, 75):
        newest = totals(reached - 5, Progress(7, 3), Progress(7, reached), open=2)
        tally.update(1, {"left": newest}, ended=False)
        assert tally.sum() == {"left": newest}


def test_what_a_former_combiner_has_accounted_for_is_not_counted_again() -> None:
    first = totals(50, Progress(7, 0), Progress(7, 50))
    second = totals(25, Progress(7, 60), Progress(7, 85))
    total = both(first, second)
    assert (total.captured, total.paired, total.dropped) == (85, 75, {"before_combiner": 10})
    assert total.runs == 1
    assert is_balanced(total)


def test_nor_are_frames_that_the_producer_could_not_send() -> None:
    first = totals(40, Progress(7, 0), Progress(7, 50, dropped=10))
    second = totals(20, Progress(7, 60, dropped=15), Progress(7, 85, dropped=20))
    total = both(first, second)
    assert total.captured == 85
    assert total.dropped == {"producer_dropped": 20, "before_combiner": 5}
    assert is_balanced(total)


def test_another_run_of_the_producer_is_counted_from_its_start() -> None:
    total = both(
        totals(50, Progress(7, 0), Progress(7, 50)), totals(25, Progress(8, 10), Progress(8, 35))
    )
    assert (total.captured, total.runs) == (85, 2)
    assert is_balanced(total)


def test_what_a_killed_combiner_had_open_is_lost_with_it() -> None:
    first = totals(50, Progress(7, 0), Progress(7, 55), open=5)
    total = both(first, totals(25, Progress(7, 55), Progress(7, 80)))
    assert (total.captured, total.open, total.dropped) == (80, 0, {"combiner_lost": 5})
    assert is_balanced(total)


def test_one_that_ended_in_order_and_still_had_frames_open_is_found() -> None:
    first = totals(50, Progress(7, 0), Progress(7, 55), open=5)
    total = both(first, totals(25, Progress(7, 55), Progress(7, 80)), ended=True)
    assert not is_balanced(total)


def test_a_combiner_that_never_heard_of_the_source_does_not_forget_it() -> None:
    tally = TotalsSum()
    tally.update(1, {"left": totals(50, Progress(7, 0), Progress(7, 50))}, ended=False)
    tally.update(2, {"left": Totals()}, ended=False)
    tally.update(3, {"left": totals(25, Progress(7, 60), Progress(7, 85))}, ended=False)
    total = tally.sum()["left"]
    assert (total.captured, total.dropped) == (85, {"before_combiner": 10})
    assert is_balanced(total)


def test_outages_and_reopenings_over_combiners() -> None:
    first = totals(50, Progress(7, 0), Progress(7, 50, reopened=2), reopened=2, outage_ns=9)
    second = totals(25, Progress(7, 50), Progress(7, 75, reopened=3), reopened=3, outage_ns=4)
    total = both(first, second)
    assert (total.reopened, total.outage_ns) == (3, 9)
