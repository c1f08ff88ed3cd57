"""The line that says how it went since the last one."""

from __future__ import annotations

from framepair.nodes.sink.interim import Interim
from framepair.nodes.sink.ledger import Account


def account(delivered: int, *, restarts: int = 0, late: int = 0, **dropped: int) -> Account:
    return Account(
        captured=delivered + late + sum(dropped.values()),
        delivered=delivered,
        late=late,
        gaps=0,
        rejected=0,
        in_flight=0,
        dropped=dropped,
        restarts=restarts,
        reopened=0,
        outage_ns=0,
        fps=25.0,
        ended=False,
    )


def said(interim: Interim, now_s: float, lost_pairs: int = 0, **accounts: Account) -> str:
    date, time, line = interim.take_line(now_s, accounts, lost_pairs).split(" ", 2)
    assert len(date) == 10
    assert len(time) == 8
    return line


def test_it_is_due_at_intervals_and_when_asked_for() -> None:
    interim = Interim(60.0, 100.0)
    assert not interim.is_due(159.9)
    assert interim.is_due(160.0)
    said(interim, 160.0)
    assert not interim.is_due(219.9)
    interim.ask()
    assert interim.is_due(161.0)
    said(interim, 161.0)
    assert not interim.is_due(161.0)
    assert not Interim(None, 0.0).is_due(1e9)


def test_it_counts_since_the_last_one() -> None:
    interim = Interim(60.0, 100.0)
    line = said(interim, 160.0, left=account(100, startup=3), right=account(98, late=2))
    assert line == "0 pairs in 60 s, 0 complete; left 100 frames; right 98 frames (2 late)"
    accounts = {
        "left": account(150, startup=3, transport=4, restarts=1),
        "right": account(150, late=2),
    }
    line = said(interim, 170.0, lost_pairs=7, **accounts)
    assert line == (
        "0 pairs in 10 s, 0 complete, 7 lost; left 50 frames (4 transport, producer started again: 1);"
        " right 52 frames"
    )
