"""The benchmark's parts work; how fast anything is, is not tested."""

from __future__ import annotations

import json
import multiprocessing
import os
import queue
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest

from bench import capacity, cpu, cpu_time, decoding, frames, growth, machine, stats, tables, video
from bench.frames import Frame
from bench.hop import compare, run
from bench.hop.way import POOL, Place
from bench.load import Load, Taken
from bench.load import Measured as LoadMeasured
from bench.pair import compare as pair
from bench.pair.design import FPS, WINDOW_NS, Record
from bench.pair.measure import Measured, measure

TINY = (36, 64, 3)


def test_a_frame_is_whole_only_if_every_byte_is_right() -> None:
    made = frames.make(POOL, TINY)
    assert all(frames.is_whole(frame, number) for number, frame in enumerate(made))
    assert not frames.is_whole(made[3], 4)
    made[3][20, 20, 1] ^= 1
    assert frames.looks_like(made[3], 3)
    assert not frames.is_whole(made[3], 3)


@pytest.mark.parametrize(
    "ways", [("pipe", "shm", compare.LIMIT), pytest.param(compare.OWN, marks=pytest.mark.slow)]
)
def test_every_way_delivers_the_right_frames_to_another_process(ways: tuple[str, ...]) -> None:
    said: list[str] = []
    section = compare.compare(ways, 1, 0.01, said.append, TINY)
    assert [row["way"] for row in section["rows"]] == list(ways)
    assert [row["why_not"] for row in section["rows"]] == [None] * len(ways)
    assert all(len(row["us"]) == 1 and row["us"][0] > 0 for row in section["rows"])
    assert len(said) == len(ways)


@pytest.mark.parametrize("way", compare.PEERS)
def test_another_projects_way_delivers_the_right_frames_too(way: str) -> None:
    if reason := compare.missing(way):
        pytest.skip(reason)
    assert run.measure(way, TINY, 0.01) > 0


class Damaging(queue.Queue[Frame]):
    """A queue that changes a bit of each frame."""

    def get(self, block: bool = True, timeout: float | None = None) -> Frame:
        frame = super().get(block, timeout).copy()
        frame[10, 10] ^= 1
        return frame


class Swapping(queue.Queue[Frame]):
    """A queue that delivers every frame twice."""

    again: Frame | None = None

    def get(self, block: bool = True, timeout: float | None = None) -> Frame:
        frame, self.again = self.again, None
        if frame is None:
            frame = self.again = super().get(block, timeout)
        return frame


@pytest.mark.parametrize(("link", "complaint"), [(Damaging(), "changed"), (Swapping(), "another")])
def test_a_way_that_delivers_something_else_fails(link: queue.Queue[Frame], complaint: str) -> None:
    meter = run.Meter.new(multiprocessing.get_context("spawn"))
    for frame in 2 * frames.make(POOL, TINY):
        link.put(frame)
    with pytest.raises(run.Failed, match=complaint):
        run.receive_all("queue", Place(Path(), TINY, link), meter)


def test_a_way_whose_end_fails_says_why() -> None:
    # Not a whole number of words, so that no frame can be made.
    with pytest.raises(run.Failed, match="ValueError: "):
        run.measure("pipe_bytes", (5, 5, 3), 0.01)


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.hop.iceoryx.NEEDS", ("no_such_module",))
    section = compare.compare(("iceoryx", "memcpy"), 1, 0.01, print, TINY)
    missing, limit = section["rows"]
    assert missing["why_not"] == "no_such_module not installed"
    assert limit["median_us"] > 0
    table = tables.hop(section)
    assert table.notes[-1] == "Not measured: iceoryx2 (no_such_module not installed)."
    assert [row[0] for row in table.rows] == ["one memcpy, the limit"]


def test_statistics() -> None:
    assert stats.median([3, 1, 2]) == 2
    assert stats.percentile(list(range(1, 101)), 99) == 99
    assert stats.percentile([5.0], 50) == 5
    assert stats.ratio([2, 4, 9], [1, 2, 3]) == 2
    assert stats.slope([0, 1, 2], [5, 7, 9]) == pytest.approx(2)
    nothing: list[float] = []
    assert [stats.median(nothing), stats.percentile(nothing, 50)] == [None, None]
    assert [stats.slope([1], [1]), stats.deviation(nothing), stats.mean(nothing)] == [None] * 3


