"""What a monitor says of a pipeline: the sentence, the strip, the rows, and whether all is well."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec.structs import replace

from framepair.nodes.monitor.strip import MAX_CELLS
from framepair.protocol.wire.pair import PairHeader, Totals
from tests.lib.stream import Stream
from tests.lib.units import MS, S
from tests.lib.watched import LAG_NS, Watched


def stream(**changes: Any) -> Stream:
    """Return 25 frames a second, the last of each window 40 ms before its end."""
    return Stream(fps=25, period_ns=40 * MS, first=10, **changes)


def watched(stream: Stream, pairs: int) -> Watched:
    """Return what is known after so many complete pairs."""
    monitor = Watched()
    for _ in range(pairs):
        monitor.hear(*stream.next())
    return monitor


def row(monitor: Watched, source: str, later_ns: int = 0) -> dict[str, Any]:
    rows = monitor.state.snapshot(monitor.now_ns + later_ns)["sources"]
    return next(each for each in rows if each["name"] == source)


def cells(monitor: Watched) -> list[tuple[str, list[str]]]:
    pairs = monitor.state.snapshot(monitor.now_ns)["pairs"]
    return [(cell["state"], cell["why"]) for cell in pairs]


def test_all_is_well() -> None:
    monitor = watched(stream(), 5)
    # The newest frame is captured 40 ms before the window's end.
    assert monitor.sentence() == "All is well: 2 sources, 25/25, lag 45 ms"
    assert monitor.state.snapshot(monitor.now_ns)["well"] is True
    assert cells(monitor) == [("complete", [])] * 5


def test_the_snapshot_is_json_whose_nanoseconds_are_text() -> None:
    monitor = watched(stream(), 3)
    told = json.loads(json.dumps(monitor.state.snapshot(monitor.now_ns)))
    assert told["now_ns"] == str(13 * S + LAG_NS)
    assert (told["window_ms"], told["pairs"][0]["start_ns"]) == (1000, str(10 * S))
    assert told["pairs"][0]["index"] == "10"
    assert told["lag_ms"] == {"p50": 45, "p99": 45, "recent": [45, 45, 45]}
    assert told["interval_ms"] == {"p50": 1000, "p99": 1000, "recent": [1000, 1000]}
    assert told["restarts"] == {"producer left": 0, "producer right": 0, "combiner": 0}


def test_a_source_has_what_its_clips_say_without_pixels() -> None:
    pipeline, monitor = stream(), Watched()
    said = {"stamp": "driver", "uncertainty_ns": 300_000}
    for _ in range(3):
        monitor.hear(*pipeline.next(clips={"left": said}))
    left = row(monitor, "left", later_ns=100 * MS)
    assert (left["state"], left["up"], left["fps"], left["nominal_fps"]) == ("on", True, 25, 25)
    assert (left["width"], left["height"]) == (8, 6)
    assert (left["stamp"], left["uncertainty_ms"]) == ("driver", 0.3)
    assert left["age_ms"] == 145
    assert (left["captured"], left["paired"], left["lost"]) == (75, 75, {})


def test_before_the_first_pair() -> None:
    monitor = Watched()
    assert monitor.sentence(4 * S) == "No pair has come yet, for 4 s"
    assert monitor.state.snapshot(monitor.now_ns)["pairs"] == []
    assert monitor.state.unhealthy(monitor.now_ns + 10 * S) is None
    assert monitor.state.unhealthy(monitor.now_ns + 11 * S) == (
        "no pair with frames for 11 s: No pair has come yet, for 11 s"
    )


@pytest.mark.parametrize("missing", ["offline", "not_started", "ended", "slow"])
def test_a_source_that_is_missing_is_the_sentence_and_the_reason_of_its_pairs(missing: str) -> None:
    pipeline = stream()
    monitor = watched(pipeline, 3)
    absent = {"right": {"missing": missing, "complete": False}}
    monitor.hear(*pipeline.next({"right": 0}, clips=absent, complete=False))
    words = missing.replace("_", " ").replace("not", "has not").replace("ended", "has ended")
    words = words if words.startswith("has") else f"is {words}"
    assert monitor.sentence() == f"right {words}: its newest frame is 1.0 s old"
    assert cells(monitor)[-1] == ("incomplete", [f"right: {missing}"])
    right = row(monitor, "right")
    assert (right["state"], right["up"], right["fps"]) == (missing, missing == "slow", None)


def test_a_source_that_is_back_is_on_though_its_pair_is_incomplete() -> None:
    pipeline = stream()
    monitor = watched(pipeline, 3)
    away = {"right": {"missing": "offline", "complete": False}}
    monitor.hear(*pipeline.next({"right": 0}, clips=away, complete=False))
    monitor.hear(*pipeline.next(clips=away, complete=False))
    assert row(monitor, "right")["state"] == "on"
    assert monitor.sentence() == "2 of the last 5 pairs are incomplete: right: offline"


def test_a_camera_that_is_frozen_shows_within_three_seconds_though_it_is_not_called_offline() -> (
    None
):
    pipeline = stream()
    monitor = watched(pipeline, 3)
    frozen_ns = monitor.now_ns
    while (monitor.now_ns - frozen_ns) < 2 * S:
        monitor.hear(*pipeline.next({"left": 0}))
    assert monitor.now_ns - frozen_ns <= 3 * S
    assert monitor.sentence(900 * MS) == ("left has sent no frame: its newest frame is 2.9 s old")
    assert row(monitor, "left", 900 * MS)["state"] == "silent"


def lossy(pipeline: Stream, **dropped: int) -> list[Any]:
    """Return a window in which ``left`` lost frames, as a combiner announces it."""
    messages = pipeline.next({"left": 25 - sum(dropped.values())})
    before = pipeline.totals["left"]
    grown = {reason: before.dropped.get(reason, 0) + count for reason, count in dropped.items()}
    lost = sum(dropped.values())
    after = replace(before, captured=before.captured + lost, dropped={**before.dropped, **grown})
    pipeline.totals["left"] = after
    header = messages[-1]
    assert isinstance(header, PairHeader)
    clip = replace(header.clips["left"], complete=False, gaps=lost, dropped=lost, totals=after)
    clips = {**header.clips, "left": clip}
    return [replace(header, complete=False, clips=clips)]


def test_lost_frames_are_in_the_strip_by_reason_in_the_sentence_and_in_the_row() -> None:
    pipeline = stream()
    monitor = watched(pipeline, 3)
    monitor.hear(*lossy(pipeline, producer_dropped=3, transport=1))
    why = ["left: 3 frames producer_dropped", "left: 1 frame transport"]
    assert cells(monitor)[-1] == ("incomplete", why)
    assert monitor.sentence() == f"1 of the last 4 pairs is incomplete: {', '.join(why)}"
    left = row(monitor, "left")
    assert left["lost"] == {"producer_dropped": 3, "transport": 1}
    assert left["fps"] == pytest.approx(25, rel=0.1)
    meanings = monitor.state.snapshot(monitor.now_ns)["meanings"]
    assert meanings.keys() == {"producer_dropped", "transport"}
    for _ in range(10):
        monitor.hear(*pipeline.next())
    assert monitor.sentence().startswith("All is well")


def test_what_was_announced_before_the_monitor_came_is_not_lost() -> None:
    pipeline, monitor = stream(), Watched()
    for _ in range(3):
        pipeline.next()
    monitor.hear(*pipeline.next())
    left = row(monitor, "left")
    assert (left["captured"], left["paired"], left["lost"]) == (100, 100, {})
    assert monitor.sentence().startswith("All is well")


def test_a_source_that_is_slower_than_it_should_be_is_named() -> None:
    pipeline, monitor = stream(), Watched()
    for _ in range(4):
        monitor.hear(*pipeline.next({"left": 12}))
    assert monitor.sentence() == "left captures 12.0 of 25 frames a second"


def test_pairs_that_got_lost_are_cells_and_counted_with_their_frames() -> None:
    pipeline = stream()
    monitor = watched(pipeline, 2)
    pipeline.next()
    pipeline.next()
    monitor.hear(*pipeline.next())
    why = ["2 announced and lost on the way to the monitor"]
    assert cells(monitor) == [("complete", [])] * 2 + [("lost", why)] * 2 + [("complete", [])]
    assert monitor.sentence() == f"2 of the last 5 pairs did not come: {why[0]}"
    assert monitor.state.strip.pairs == {"true": 3, "false": 0, "unknown": 2}
    monitor.hear(*pipeline.next())
    assert monitor.state.sources["left"].counters.lost == {"publisher_overflow": 50}


def test_no_announcement_for_long() -> None:
    monitor = watched(stream(), 2)
    assert monitor.sentence(4 * S).startswith("All is well") is False
    assert monitor.sentence(5 * S) == "No pair has come for 5 s"
    assert row(monitor, "left", 5 * S)["state"] == "unknown"
    assert not row(monitor, "left", 5 * S)["up"]
    why = monitor.state.unhealthy(monitor.now_ns + 12 * S)
    assert why == "no pair with frames for 12 s: No pair has come for 12 s"


def test_one_dead_camera_is_unhealthy_only_for_who_asks_for_complete_pairs() -> None:
    pipeline = stream()
    monitor = watched(pipeline, 3)
    absent = {"right": {"missing": "offline", "complete": False}}
    for _ in range(11):
        monitor.hear(*pipeline.next({"right": 0}, clips=absent, complete=False))
    assert monitor.state.unhealthy(monitor.now_ns) is None
    why = monitor.state.unhealthy(monitor.now_ns, complete=True)
    assert why is not None
    assert why.startswith("no complete pair for 11 s: right is offline")


def test_announcements_without_any_frame_are_no_sign_of_health() -> None:
    pipeline = stream()
    monitor = watched(pipeline, 1)
    for _ in range(11):
        monitor.hear(*pipeline.next({"left": 0, "right": 0}))
    assert monitor.state.unhealthy(monitor.now_ns) is not None


def test_a_combiner_that_is_started_again_makes_no_counter_go_back() -> None:
    pipeline = stream()
    monitor = watched(pipeline, 3)
    monitor.hear(*lossy(pipeline, transport=2))
    monitor.hear(*pipeline.next())
    counters = monitor.state.sources["left"].counters
    before = counters.captured, counters.paired, counters.lost["transport"]
    assert before == (100, 98, 2)
    pipeline.restart()
    pipeline.lose(7)
    # Two windows were never announced.
    pipeline.window(15)
    monitor.hear(*pipeline.window(17), pipeline.pair(17), *pipeline.whole(18))
    assert (counters.captured, counters.paired) == (100 + 50 + 7, 98 + 50)
    assert counters.lost == {"transport": 2, "combiner_lost": 7}
    assert monitor.state.restarts()["combiner"] == 1
    assert [state for state, _ in cells(monitor)][-4:] == ["lost", "lost", "complete", "complete"]


def test_a_producer_that_is_started_again_is_counted() -> None:
    pipeline = stream()
    monitor = watched(pipeline, 2)
    for runs, restamped in ((2, 0), (3, 1)):
        pipeline.totals["left"] = replace(
            pipeline.totals["left"], runs=runs, restamped=restamped, reopened=4
        )
        monitor.hear(*pipeline.next())
    assert monitor.state.restarts()["producer left"] == 1
    assert monitor.state.sources["left"].counters.reopened == 4


def test_the_end_of_the_stream() -> None:
    pipeline = stream()
    monitor = watched(pipeline, 3)
    monitor.hear(pipeline.end("stopped"))
    assert monitor.sentence() == "The combiner was stopped: it may come back"
    assert row(monitor, "left")["state"] == "stopped"
    pipeline.restart()
    monitor.hear(*pipeline.whole(13), pipeline.end("finished"))
    assert monitor.sentence(60 * S) == "The stream has finished: 4 pairs"
    assert row(monitor, "left", 60 * S)["state"] == "ended"


def test_the_strip_ends_after_five_minutes() -> None:
    monitor = watched(stream(), 310)
    pairs = monitor.state.snapshot(monitor.now_ns)["pairs"]
    assert 300 <= len(pairs) <= 301
    assert pairs[-1]["index"] == "319"
    assert monitor.state.strip.pairs["true"] == 310


def test_a_hole_of_a_day_takes_no_more_than_the_strip() -> None:
    pipeline = stream()
    monitor = watched(pipeline, 2)
    pipeline.restart()
    monitor.hear(*pipeline.whole(86_400))
    assert len(monitor.state.strip.cells) <= MAX_CELLS
    assert cells(monitor)[-1] == ("complete", [])


def test_a_source_that_is_no_longer_there_has_no_row_and_keeps_its_counters() -> None:
    pipeline = stream()
    monitor = watched(pipeline, 2)
    header = pipeline.next()[-1]
    assert isinstance(header, PairHeader)
    monitor.hear(replace(header, clips={"left": header.clips["left"]}))
    assert [each["name"] for each in monitor.state.snapshot(monitor.now_ns)["sources"]] == ["left"]
    assert monitor.state.sources["right"].counters.captured == 25
    header = pipeline.next()[-1]
    assert isinstance(header, PairHeader)
    new = replace(header.clips["left"], totals=Totals(captured=25, paired=25))
    monitor.hear(replace(header, clips={**header.clips, "new": new}))
    assert monitor.state.sources["new"].counters.captured == 25
    assert monitor.state.sources["right"].counters.captured == 75


def test_hops_and_lag_are_histograms() -> None:
    pipeline, monitor = stream(), Watched()
    times = {"sent_ns": 10 * S + 962 * MS, "received_ns": 10 * S + 970 * MS}
    monitor.hear(*pipeline.next(clips={"left": times, "right": times}))
    bounds = {hop: dict(each.cumulative()) for hop, each in monitor.state.hops.items()}
    assert (bounds["send"]["0.001"], bounds["send"]["0.0025"]) == (0, 2)
    assert (bounds["receive"]["0.005"], bounds["receive"]["0.01"]) == (0, 2)
    assert bounds["announce"]["0.001"] == 1
    assert (bounds["delivery"]["0.0025"], bounds["delivery"]["0.005"]) == (0, 1)
    lag = dict(monitor.state.lag.cumulative())
    assert (lag["0.025"], lag["0.05"], lag["+Inf"]) == (0, 1, 1)
    assert monitor.state.lag.sum_s == pytest.approx(0.045)


def test_media_time_says_nothing_of_ages_and_lags() -> None:
    monitor = watched(stream(pace="max"), 3)
    assert monitor.sentence() == "All is well: 2 sources, 25/25"
    assert row(monitor, "left")["age_ms"] is None
    assert dict(monitor.state.lag.cumulative())["+Inf"] == 0
    assert dict(monitor.state.hops["delivery"].cumulative())["+Inf"] == 3
