"""Pipelines whose streams are closed, not read or read slowly work on and stop in time."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lib.busy import allowed
from tests.lib.launcher import SMALL, launcher
from tests.lib.processes import PATIENCE_S, Running, python


@pytest.fixture
def directory() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="fp-", dir="/tmp"))
    yield path
    shutil.rmtree(path)


LOGS = """
import cyclopts
from framepair.nodes.common import runtime
app = cyclopts.App(version_flags=())
@app.default
def main():
    runtime.log.warning("a peer sent %s", chr(27) + "[2J" + chr(10) + "forged line")
    raise runtime.Refused("no such name: " + chr(27) + "[31m")
runtime.run(app, "node", [])
"""


def test_a_nodes_log_and_refusal_hold_no_control_characters() -> None:
    with Running(python("-c", LOGS)) as node:
        assert node.wait() == 2
        logged, refused = node.stderr
        assert logged.endswith("WARNING a peer sent \\x1b[2J\\nforged line")
        assert refused == "node: no such name: \\x1b[31m"


@pytest.mark.parametrize(
    "closed",
    [
        "<&- >&- 2>&-",
        *(pytest.param(one, marks=pytest.mark.slow) for one in ("<&-", ">&-", "2>&-")),
    ],
)
def test_with_closed_streams_a_pipeline_runs_and_gives_no_file_their_numbers(
    directory: Path, closed: str
) -> None:
    command = " ".join(launcher("--run-dir", f"{directory}/run", "--window", "0.2", *SMALL))
    timing = f"--json {directory}/report.json --duration 0.5"
    # What a node has at 0, 1 and 2 is seen from outside while pairs come.
    with Running(["bash", "-c", f"{command} {timing} {closed}"]) as running:
        seen = set()
        while running.process.poll() is None:
            for pid in running.processes():
                for number in range(3):
                    with contextlib.suppress(OSError):
                        target = str(Path(f"/proc/{pid}/fd/{number}").readlink())
                        cmdline = Path(f"/proc/{pid}/cmdline").read_bytes()
                        if b"-m\0framepair" in cmdline:
                            seen.add(target.partition(":")[0])
            time.sleep(0.05)
        assert running.wait() == 0
        assert not any("Traceback" in line for line in running.lines)
    assert seen <= {"pipe", "/dev/null"}
    assert (directory / "report.json").exists()


@pytest.mark.parametrize("stream", ["stdout", pytest.param("stderr", marks=pytest.mark.slow)])
def test_a_stream_that_is_not_read_stops_nothing_and_delays_the_end_by_little(
    directory: Path, stream: str
) -> None:
    # A busy machine may silence a node for two seconds, hardly for five.
    health = ("--health-timeout", "5", "--window", "0.05", "--verbose")
    reader, writer = os.pipe()
    # It is full already: the first line doesn't fit.
    os.set_blocking(writer, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writer, bytes(1))
    os.set_blocking(writer, True)
    process = subprocess.Popen(
        launcher("--run-dir", directory / "run", *health, *SMALL),
        text=True,
        stdout=writer if stream == "stdout" else subprocess.PIPE,
        stderr=writer if stream == "stderr" else subprocess.PIPE,
    )
    other = process.stderr if stream == "stdout" else process.stdout
    assert other is not None
    lines: list[str] = []
    reading = threading.Thread(target=lambda: lines.extend(other))
    try:
        for line in other:
            lines.append(line)
            if "READY waits for pairs" in line or ("left" in line and "/" in line):
                break
        reading.start()
        # Longer than the launcher's patience with a node that hangs.
        time.sleep(6)
        process.send_signal(signal.SIGINT)
        started_s = time.monotonic()
        assert process.wait(PATIENCE_S) == 0
        assert time.monotonic() - started_s < allowed(5)
        reading.join(PATIENCE_S)
        assert not any("hangs" in line or "did not stop" in line for line in lines)
    finally:
        process.kill()
        process.wait()
        reading.join(PATIENCE_S)
        other.close()
        os.close(reader)
        os.close(writer)


def test_a_reader_that_is_slow_gets_the_report(directory: Path) -> None:
    command = " ".join(launcher("--run-dir", f"{directory}/run", "--window", "0.2", *SMALL))
    # It reads its first line only once the pipeline was asked to stop.
    script = f"{command} --duration 1 | (sleep 2; exec {sys.executable} -c {READS!r})"
    with Running(["bash", "-o", "pipefail", "-c", script]) as running:
        assert running.wait(60) == 0
        assert "The ledger balances" in running.stdout[-1]


READS = "import sys; [sys.stdout.write(line) for line in sys.stdin]"
