"""The sink as a process: what it prints and reports of pairs of which the test decides every word."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from framepair.protocol.clocks import clock
from framepair.protocol.wire.frame import Pace
from framepair.protocol.wire.pair import Totals
from tests.lib.processes import PATIENCE_S, ROOT, Running, python
from tests.lib.publisher import Combiner, combiner_at
from tests.lib.stream import WINDOW_NS, Stream
from tests.lib.units import S

FPS = 25
SHAPE = (4, 6, 3)
FRAMES_QUEUED = 10_000


def a_stream(*sources: str, pace: Pace = "realtime") -> Stream:
    """Return a run of a combiner whose first pair is of nine seconds ago, or begins a video."""
    first = clock.now_ns() // WINDOW_NS - 9 if pace == "realtime" else 0
    names = sources or ("left", "right")
    return Stream(names, first=first, fps=FPS, period_ns=S // FPS, shape=SHAPE, pace=pace)


def pair_lines(sink: Running) -> list[str]:
    """Return the lines below the names of the columns, down to the report."""
    return sink.stdout[1 : sink.stdout.index("")]


@pytest.fixture(autouse=True)
def _no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def address(directory: Path) -> str:
    return f"ipc://{directory}/pairs"


@pytest.fixture
def combiner(address: str) -> Iterator[Combiner]:
    with combiner_at(address, hwm=FRAMES_QUEUED) as node:
        yield node


def sink(address: str, *arguments: str) -> Running:
    command = python("-m", "framepair.nodes.sink", "--sub", address, *arguments)
    return Running(command, env={"PYTHONWARNINGS": "error", "COLUMNS": "80"})


def refusal(*arguments: str) -> str:
    """Return the one sentence with which the sink refuses to start."""
    with sink(*arguments) as refused:
        assert refused.wait() == 2
    assert refused.stdout == []
    assert len(refused.stderr) == 1
    return refused.stderr[0]


def test_measures_every_pair_and_reports_at_the_end_of_the_stream(
    combiner: Combiner, address: str, directory: Path
) -> None:
    stream = a_stream()
    with sink(address, "--keep", "9", "--json", f"{directory}/report.json") as running:
        running.wait_for("READY")
        combiner.wait_for_subscriber()
        for _ in range(3):
            combiner.send(*stream.next())
        combiner.send(stream.end())
        assert running.wait() == 0
    assert running.stdout[0].split()[:3] == ["time", "pair", "frames"]
    assert len(pair_lines(running)) == 3
    assert all("left 25/25  right 25/25" in line for line in pair_lines(running))
    assert running.stdout[-1].startswith("The ledger balances: 150 frames captured = 150 delivered")
    assert "\x1b" not in "".join(running.stdout)
    report = json.loads((directory / "report.json").read_text())
    assert (report["pairs"], report["complete_pairs"], report["lost_pairs"]) == (3, 3, 0)
    assert report["ledger_balanced"] is True
    assert report["lag_ms"]["p50"] > 0
    left = report["sources"]["left"]
    assert (left["captured"], left["delivered"], left["dropped"]) == (75, 75, {})
    assert left["fps"] == pytest.approx(25)


def test_what_is_missing_is_said_in_words(combiner: Combiner, address: str) -> None:
    stream = a_stream()
    with sink(address, "--keep", "9") as running:
        combiner.wait_for_subscriber()
        combiner.send(
            *stream.next({"right": 0}, complete=False, clips={"right": {"missing": "offline"}})
        )
        combiner.send(*stream.next({"left": 22}, complete=False, clips={"left": {"gaps": 3}}))
        late, many = {"late": 1}, {"missing": "not_started"}
        combiner.send(*stream.next(complete=False, clips={"left": late | many, "right": many}))
        combiner.send(*stream.next({"left": 9, "right": 9}, complete=False, partial=True))
        combiner.send(stream.end())
        assert running.wait() == 0
    lines = pair_lines(running)
    assert lines[0].endswith("  right offline")
    assert "left 25/25  right  0/25" in lines[0]
    assert lines[1].endswith("  left: 3 frames missing")
    assert lines[2].endswith("  left, right not started; left: 1 frame late")
    assert lines[3].endswith("  cut short by the end of the stream")


def test_many_sources_are_summed_up(combiner: Combiner, address: str) -> None:
    names = [f"cam{number:02}" for number in range(16)]
    stream = a_stream(*names)
    gone = names[3:9]
    offline = {name: {"missing": "offline"} for name in gone}
    with sink(address, "--keep", "9") as running:
        combiner.wait_for_subscriber()
        combiner.send(*stream.next())
        combiner.send(*stream.next(dict.fromkeys(gone, 0), complete=False, clips=offline))
        combiner.send(stream.end())
        assert running.wait() == 0
    whole, holed = pair_lines(running)
    assert "16 sources, 400/400" in whole
    assert "cam" not in whole
    assert "16 sources, 250/400" in holed
    assert holed.endswith("  cam03, cam04, cam05, cam06 and 2 more offline")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_a_report(
    combiner: Combiner, address: str, directory: Path, number: signal.Signals
) -> None:
    stream = a_stream()
    with sink(address, "--json", f"{directory}/report.json") as running:
        combiner.wait_for_subscriber()
        combiner.send(*stream.next())
        running.wait_for("left 25/25")
        running.process.send_signal(number)
        assert running.wait() == 0
    assert running.stdout[-1].startswith("The ledger balances")
    assert json.loads((directory / "report.json").read_text())["pairs"] == 1


def test_a_signal_ends_it_although_frames_keep_coming(combiner: Combiner, address: str) -> None:
    stream = a_stream()
    with sink(address) as running:
        combiner.wait_for_subscriber()
        combiner.send(*stream.next())
        running.wait_for("left 25/25")
        running.process.send_signal(signal.SIGTERM)
        while running.process.poll() is None:
            combiner.send(*stream.next())
            with contextlib.suppress(subprocess.TimeoutExpired):
                running.process.wait(0.05)
        assert running.wait() == 0
    assert running.stdout[-1].startswith("The ledger balances")


def test_a_slow_one_gets_the_newest_pairs_and_counts_the_others(
    combiner: Combiner, address: str, directory: Path
) -> None:
    stream = a_stream()
    arguments = ["--keep", "1", "--work-ms", "1000", "--json", f"{directory}/report.json"]
    with sink(address, *arguments) as running:
        combiner.wait_for_subscriber()
        combiner.send(*stream.next())
        running.wait_for("left 25/25")
        for _ in range(4):
            combiner.send(*stream.next())
        combiner.send(*stream.next({"right": 24}))
        combiner.send(stream.end())
        assert running.wait() == 0
    assert "right 24/25" in pair_lines(running)[-1]
    running.wait_for("lost before this one")
    report = json.loads((directory / "report.json").read_text())
    assert report["lost_pairs"] > 0
    assert report["pairs"] + report["lost_pairs"] == 6
    assert report["ledger_balanced"] is True
    assert report["sources"]["left"]["dropped"] == {"subscriber_slow": 25 * report["lost_pairs"]}


def test_a_signal_ends_the_work_on_a_pair(
    combiner: Combiner, address: str, directory: Path
) -> None:
    stream = a_stream()
    arguments = ["--work-ms", "60000", "--json", f"{directory}/report.json"]
    with sink(address, *arguments) as running:
        combiner.wait_for_subscriber()
        combiner.send(*stream.next())
        running.wait_for("left 25/25")
        combiner.send(*stream.next())
        combiner.send(stream.end("stopped"))
        running.process.send_signal(signal.SIGTERM)
        assert running.wait() == 0
    report = json.loads((directory / "report.json").read_text())
    assert (report["pairs"], report["lost_pairs"], report["ledger_balanced"]) == (2, 0, True)


def test_goes_on_with_a_combiner_that_was_started_anew(
    combiner: Combiner, address: str, directory: Path
) -> None:
    stream = a_stream()
    open_frames = Totals(captured=29, paired=25, open=4)
    with sink(address, "--keep", "9", "--json", f"{directory}/report.json") as running:
        combiner.wait_for_subscriber()
        combiner.send(*stream.next(clips={"left": {"totals": open_frames}}))
        stream.restart()
        combiner.send(*stream.next())
        combiner.send(*stream.next())
        combiner.send(stream.end())
        assert running.wait() == 0
    report = json.loads((directory / "report.json").read_text())
    assert report["pairs"] == 3
    assert report["ledger_balanced"] is True
    left, right = report["sources"]["left"], report["sources"]["right"]
    assert (left["captured"], left["delivered"], left["dropped"]) == (79, 75, {"combiner_lost": 4})
    assert (right["captured"], right["delivered"], right["dropped"]) == (75, 75, {})


def test_a_clip_of_frames_of_two_sizes_is_taken_too(combiner: Combiner, address: str) -> None:
    stream = a_stream()
    with sink(address) as running:
        combiner.wait_for_subscriber()
        frames = stream.window(0, {"left": FPS - 1, "right": FPS - 1})
        larger = [stream.frame(source, 0, shape=(8, 6, 3)) for source in stream.sources]
        combiner.send(*frames, *larger, stream.pair(0))
        combiner.send(stream.end())
        assert running.wait() == 0
    assert running.stdout[-1].startswith("The ledger balances: 50 frames captured = 50 delivered")


def test_without_any_pair_it_says_so(address: str, directory: Path) -> None:
    with sink(address, "--json", f"{directory}/report.json") as running:
        running.wait_for("READY")
        running.process.send_signal(signal.SIGTERM)
        assert running.wait() == 0
    assert running.stdout[0] == ""
    assert running.stdout[1].startswith(f"No pair came from {address} in ")
    assert len(running.stdout) == 2
    assert json.loads((directory / "report.json").read_text())["pairs"] == 0


def test_that_no_pair_came_of_what_was_captured_is_a_failure(
    combiner: Combiner, address: str
) -> None:
    stream = a_stream()
    with sink(address) as running:
        combiner.wait_for_subscriber()
        stream.lose(10)
        combiner.send(stream.end())
        assert running.wait() == 1
    assert running.stderr[-1].startswith(
        "sink: no pair came of 20 frames captured (20 startup): run for longer than two windows"
    )
    assert running.stdout[-1].startswith("The ledger balances: 20 frames captured = 0 delivered")


def test_no_pair_of_sources_that_had_no_frame_is_no_failure(
    combiner: Combiner, address: str
) -> None:
    stream = a_stream()
    with sink(address) as running:
        combiner.wait_for_subscriber()
        combiner.send(stream.end())
        assert running.wait() == 0
    assert running.stdout[1].startswith(f"No pair came from {address} in ")


def test_a_report_that_cannot_be_written_is_refused_at_the_start(address: str) -> None:
    sentence = refusal(address, "--json", "/nonexistent/report.json")
    assert sentence.startswith("sink: cannot write the report to /nonexistent/report.json")


@pytest.mark.parametrize("arguments", [["--keep", "0"], ["--work-ms", "-1"], ["--keep", "many"]])
def test_options_out_of_bounds_are_refused(address: str, arguments: list[str]) -> None:
    assert arguments[0] in refusal(address, *arguments)


def test_an_address_that_is_none_is_refused() -> None:
    assert "nowhere" in refusal("nowhere")


def test_on_a_terminal_it_is_coloured_and_shows_how_far_it_is(
    combiner: Combiner, address: str
) -> None:
    stream = a_stream(pace="max")
    command = python("-m", "framepair.nodes.sink", "--sub", address, "--keep", "9")
    environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": "100"}
    terminal, inside = os.openpty()
    with subprocess.Popen(
        command, stdout=inside, stderr=subprocess.DEVNULL, cwd=ROOT, env=environment
    ) as process:
        os.close(inside)
        combiner.wait_for_subscriber()
        for window in range(4):
            frames = [replace(frame, total=4 * FPS) for frame in stream.window(window)]
            combiner.send(*frames, stream.pair(window))
        combiner.send(stream.end())
        text = _read_terminal(terminal)
        assert process.wait(PATIENCE_S) == 0
    assert "\x1b[32mleft 25/25" in text
    assert "frames" in text
    assert "200/200" in text
    assert "x realtime" in text
    assert "\x1b[?25h" in text, "the cursor is hidden still"


def _read_terminal(terminal: int) -> str:
    """Return all that was written, up to the moment when the last writer is gone."""
    written = bytearray()
    # Linux answers with EIO once the other side is closed.
    with contextlib.suppress(OSError), open(terminal, "rb", buffering=0) as reading:
        while part := reading.read(65536):
            written += part
    return written.decode()