def test_a_table_as_markdown() -> None:
    table = tables.Table("Title", ("", "ms"), [("this", "1.0"), ("that", "2.0")], ["A note."])
    assert table.markdown() == (
        "**Title**\n\n|  | ms |\n| --- | ---: |\n| this | 1.0 |\n| that | 2.0 |\n\nA note."
    )


def test_figures_of_what_was_not_measured_are_dashes() -> None:
    assert tables.number(None) == "-"
    assert tables.number(1234.56, 0, " %") == "1,235 %"


def test_noise_is_the_same_for_all() -> None:
    one, other = frames.make(2, TINY), frames.make(2, TINY)
    assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize(
    "designs", [("queues", "shm"), pytest.param(pair.DESIGNS, marks=pytest.mark.slow)]
)
def test_every_design_delivers_pairs_of_all_frames(designs: tuple[str, ...]) -> None:
    def run(name: str) -> Measured:
        return measure(pair.load(name).run, 2, 1, (72, 128, 3), warm_up=2)

    # All at once: each mostly waits for its processes to start, and for a second to pass.
    with ThreadPoolExecutor() as pool:
        for name, measured in zip(designs, pool.map(run, designs), strict=True):
            (record,) = measured.records
            assert (name, record.frames, measured.frames_lost) == (name, 2 * FPS, 0)
            # Queues pair lists as they come: on a busy machine the last frame may be late for its second.
            late = WINDOW_NS if name == "queues" else 0
            newest_ns = record.newest_ns - record.window * WINDOW_NS
            assert 0 <= newest_ns < WINDOW_NS + late
            assert record.newest_ns < record.ready_ns
            assert measured.cores >= 0


