"""How frames are stamped, as a sink shows it: by line, in the report, and for programs."""

from __future__ import annotations

import io
import json

from msgspec.structs import replace
from rich.console import Console

from framepair import Pair
from framepair.nodes.sink.latency import PairTimes
from framepair.nodes.sink.ledger import Account
from framepair.nodes.sink.report import Report
from framepair.nodes.sink.screen import Layout, words
from framepair.nodes.sink.stampings import Stampings
from framepair.protocol.client.assembly import Assembly
from framepair.protocol.wire.frame import FrameHeader, StampGrade
from framepair.protocol.wire.pair import PairHeader
from tests.lib.stream import Stream, feed
from tests.lib.units import MS

GRADES: dict[str, tuple[StampGrade, int | None]] = {
    "left": ("camera", 1 * MS),
    "right": ("media", 41 * MS),
}


def pair_of(
    grades: dict[str, tuple[StampGrade, int | None]] = GRADES, *, restamped: bool = False
) -> Pair:
    """Return a pair whose sources are stamped so; clocks were compared, give or take 2 ms."""
    assembly, stream = Assembly(keep=2, max_bytes=10**9), Stream(list(grades))
    for message in stream.whole(0):
        if isinstance(message, FrameHeader):
            grade, uncertainty_ns = grades[message.source]
            feed(
                assembly,
                replace(
                    message, stamp=grade, stamp_uncertainty_ns=uncertainty_ns, uncertainty_ns=2 * MS
                ),
            )
        elif isinstance(message, PairHeader):
            clips = {
                name: replace(clip, delay_ns=62 * MS, restamped=restamped and name == "left")
                for name, clip in message.clips.items()
            }
            feed(assembly, replace(message, clips=clips, complete=not restamped))
    pair = assembly.take()
    assert pair is not None
    return pair


def test_what_is_known_of_stamps_and_clocks_adds_up() -> None:
    pair = pair_of()
    assert (pair["left"].stamp, pair["right"].stamp) == ("camera", "media")
    assert (pair["left"].uncertainty_ns, pair["right"].uncertainty_ns) == (3 * MS, 43 * MS)
    assert pair.uncertainty_ns == 43 * MS
    unknown = pair_of(GRADES | {"right": ("arrival", None)})
    assert unknown["right"].uncertainty_ns is None
    assert unknown.uncertainty_ns is None


def test_a_line_says_how_sources_are_stamped_how_wrong_that_may_be_and_how_late_they_come() -> None:
    pair = pair_of()
    layout = Layout(pair)
    assert "stamps ± ms, delay ms" in layout.heading().plain
    line = layout.line(pair, None, {"left": 0.0, "right": 0.0}).plain
    assert "left camera ±3.0, 62  right media ±43.0, 62" in line
    unknown = pair_of(GRADES | {"right": ("arrival", None)})
    assert "right arrival ±?, 62" in layout.line(unknown, None, {"left": 0.0, "right": 0.0}).plain


def test_of_many_sources_a_line_names_the_one_that_may_be_the_most_wrong() -> None:
    many = {f"cam{number}": ("media", number * MS) for number in range(9)}
    pair = pair_of({name: ("media", ns) for name, (_, ns) in many.items()})
    line = Layout(pair).line(pair, None, dict.fromkeys(many, 0.0)).plain
    assert "cam8 media ±10.0, 62 at most" in line


def test_of_exact_stamps_a_line_says_nothing() -> None:
    exact = pair_of({"left": ("exact", 0), "right": ("exact", 0)})
    layout = Layout(exact)
    assert "stamps" not in layout.heading().plain
    assert layout.fits(exact)
    assert not layout.fits(pair_of())


def test_a_line_says_why_a_pair_is_incomplete_whose_source_was_restamped() -> None:
    said = words(pair_of(restamped=True)).plain
    assert said == "left is stamped by its camera's clock from now on"


def test_the_report_has_grades_uncertainties_and_delays() -> None:
    pair, stampings = pair_of(), Stampings()
    stampings.add_pair(pair)
    stampings.add_pair(pair_of(GRADES | {"right": ("arrival", None)}))
    nothing = Account(0, 0, 0, 0, 0, 0, {}, 0, 0, 0, None, ended=True)
    accounts = dict.fromkeys(pair, nothing)
    report = Report("ipc:///x", 1.0, PairTimes(), accounts, 0, 0, stampings.sources)
    found = json.loads(json.dumps(report.as_json()))["sources"]
    assert found["left"]["stamps"] == {"camera": 10}
    assert found["left"]["stamp_uncertainty_ms"]["max"] == 1.0
    assert found["left"]["delay_ms"] == 62.0
    assert found["right"]["stamps"] == {"media": 5, "arrival": 5}
    assert found["right"]["stamp_uncertainty_unknown"] == 5
    output = io.StringIO()
    report.show(Console(file=output, width=120))
    assert "camera 10" in output.getvalue()
    assert "media 5, arrival 5" in output.getvalue()
