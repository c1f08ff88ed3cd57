from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, cast

import pytest

from framepair.nodes.sink.ledger import Account, Ledger, sentence, shortfall
from framepair.protocol.client.clip import Pair
from framepair.protocol.client.losses import SubscriberStats
from framepair.protocol.wire.frame import EndReason, FrameHeader
from framepair.protocol.wire.pair import StreamEnd, Totals


def totals(paired: int, *, open_: int = 0, late: int = 0, **dropped: int) -> Totals:
    """Return totals that hold what a combiner promises of them."""
    captured = paired + open_ + late + sum(dropped.values())
    gaps = sum(dropped.values())
    return Totals(captured, paired, open_, late, gaps, rejected=0, dropped=dropped)


def pair_with(run: int, frames: int, left: Totals) -> Pair:
    """Return a pair of one source, as a consumer sees it."""
    stamps = tuple(
        FrameHeader("left", 1, max(0, seq), seq * 40_000_000, seq * 40_000_000, 0, (2, 2, 3))
        for seq in range(left.captured - frames, left.captured)
    )
    header = SimpleNamespace(run=run, clips={"left": SimpleNamespace(totals=left)})
    clips = {"left": SimpleNamespace(frames=stamps)}
    return cast(Pair, SimpleNamespace(header=header, items=clips.items))


def stats(newest: Mapping[str, Totals], **fields: Any) -> SubscriberStats:
    nothing: dict[str, Any] = {
        "pairs": 0,
        "lost_pairs": 0,
        "lost_frames": {},
        "rejected": 0,
        "delivered_frames": {},
        "damaged_frames": {},
        "waiting_frames": {},
        "queued": 0,
        "end": None,
    }
    return SubscriberStats(totals=newest, **{**nothing, **fields})


def end(run: int, left: Totals, reason: EndReason = "finished") -> StreamEnd:
    return StreamEnd(run, seq=9, reason=reason, totals={"left": left})


def closed(*pairs: Pair, newest: Totals, **fields: Any) -> Account:
    """Return the account of ``left`` after ``pairs``."""
    ledger = Ledger()
    for pair in pairs:
        ledger.add_pair(pair)
    return ledger.accounts(stats({"left": newest}, **fields))["left"]


def test_balances_when_every_frame_was_delivered_or_has_a_reason() -> None:
    first, last = totals(25, open_=2, late=1), totals(50, open_=3, late=2, transport=4)
    account = closed(pair_with(7, 25, first), pair_with(7, 25, last), newest=last)
    assert account.balanced
    assert (account.captured, account.delivered, account.late) == (59, 50, 2)
    assert (account.in_flight, account.gaps, account.dropped) == (3, 4, {"transport": 4})
    assert account.fps == pytest.approx(25)


def test_what_this_consumer_lost_or_missed_is_dropped_under_its_own_reasons() -> None:
    account = closed(
        pair_with(7, 25, totals(100)),
        newest=totals(125),
        lost_frames={"left": {"subscriber_slow": 50, "no_subscriber": 50}},
    )
    assert account.balanced
    assert account.dropped == {"subscriber_slow": 50, "no_subscriber": 50}


def test_a_frame_that_was_announced_and_did_not_come_is_found() -> None:
    account = closed(pair_with(7, 24, totals(25)), newest=totals(25))
    assert not account.balanced
    assert account.missing == 1
    told = sentence({"left": account})
    assert told == (
        "The ledger does not balance: left: 1 of 25 captured frames are not accounted for."
    )


def test_a_frame_that_came_twice_is_found() -> None:
    account = closed(pair_with(7, 26, totals(25)), newest=totals(25))
    assert account.missing == -1
    assert "1 more frames are accounted for than the 25 captured" in sentence({"left": account})


def test_nothing_may_be_in_flight_after_the_end_of_the_stream() -> None:
    last = totals(25, open_=3)
    on_its_way = closed(pair_with(7, 25, last), newest=last)
    stuck = closed(pair_with(7, 25, last), newest=last, end=end(7, last))
    assert on_its_way.balanced
    assert not stuck.balanced
    assert "3 frames are in flight after the end" in sentence({"left": stuck})


def test_the_end_of_the_stream_has_the_last_word() -> None:
    final = totals(25, transport=6)
    account = closed(pair_with(7, 25, totals(25, open_=6)), newest=final, end=end(7, final))
    assert account.balanced
    assert (account.in_flight, account.dropped) == (0, {"transport": 6})


def test_totals_of_a_pair_that_was_lost_last_count() -> None:
    account = closed(
        pair_with(7, 25, totals(25)),
        newest=totals(50),
        lost_frames={"left": {"subscriber_slow": 25}},
    )
    assert account.balanced
    assert account.captured == 50


def test_pairs_that_did_not_all_arrive_are_told_from_those_that_waited_too_long() -> None:
    account = closed(
        newest=totals(75), lost_frames={"left": {"subscriber_slow": 50, "publisher_overflow": 25}}
    )
    assert account.balanced
    assert account.dropped == {"subscriber_slow": 50, "publisher_overflow": 25}


def test_pairs_that_wait_are_in_flight() -> None:
    account = closed(newest=totals(75, open_=5), waiting_frames={"left": 75})
    assert account.balanced
    assert account.in_flight == 80


def test_what_a_strict_consumer_accepts() -> None:
    def told(newest: Totals, **fields: Any) -> str | None:
        return shortfall({"left": closed(pair_with(7, 25, newest), newest=newest, **fields)})

    assert told(totals(25, startup=9)) is None
    assert told(totals(25, transport=2, late=1)) == (
        "Not every frame was delivered: 1 late, 2 transport."
    )
    fault = told(totals(26))
    assert fault is not None
    assert "does not balance" in fault


def test_without_any_pair_what_is_known_is_told() -> None:
    assert Ledger().accounts(stats({})) == {}
    account = closed(newest=totals(50), lost_frames={"left": {"subscriber_slow": 50}})
    assert account.balanced
    assert (account.delivered, account.fps) == (0, None)


def test_the_sentence_adds_all_sources_up() -> None:
    accounts = {name: closed(pair_with(7, 25, totals(25)), newest=totals(25)) for name in "ab"}
    assert sentence(accounts) == (
        "The ledger balances: 50 frames captured = 50 delivered + 0 late + 0 dropped + 0 in flight."
    )
