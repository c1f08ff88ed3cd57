from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest
import zmq
from msgspec.structs import replace

from framepair.protocol.clocks import clock
from framepair.protocol.transport import sockets
from framepair.protocol.wire import published
from framepair.protocol.wire.frame import EndReason, FrameHeader, Pace
from framepair.protocol.wire.pair import ClipHeader, PairHeader, Span, StreamEnd, Totals

ROOT = Path(__file__).parents[2]
S = 1_000_000_000
PERIOD_NS = S // 25
SHAPE = (4, 6, 3)
DEADLINE_S = 30.0
FRAMES_QUEUED = 10_000


class Publisher:
    """A combiner of which the test decides every word."""

    def __init__(self, publishing: zmq.Socket[bytes], *names: str, pace: Pace = "realtime") -> None:
        self._socket = publishing
        self._names = names
        self._pace: Pace = pace
        self._first = clock.now_ns() // S - 9 if pace == "realtime" else 0
        self._totals = dict.fromkeys(names, Totals())
        self.run = 1
        self._seq = 0
        self._window = 0

    def wait_for_sink(self) -> None:
        """Return once the sink has subscribed to everything."""
        prefixes: set[bytes] = set()
        wanted = [
            published.PAIR,
            published.END,
            *(published.frame_topic(name) for name in self._names),
        ]
        give_up_s = time.monotonic() + DEADLINE_S
        while not all(any(map(text.startswith, prefixes)) for text in wanted):
            assert time.monotonic() < give_up_s, "nobody subscribed"
            with contextlib.suppress(zmq.Again):
                prefixes.add(self._socket.recv()[1:])

    def restart(self) -> None:
        """Go on as a combiner that was killed and started anew."""
        self.run, self._seq = self.run + 1, 0
        self._totals = dict.fromkeys(self._names, Totals())

    def pair(self, counts: dict[str, int] | None = None, **fields: Any) -> None:
        """Publish the next window: 25 frames of each source, or as many as ``counts`` says.

        ``fields`` may hold ``clips`` (changes to the header of a source's clip), ``shapes`` of single frames
        by their place in the clip, and changes to the pair's header.
        """
        counts = dict.fromkeys(self._names, 25) | (counts or {})
        shapes = fields.pop("shapes", {})
        clips = {name: self._clip(name, count) for name, count in counts.items()}
        for name, changes in fields.pop("clips", {}).items():
            clips[name] = replace(clips[name], **changes)
        for name, count in counts.items():
            for place in range(count):
                self._frame(name, place, clips[name].spans[0].first, shapes.get(place, SHAPE))
        start_ns = (self._first + self._window) * S
        header = PairHeader(
            run=self.run,
            seq=self._seq,
            window=self._first + self._window,
            start_ns=start_ns,
            end_ns=start_ns + S,
            closed_ns=clock.now_ns(),
            complete=True,
            partial=False,
            pace=self._pace,
            clips=clips,
        )
        self._socket.send_multipart([published.PAIR, replace(header, **fields).encode()])
        self._seq += 1
        self._window += 1

    def lose(self, count: int) -> None:
        """Let each source have captured ``count`` frames more, all of them before the first pair."""
        for name, totals in self._totals.items():
            self._totals[name] = replace(
                totals, captured=totals.captured + count, dropped={"startup": count}
            )

    def end(self, reason: EndReason = "finished") -> None:
        """Publish the end of the stream."""
        end = StreamEnd(self.run, self._seq, reason, self._totals)
        self._socket.send_multipart([published.END, end.encode()])

    def _clip(self, name: str, count: int) -> ClipHeader:
        before = self._totals[name]
        after = replace(before, captured=before.captured + count, paired=before.paired + count)
        self._totals[name] = after
        spans = (Span(self.run, before.captured, count),) if count else ()
        return ClipHeader(spans, clock.now_ns() if count else 0, expected=25, totals=after)

    def _frame(self, name: str, place: int, first: int, shape: tuple[int, int, int]) -> None:
        captured_ns = (self._first + self._window) * S + place * PERIOD_NS
        header = FrameHeader(
            source=name,
            run=self.run,
            seq=first + place,
            captured_ns=captured_ns,
            next_ns=captured_ns + PERIOD_NS,
            sent_ns=clock.now_ns(),
            shape=shape,
            pace=self._pace,
            total=100,
        ).accepted(self._first + self._window, S, clock.now_ns())
        pixels = np.full(shape, place, np.uint8).tobytes()
        self._socket.send_multipart([published.frame_topic(name), header.encode(), pixels])


