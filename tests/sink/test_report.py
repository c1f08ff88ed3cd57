from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from framepair.nodes.common.json_output import refuse_unwritable, write
from framepair.nodes.common.runtime import Refused
from framepair.nodes.sink.latency import PairTimes
from framepair.nodes.sink.ledger import Account
from framepair.nodes.sink.report import Report
from framepair.protocol.client import pace
from tests.lib.units import MS

SIX = {"p50", "p95", "p99", "max", "mean", "std"}


def account(**fields: Any) -> Account:
    values: dict[str, Any] = {
        "captured": 50,
        "delivered": 50,
        "late": 0,
        "gaps": 0,
        "rejected": 0,
        "in_flight": 0,
        "dropped": {},
        "restarts": 0,
        "reopened": 0,
        "outage_ns": 0,
        "fps": 25.0,
        "ended": True,
    }
    return Account(**{**values, **fields})


def times(*, announce_ms: float = 1.0, offline: bool = False) -> PairTimes:
    """Return what was measured of two pairs."""
    measured = PairTimes()
    measured.pairs, measured.complete = 2, 1
    measured.pace = pace.OFFLINE if offline else pace.REAL_TIME
    measured.interval.record(1000 * MS)
    measured.delivery.record(2 * MS)
    if not offline:
        measured.lag.record(41 * MS)
        measured.transport.record(3 * MS)
        measured.announce.record(round(announce_ms * MS))
    return measured


def report(measured: PairTimes | None = None, **accounts: Account) -> Report:
    return Report("ipc:///run/pairs", 2.5, measured or PairTimes(), accounts, 0, 0)


def shown(of: Report, width: int = 100) -> str:
    output = io.StringIO()
    of.show(Console(file=output, width=width, highlight=False, markup=False, emoji=False))
    return output.getvalue()


def row(text: str, name: str) -> list[str]:
    """Return the cells of the row that begins with ``name``."""
    return next(line.split() for line in text.splitlines() if line.split()[:1] == [name])


def test_json_has_the_keys_that_were_promised() -> None:
    found = report(times(), left=account(captured=53, dropped={"transport": 3})).as_json()
    assert set(found) >= {"duration_s", "pairs", "complete_pairs", "lost_pairs", "ledger_balanced"}
    assert set(found["lag_ms"]) == SIX
    assert set(found["interval_ms"]) == SIX
    assert {hop: set(found["hops_ms"][hop]) for hop in found["hops_ms"]} == {
        "transport": SIX,
        "announce": SIX,
        "delivery": SIX,
    }
    assert set(found["sources"]["left"]) >= {"captured", "delivered", "late", "gaps", "fps"}
    assert found["sources"]["left"]["dropped"] == {"transport": 3}
    assert found["ledger_balanced"] is True
    assert found["lag_ms"]["p50"] == pytest.approx(41, rel=0.01)
    assert found["interval_ms"]["max"] == 1000


def test_the_ledger_is_balanced_only_if_every_source_is() -> None:
    unbalanced = report(times(), left=account(), right=account(captured=51))
    assert unbalanced.as_json()["ledger_balanced"] is False
    assert "does not balance: right: 1 of 51" in shown(unbalanced)


def test_tables_name_every_hop_and_every_source() -> None:
    dropped = {"transport": 3, "subscriber_slow": 25}
    text = shown(report(times(), left=account(), right=account(captured=78, dropped=dropped)))
    assert row(text, "lag")[-6:] == ["41.00", "41.00", "41.00", "41.00", "41.00", "0.00"]
    assert {row(text, name)[0] for name in ("interval", "transport", "announce", "delivery")}
    assert row(text, "left") == ["left", "50", "50", "0", "0", "0", "25.00", "0"]
    assert row(text, "right")[-4:] == ["transport", "3,", "subscriber_slow", "25"]
    assert "The ledger balances" in text
    assert max(map(len, text.splitlines())) <= 100


@pytest.mark.parametrize(("announce_ms", "explained"), [(-1.0, True), (1.0, False)])
def test_an_announcement_before_the_windows_end_is_explained(
    announce_ms: float, explained: bool
) -> None:
    text = shown(report(times(announce_ms=announce_ms), left=account()))
    assert ("closes early" in text) is explained


def test_with_media_time_only_what_means_something_is_told() -> None:
    measured = times(offline=True)
    measured.frames, measured._first_received_ns = 100, 1
    measured._newest_ready_ns, measured._newest_end_ns = 1 + 500 * MS, 2000 * MS
    of = report(measured, left=account())
    found, text = of.as_json(), shown(of)
    assert found["lag_ms"] is None
    assert found["hops_ms"]["transport"] is None
    assert found["hops_ms"]["announce"] is None
    assert found["hops_ms"]["delivery"]["max"] == 2
    assert found["throughput"] == {"x_realtime": 4.0, "frames_per_s": 200.0}
    assert "4.0 x realtime, 200 frames/s" in text
    assert not {"lag", "transport", "announce"} & {line.split(" ")[0] for line in text.split("\n ")}


def test_without_any_pair_one_sentence_says_so() -> None:
    of = report()
    assert shown(of).split("\n") == ["", "No pair came from ipc:///run/pairs in 2.5 s.", ""]
    found = of.as_json()
    assert (found["pairs"], found["lag_ms"], found["sources"]) == (0, None, {})


def test_losses_are_told_in_words() -> None:
    text = shown(Report("tcp://[::1]:5000", 2.5, times(), {"left": account()}, 7, 2))
    assert "7 pairs lost: this consumer was too slow, or could not be reached." in text
    assert "2 malformed messages dropped." in text


def test_json_is_written_whole_over_the_former_file(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text("former")
    of = report(times(), left=account())
    write(path, of.as_json())
    assert json.loads(path.read_text()) == of.as_json()
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_leaves_the_former_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "report.json"
    path.write_text("former")
    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space"):
        write(path, report().as_json())
    assert path.read_text() == "former"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_is_early_not_replaced(tmp_path: Path) -> None:
    path, link = tmp_path / "report.json", tmp_path / "link"
    path.write_text("former")
    link.symlink_to(path)
    write(link, report().as_json())
    assert link.is_symlink()
    assert json.loads(path.read_text())["pairs"] == 0


def test_a_path_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "none" / "report.json", tmp_path, tmp_path / "file" / "report.json"):
        with pytest.raises(Refused, match="cannot write the report to"):
            refuse_unwritable(path)
    with pytest.raises(Refused, match="no file"):
        refuse_unwritable(Path("/dev/null"))


def test_a_path_that_can_be_written_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    refuse_unwritable(path)
    assert list(tmp_path.iterdir()) == []
    path.write_text("former")
    refuse_unwritable(path)
    assert path.read_text() == "former"