def records(lags_ms: list[float], first: int = 100) -> list[Record]:
    """Return whole pairs of two sources with these lags."""
    ends_ns = [(first + number + 1) * WINDOW_NS for number in range(len(lags_ms))]
    return [
        Record(end_ns // WINDOW_NS - 1, end_ns, end_ns + round(lag_ms * 1e6), 2 * FPS)
        for end_ns, lag_ms in zip(ends_ns, lags_ms, strict=True)
    ]


def test_what_is_said_of_pairs() -> None:
    measured = Measured(2, 100, 4, records([10.0, 20.0, 30.0]), 0.5)
    figures = measured.summary()
    assert measured.frames_lost == 2 * FPS
    assert (figures["pairs"], figures["expected"]) == (3, 4)
    assert [figures[f"lag_{name}_ms"] for name in ("p50", "p99", "max")] == [20, 30, 30]
    assert figures["lag_slope_ms_per_s"] == pytest.approx(10)
    assert figures["interval_mean_ms"] == pytest.approx(1010)
    assert figures["windows"] == [0, 1, 2]
    assert not capacity.outcome(measured)["keeps_up"]


def test_nothing_is_carried_if_nothing_came() -> None:
    figures = Measured(2, 100, 4, [], 0.5).summary()
    assert figures["lag_p50_ms"] is None
    carried = capacity.outcome(Measured(2, 100, 4, [], 0.5))
    assert not carried["in_time"]
    assert not carried["keeps_up"]


def test_what_keeps_up_may_be_too_late() -> None:
    late = capacity.outcome(Measured(2, 100, 3, records([150.0, 151.0, 150.0]), 0.5))
    assert (late["keeps_up"], late["in_time"]) == (True, False)
    falling_behind = capacity.outcome(Measured(2, 100, 3, records([150.0, 350.0, 550.0]), 0.5))
    assert not falling_behind["keeps_up"]


@pytest.mark.parametrize("most", range(8))
def test_the_search_finds_what_is_carried(most: int) -> None:
    contender = capacity.Contender("raw", "", pair.load("raw").run, range(1, 8))
    tried: dict[int, tables.Section] = {}
    while (sources := capacity.next_step(contender, tried)) is not None:
        assert sources not in tried
        tried[sources] = {"in_time": sources <= most, "keeps_up": True}
    assert capacity.summary(tried)["in_time"] == most
    assert len(tried) <= 3


def test_processor_time_is_that_of_the_processes_named() -> None:
    before_s = cpu_time.seconds([os.getpid()])
    while cpu_time.seconds([os.getpid()]) < before_s + 0.05:
        sum(range(10_000))
    assert cpu_time.seconds([]) == 0
    child = subprocess.Popen(["sleep", "60"])
    assert child.pid in cpu_time.children(os.getpid())
    child.kill()
    child.wait()
    assert child.pid not in cpu_time.children(os.getpid())


@pytest.mark.parametrize("codec", ["mp4v", video.H264])
def test_a_video_to_decode_moves(codec: str, tmp_path: Path) -> None:
    path = tmp_path / "video.mp4"
    if codec == video.H264:
        pytest.importorskip("av")
    video.write(path, codec, 5, 25, (72, 128, 3), seed=1)
    capture = cv2.VideoCapture(str(path))
    pictures = [picture for there, picture in iter(capture.read, (False, None)) if there]
    assert len(pictures) == 5
    assert pictures[0].shape == (72, 128, 3)
    assert np.abs(pictures[0].astype(int) - pictures[4]).mean() > 1
    assert pictures[0].std() > 20


@pytest.mark.slow
def test_decoders_can_be_compared(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "WARM_UP_PAIRS", 1)
    monkeypatch.setattr(decoding, "SECONDS", 0.1)
    videos = [directory / f"{name}.mp4" for name in decoding.NAMES]
    for path in videos:
        video.write(path, video.H264, 25, 25, (72, 128, 3), seed=1)
    speed = decoding.measure(directory, videos, decoding.WAYS[decoding.OPENCV])
    assert speed.fps > 0


def test_processor_time_is_compared_with_decoding_in_the_same_round() -> None:
    opencv, alone, way = cpu.ALONE[0], cpu.ALONE[1], cpu.WAYS[1]
    found = {
        opencv: [{"decoder": 0.2}, {"decoder": 0.4}],
        alone: [{"decoder": 0.3}, {"decoder": 0.6}],
        way: [{"producer": 0.2, "combiner": 0.1}, {"producer": 0.4, "combiner": 0.2}],
    }
    row = cpu.row("H.264", way, found)
    assert (row["name"], row["alone"]) == ("H.264, framepair shm bgr8", False)
    assert row["of_opencv"] == pytest.approx(1.5)
    assert row["of_decoding"] == pytest.approx(1.0)
    assert row["cores"] == pytest.approx(0.45)
    assert row["cores_of"]["combiner"] == pytest.approx(0.15)


def results() -> dict[str, tables.Section]:
    """Return results as a run writes them, with made-up figures."""

    def hop_row(way: str, median_us: float | None) -> tables.Section:
        why_not = None if median_us else "it not installed"
        ratios = {"of_limit": 0.5, "of_baseline": 2.0} if median_us else {}
        row: tables.Section = {"way": way, "name": compare.name(way), "us": []}
        row["median_us"] = median_us
        return {"of_limit": None, "of_baseline": None, **row, **ratios, "why_not": why_not}

    pairs = Measured(2, 100, 3, records([10.0, 20.0, 30.0]), 0.5).summary()
    size = {"shape": [1080, 1920, 3], "rounds": 3, "seconds": 3}
    carried = {"in_time": 32, "keeps_up": 40, "most_tried": 48, "why_not": None}
    ratios = {"of_opencv": 1.25, "of_decoding": 1.2, "why_not": None}
    cpu = {"codec": "mp4v", "alone": False, "cores": 0.25, "cores_of": {"combiner": 0.1}, **ratios}
    unknown = {"codec": "H.264", "name": "H.264", "why_not": "no av"}
    return {
        "machine": machine.describe(),
        "hop": {
            **size,
            "rows": [hop_row("shm", 500.0), hop_row("fifo", None), hop_row("memcpy", 400.0)],
        },
        "pair": {
            **size,
            "sources": 2,
            "rows": [
                {"design": "queues", "name": "queues of lists", "why_not": "no pair came"},
                {"design": "shm", "name": "framepair shm", "why_not": None, **pairs},
            ],
        },
        "capacity": {
            **size,
            "max_lag_ms": 100.0,
            "rows": [{"design": "shm", "name": "framepair shm", **carried}],
        },
        "cpu": {**size, "rows": [unknown, {**cpu, "name": "mp4v, framepair shm bgr8"}]},
    }


def run_bench(*arguments: str) -> str:
    """Run ``python -m bench`` and return what it prints."""
    command = [sys.executable, "-m", "bench", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


def test_results_that_were_written_are_shown_again(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_text(json.dumps(results()))
    shown = run_bench("--load", str(path))
    assert "framepair shm" in shown
    assert "Not measured: faster-fifo (it not installed)." in shown
    assert "Not measured: queues of lists (no pair came)." in shown


def test_the_table_of_the_readme(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_text(json.dumps(results()))
    lines = run_bench("--load", str(path), "--markdown").splitlines()
    assert lines[0].startswith("|  | queues of lists | pipes and threads |")
    rows = {cells[1].strip(): cells[2:-1] for line in lines if len(cells := line.split("|")) > 2}
    assert rows["a frame to another process, ms"] == [" - ", " - ", " - ", " - ", " 0.50 "]
    assert rows["lag p50, ms"][-1].strip() == "20.0"
    assert rows["sources carried, lag p99 below 100 ms"][-1].strip() == "32"
    assert "The same frame by other ways, ms: one memcpy, the limit 0.40." in lines
    assert "Not measured: faster-fifo (it not installed)." in lines
    assert machine.sentence(results()["machine"]) + "." in lines


@pytest.mark.parametrize("lacking", [None, "hop", "capacity"])
def test_the_picture_is_drawn_of_what_there_is(tmp_path: Path, lacking: str | None) -> None:
    pytest.importorskip("matplotlib")
    from bench import picture

    some = {part: section for part, section in results().items() if part != lacking}
    picture.draw(some, tmp_path / "picture.png")
    drawn = cv2.imread(str(tmp_path / "picture.png"))
    assert drawn is not None
    assert len(np.unique(drawn.reshape(-1, 3), axis=0)) > 10


def test_what_a_consumer_missed_of_its_windows_is_lost() -> None:
    load = Load(sources=2, consumers=2, fps=10)
    whole = [Taken(window, 5.0, 20) for window in (7, 8, 9)]
    holes = [Taken(7, 5.0, 20), Taken(9, 15.0, 17)]
    section = LoadMeasured(
        load, 3.0, [whole, holes], {"producer": 0.3, "sink": 0.2}, 0.1, 10**9
    ).summary()
    assert section["frames_lost"] == 20 + 3
    assert section["ms_per_frame"] == pytest.approx(1e3 * 0.5 / 20)
    assert section["combiner_us_per_frame"] == pytest.approx(1e6 * 0.1 / 20)
    assert (section["lag_p50_ms"], section["lag_p99_ms"]) == (5.0, 15.0)
    nothing = LoadMeasured(load, 3.0, [[]], {}, 0.1, 10**9).summary()
    assert nothing["frames_lost"] == 3 * 20


def test_growth_is_a_table_with_dashes_for_what_was_not_carried() -> None:
    cores = {"producer": 0.3, "combiner": 0.2}
    measured = LoadMeasured(Load(), 1.0, [[Taken(7, 5.0, 50)]], cores, 0.1, 10**9).summary()
    rows = [
        {"growth": "sources", "what": "2", "why_not": None, **measured},
        {"growth": "sources", "what": "64", "why_not": "no pairs came"},
    ]
    first, second = growth.table(rows).rows
    assert first == ("sources: 2", "0.50", "0.30", "10.00", "5.0", "5.0", "0", "1.0", "2,000")
    assert second == ("sources: 64", *["-"] * 8)


@pytest.mark.slow
def test_a_load_is_measured() -> None:
    load = Load(consumers=2, size=(64, 48), flags=("--relay", "always"))
    (row,) = growth.compare([growth.Cell("consumers", "2", load)], 1.0, print)
    assert row["why_not"] is None
    assert row["frames_lost"] == 0
    assert 0 < row["cores"] < 2
    assert row["memory_bytes"] > 10**8