class Sink:
    """A sink in a process of its own, and what it says."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.out: list[str] = []
        self.log: list[str] = []
        self._news: queue.SimpleQueue[None] = queue.SimpleQueue()
        assert process.stdout
        assert process.stderr
        streams = ((process.stdout, self.out), (process.stderr, self.log))
        self._readers = [threading.Thread(target=self._read, args=each) for each in streams]
        for reader in self._readers:
            reader.start()

    def wait_for(self, text: str) -> str:
        """Return the first line of output or log that has ``text`` in it."""
        give_up_s = time.monotonic() + DEADLINE_S
        while True:
            found = [line for line in self.out + self.log if text in line]
            if found:
                return found[0]
            assert time.monotonic() < give_up_s, f"no {text!r} in {self.out + self.log}"
            with contextlib.suppress(queue.Empty):
                self._news.get(timeout=1)

    def exit(self) -> int:
        """Return the exit code, once everything that it said has been read."""
        code = self.process.wait(DEADLINE_S)
        for reader in self._readers:
            reader.join(DEADLINE_S)
        return code

    def pair_lines(self) -> list[str]:
        """Return the lines below the names of the columns, down to the report."""
        return self.out[1 : self.out.index("")]

    def _read(self, stream: IO[str], lines: list[str]) -> None:
        for line in stream:
            lines.append(line.rstrip("\n"))
            self._news.put(None)


@pytest.fixture
def address(directory: Path) -> str:
    return f"ipc://{directory}/pairs"


@pytest.fixture
def publishing(address: str) -> Iterator[zmq.Socket[bytes]]:
    context = sockets.new_context()
    with sockets.publish(context, address, hwm=FRAMES_QUEUED) as publisher:
        yield publisher
    context.term()


@contextlib.contextmanager
def sink(address: str, *arguments: str) -> Iterator[Sink]:
    command = [sys.executable, "-m", "framepair.nodes.sink", "--sub", address, *arguments]
    environment = os.environ | {"PYTHONWARNINGS": "error", "COLUMNS": "80"}
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE"):
        environment.pop(name, None)
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=environment,
    ) as process:
        running = Sink(process)
        try:
            yield running
        finally:
            process.kill()
            running.exit()


def refusal(*arguments: str) -> str:
    """Return the one sentence with which the sink refuses to start."""
    with sink(*arguments) as refused:
        assert refused.exit() == 2
    assert refused.out == []
    assert len(refused.log) == 1
    return refused.log[0]


def test_measures_every_pair_and_reports_at_the_end_of_the_stream(
    publishing: zmq.Socket[bytes], address: str, directory: Path
) -> None:
    publisher = Publisher(publishing, "left", "right")
    with sink(address, "--keep", "9", "--json", f"{directory}/report.json") as running:
        running.wait_for("READY")
        publisher.wait_for_sink()
        for _ in range(3):
            publisher.pair()
        publisher.end()
        assert running.exit() == 0
    assert running.out[0].split()[:3] == ["time", "pair", "frames"]
    assert len(running.pair_lines()) == 3
    assert all("left 25/25  right 25/25" in line for line in running.pair_lines())
    assert running.out[-1].startswith("The ledger balances: 150 frames captured = 150 delivered")
    assert "\x1b" not in "".join(running.out)
    report = json.loads((directory / "report.json").read_text())
    assert (report["pairs"], report["complete_pairs"], report["lost_pairs"]) == (3, 3, 0)
    assert report["ledger_balanced"] is True
    assert report["lag_ms"]["p50"] > 0
    left = report["sources"]["left"]
    assert (left["captured"], left["delivered"], left["dropped"]) == (75, 75, {})
    assert left["fps"] == pytest.approx(25)


def test_what_is_missing_is_said_in_words(publishing: zmq.Socket[bytes], address: str) -> None:
    publisher = Publisher(publishing, "left", "right")
    with sink(address, "--keep", "9") as running:
        publisher.wait_for_sink()
        publisher.pair({"right": 0}, complete=False, clips={"right": {"missing": "offline"}})
        publisher.pair({"left": 22}, complete=False, clips={"left": {"gaps": 3}})
        late, many = {"late": 1}, {"missing": "not_started"}
        publisher.pair(complete=False, clips={"left": late | many, "right": many})
        publisher.pair({"left": 9, "right": 9}, complete=False, partial=True)
        publisher.end()
        assert running.exit() == 0
    lines = running.pair_lines()
    assert lines[0].endswith("  right offline")
    assert "left 25/25  right  0/25" in lines[0]
    assert lines[1].endswith("  left: 3 frames missing")
    assert lines[2].endswith("  left, right not started; left: 1 frame late")
    assert lines[3].endswith("  cut short by the end of the stream")


def test_many_sources_are_summed_up(publishing: zmq.Socket[bytes], address: str) -> None:
    names = [f"cam{number:02}" for number in range(16)]
    publisher = Publisher(publishing, *names)
    gone = names[3:9]
    offline = {name: {"missing": "offline"} for name in gone}
    with sink(address, "--keep", "9") as running:
        publisher.wait_for_sink()
        publisher.pair()
        publisher.pair(dict.fromkeys(gone, 0), complete=False, clips=offline)
        publisher.end()
        assert running.exit() == 0
    whole, holed = running.pair_lines()
    assert "16 sources, 400/400" in whole
    assert "cam" not in whole
    assert "16 sources, 250/400" in holed
    assert holed.endswith("  cam03, cam04, cam05, cam06 and 2 more offline")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_a_report(
    publishing: zmq.Socket[bytes], address: str, directory: Path, number: signal.Signals
) -> None:
    publisher = Publisher(publishing, "left", "right")
    with sink(address, "--json", f"{directory}/report.json") as running:
        publisher.wait_for_sink()
        publisher.pair()
        running.wait_for("left 25/25")
        running.process.send_signal(number)
        assert running.exit() == 0
    assert running.out[-1].startswith("The ledger balances")
    assert json.loads((directory / "report.json").read_text())["pairs"] == 1


def test_a_signal_ends_it_although_frames_keep_coming(
    publishing: zmq.Socket[bytes], address: str
) -> None:
    publisher = Publisher(publishing, "left", "right")
    with sink(address) as running:
        publisher.wait_for_sink()
        publisher.pair()
        running.wait_for("left 25/25")
        running.process.send_signal(signal.SIGTERM)
        while running.process.poll() is None:
            publisher.pair()
            with contextlib.suppress(subprocess.TimeoutExpired):
                running.process.wait(0.05)
        assert running.exit() == 0
    assert running.out[-1].startswith("The ledger balances")


def test_a_slow_one_gets_the_newest_pairs_and_counts_the_others(
    publishing: zmq.Socket[bytes], address: str, directory: Path
) -> None:
    publisher = Publisher(publishing, "left", "right")
    arguments = ["--keep", "1", "--work-ms", "1000", "--json", f"{directory}/report.json"]
    with sink(address, *arguments) as running:
        publisher.wait_for_sink()
        publisher.pair()
        running.wait_for("left 25/25")
        for _ in range(4):
            publisher.pair()
        publisher.pair({"right": 24})
        publisher.end()
        assert running.exit() == 0
    assert "right 24/25" in running.pair_lines()[-1]
    running.wait_for("lost before this one")
    report = json.loads((directory / "report.json").read_text())
    assert report["lost_pairs"] > 0
    assert report["pairs"] + report["lost_pairs"] == 6
    assert report["ledger_balanced"] is True
    assert report["sources"]["left"]["dropped"] == {"subscriber_slow": 25 * report["lost_pairs"]}


def test_a_signal_ends_the_work_on_a_pair(
    publishing: zmq.Socket[bytes], address: str, directory: Path
) -> None:
    publisher = Publisher(publishing, "left", "right")
    arguments = ["--work-ms", "60000", "--json", f"{directory}/report.json"]
    with sink(address, *arguments) as running:
        publisher.wait_for_sink()
        publisher.pair()
        running.wait_for("left 25/25")
        publisher.pair()
        publisher.end("stopped")
        running.process.send_signal(signal.SIGTERM)
        assert running.exit() == 0
    report = json.loads((directory / "report.json").read_text())
    assert (report["pairs"], report["lost_pairs"], report["ledger_balanced"]) == (2, 0, True)


def test_goes_on_with_a_combiner_that_was_started_anew(
    publishing: zmq.Socket[bytes], address: str, directory: Path
) -> None:
    publisher = Publisher(publishing, "left", "right")
    open_frames = Totals(captured=29, paired=25, open=4)
    with sink(address, "--keep", "9", "--json", f"{directory}/report.json") as running:
        publisher.wait_for_sink()
        publisher.pair(clips={"left": {"totals": open_frames}})
        publisher.restart()
        publisher.pair()
        publisher.pair()
        publisher.end()
        assert running.exit() == 0
    report = json.loads((directory / "report.json").read_text())
    assert report["pairs"] == 3
    assert report["ledger_balanced"] is True
    left, right = report["sources"]["left"], report["sources"]["right"]
    assert (left["captured"], left["delivered"], left["dropped"]) == (79, 75, {"combiner_lost": 4})
    assert (right["captured"], right["delivered"], right["dropped"]) == (75, 75, {})


def test_a_clip_of_frames_of_two_sizes_is_taken_too(
    publishing: zmq.Socket[bytes], address: str
) -> None:
    publisher = Publisher(publishing, "left", "right")
    with sink(address) as running:
        publisher.wait_for_sink()
        publisher.pair(shapes={24: (8, 6, 3)})
        publisher.end()
        assert running.exit() == 0
    assert running.out[-1].startswith("The ledger balances: 50 frames captured = 50 delivered")


def test_without_any_pair_it_says_so(address: str, directory: Path) -> None:
    with sink(address, "--json", f"{directory}/report.json") as running:
        running.wait_for("READY")
        running.process.send_signal(signal.SIGTERM)
        assert running.exit() == 0
    assert running.out[0] == ""
    assert running.out[1].startswith(f"No pair came from {address} in ")
    assert len(running.out) == 2
    assert json.loads((directory / "report.json").read_text())["pairs"] == 0


def test_that_no_pair_came_of_what_was_captured_is_a_failure(
    publishing: zmq.Socket[bytes], address: str
) -> None:
    publisher = Publisher(publishing, "left", "right")
    with sink(address) as running:
        publisher.wait_for_sink()
        publisher.lose(10)
        publisher.end()
        assert running.exit() == 1
    assert running.log[-1].startswith(
        "sink: no pair came of 20 frames captured (20 startup): run for longer than two windows"
    )
    assert running.out[-1].startswith("The ledger balances: 20 frames captured = 0 delivered")


def test_no_pair_of_sources_that_had_no_frame_is_no_failure(
    publishing: zmq.Socket[bytes], address: str
) -> None:
    publisher = Publisher(publishing, "left", "right")
    with sink(address) as running:
        publisher.wait_for_sink()
        publisher.end()
        assert running.exit() == 0
    assert running.out[1].startswith(f"No pair came from {address} in ")


def test_a_report_that_cannot_be_written_is_refused_at_the_start(address: str) -> None:
    sentence = refusal(address, "--json", "/nonexistent/report.json")
    assert sentence.startswith("sink: cannot write the report to /nonexistent/report.json")


@pytest.mark.parametrize("arguments", [["--keep", "0"], ["--work-ms", "-1"], ["--keep", "many"]])
def test_options_out_of_bounds_are_refused(address: str, arguments: list[str]) -> None:
    assert arguments[0] in refusal(address, *arguments)


def test_an_address_that_is_none_is_refused() -> None:
    assert "nowhere" in refusal("nowhere")


def test_on_a_terminal_it_is_coloured_and_shows_how_far_it_is(
    publishing: zmq.Socket[bytes], address: str
) -> None:
    publisher = Publisher(publishing, "left", "right", pace="max")
    command = [sys.executable, "-m", "framepair.nodes.sink", "--sub", address, "--keep", "9"]
    environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": "100"}
    environment.pop("NO_COLOR", None)
    terminal, inside = os.openpty()
    with subprocess.Popen(
        command, stdout=inside, stderr=subprocess.DEVNULL, cwd=ROOT, env=environment
    ) as process:
        os.close(inside)
        publisher.wait_for_sink()
        for _ in range(4):
            publisher.pair()
        publisher.end()
        text = _read_terminal(terminal)
        assert process.wait(DEADLINE_S) == 0
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
