"""The recorder among real nodes: what is on disk after it, or others, were killed, exact to the frame."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from pathlib import Path

import pytest

from framepair import subscribe
from framepair.nodes.recorder.archive import segments
from framepair.nodes.recordings.judge import Findings, judge
from framepair.protocol.recording.reading import RecordingFile
from tests.lib.launcher import SMALL, launcher
from tests.lib.pipeline import Pipeline
from tests.lib.processes import PATIENCE_S, Running, python
from tests.lib.recordings import frames
from tests.lib.shm import own_directory

PAIRED = r"left +\d/\d +right +\d/\d"


def framepair(*words: str | Path) -> subprocess.CompletedProcess[str]:
    command = launcher(*words)
    return subprocess.run(
        command, capture_output=True, text=True, timeout=3 * PATIENCE_S, check=False
    )


def check(found: Findings) -> dict[str, int]:
    """Check that all is accounted for; return what is lost, by reason, of all sources."""
    assert found.verdict.fault is None
    lost: dict[str, int] = {}
    for account in found.verdict.accounts.values():
        assert account.captured == account.on_disk + account.lost_frames
        for reason, count in account.lost.items():
            lost[reason] = lost.get(reason, 0) + count
    return {reason: count for reason, count in lost.items() if count}


def headers(paths: list[Path]) -> dict[tuple[str, int, int], bytes]:
    """Return the pictures on disk by source, run and seq."""
    return {name: picture for name, _, picture in frames(paths)}


@pytest.mark.parametrize("payload", [pytest.param("raw", marks=pytest.mark.slow), "shm"])
def test_what_a_consumer_got_is_on_disk_pixel_by_pixel(directory: Path, payload: str) -> None:
    with own_directory() as shm, contextlib.ExitStack() as stack:
        running = stack.enter_context(
            Running(
                launcher(
                    *SMALL, "--run-dir", directory / "run", "--window", "0.2", "--payload", payload,
                    "--shm-dir", shm, "--record", directory / "rec", "--record-codec", "raw",
                    "--verbose",
                )
            )
        )  # fmt: skip
        # The other nodes may be there before it is: what they sent by then is not recorded.
        running.wait_for(r"recorder INFO READY")
        running.wait_for(PAIRED)
        pairs = stack.enter_context(
            subscribe(f"ipc://{directory}/run/pairs", keep=100, shm_dir=shm, copy=True)
        )
        got = {
            (source, item.run, item.seq): item.image.tobytes()
            for pair in (next(pairs), next(pairs), next(pairs))
            for source, clip in pair.items()
            for item in clip
        }
        assert running.stop() == 0
        running.wait_for(r"^recorder: frames on disk: left \d+, right \d+; 1 file")
    written = headers(segments(directory / "rec"))
    assert got.items() <= written.items()
    assert check(judge(segments(directory / "rec"))) == {}
    done = framepair("verify", *segments(directory / "rec"))
    assert done.returncode == 0
    assert "every frame is on disk or counted (1 recorder, 1 combiner)" in done.stdout
    told = framepair("info", *segments(directory / "rec")).stdout
    assert "left: " in told
    assert "160x120, bgr8" in told


def kills(directory: Path, count: int) -> Findings:
    """Kill a recorder so often in the middle of its work; return what is on disk after the last one."""
    with Pipeline(["left", "right"]) as pipeline:
        pipeline.combiner()
        for name in pipeline.sources:
            pipeline.producer(name, "synthetic://160x120@50")
        sink = pipeline.sink()
        for life in range(count + 1):
            recorder = pipeline.start("recorder", str(directory), "--sub", pipeline.pub)
            recorder.wait_for("READY")
            sink.wait_for(
                PAIRED.replace(r"\d/\d", r"\d+/\d+"), count=len(sink.stdout) + 3 + life % 3
            )
            if life < count:
                os.kill(recorder.process.pid, signal.SIGKILL)
                recorder.wait()
        assert recorder.stop(signal.SIGTERM) == 0
    return judge(segments(directory))


def test_a_recorder_that_is_killed_was_away_and_all_else_is_there(directory: Path) -> None:
    found = kills(directory, 1)
    assert found.verdict.sessions == 2
    # On a busy machine a producer may drop some.
    assert set(check(found)) <= {"recorder_away", "publisher_overflow", "producer_dropped"}
    # Those of killed recorders were repaired by the next one.
    assert not found.cut
    assert len(segments(directory)) == 2
    path = segments(directory)[1]
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 2 // 3])
    done = framepair("verify", *segments(directory), "--repair")
    assert done.returncode in (0, 1)
    assert f"{path}: repaired: " in done.stdout
    with RecordingFile(path) as file:
        assert file.is_whole()


@pytest.mark.slow
def test_a_recorder_that_is_killed_ten_times(directory: Path) -> None:
    found = kills(directory, 10)
    assert found.verdict.sessions == 11
    assert set(check(found)) <= {"recorder_away", "publisher_overflow"}


def test_the_launcher_starts_a_killed_recorder_again(directory: Path) -> None:
    command = launcher(
        *SMALL, "--run-dir", directory / "run", "--window", "0.2", "--record", directory / "rec",
        "--payload", "jpeg", "--verbose",
    )  # fmt: skip
    with Running(command) as running:
        running.wait_for(PAIRED)
        pid = int(running.wait_for(r"started recorder as process (\d+)")[1])
        count = 1
        while not judge(segments(directory / "rec")).verdict.pairs:
            count += 1
            running.wait_for(PAIRED, count=count)
        os.kill(pid, signal.SIGKILL)
        running.wait_for("recorder ended with signal 9 .*: it is started again in 0.5 s")
        running.wait_for("recorder INFO READY", count=2)
        combiner = int(running.wait_for(r"started combiner as process (\d+)")[1])
        running.wait_for(PAIRED, count=len(running.stdout) + 2)
        os.kill(combiner, signal.SIGKILL)
        running.wait_for(r"started combiner as process (\d+)", count=2)
        running.wait_for(PAIRED, count=len(running.stdout) + 4)
        assert running.stop() == 0
    found = judge(segments(directory / "rec"))
    assert (found.verdict.sessions, found.verdict.combiners) == (2, 2)
    assert set(check(found)) <= {"recorder_away", "combiner_lost", "publisher_overflow"}


def test_what_cannot_be_recorded_to_is_refused(directory: Path) -> None:
    (directory / "file").touch()
    address = f"ipc://{directory}/pairs"
    done = framepair("record", directory / "file", "--sub", address)
    assert done.returncode == 2
    assert done.stderr == (
        f"recorder: cannot record to {directory}/file: File exists: choose another directory\n"
    )
    with Running(python("-m", "framepair.nodes.recorder", directory, "--sub", address)) as first:
        first.wait_for("READY")
        done = framepair("record", directory, "--sub", address, "--keep", "2h")
        assert done.returncode == 2
        assert "another recorder writes to" in done.stderr
        assert first.stop() == 0


def test_a_recording_is_played_again_with_the_same_pairs(directory: Path) -> None:
    """The JPEG files of a lossless run and of its replay are the same, byte for byte."""
    flags = ("--run-dir", directory / "run", "--window", "0.2", "--no-sink", "--payload", "jpeg")
    rates = {"left": 25, "right": 30}
    sources = [f"{name}=synthetic://160x120@{fps}?frames=55" for name, fps in rates.items()]

    def played(*asked: str | Path) -> None:
        done = framepair(*asked, *flags, "--pace", "max")
        assert done.returncode == 0, done.stderr

    played(*sources, "--record", directory / "a")
    [first] = segments(directory / "a")
    played(directory / "a", "--record", directory / "b")
    [second] = segments(directory / "b")
    assert headers([second]) == headers([first])
    before, after = (judge([path]) for path in (first, second))
    assert check(before) == check(after) == {}
    assert before.verdict.pairs == after.verdict.pairs > 5


def test_in_real_time_the_sources_of_a_recording_play_together(directory: Path) -> None:
    """Their frames are as far apart as they were, whichever producer is open first."""
    flags = ("--run-dir", directory / "run", "--window", "0.2", "--payload", "jpeg")
    sources = [f"{name}=synthetic://160x120@25?frames=40" for name in ("left", "right")]
    first = framepair(*sources, *flags, "--no-sink", "--pace", "max", "--record", directory / "a")
    assert first.returncode == 0, first.stderr
    [path] = segments(directory / "a")
    again = framepair(path, *flags, "--record", directory / "b")
    assert again.returncode == 0, again.stderr
    [played] = segments(directory / "b")
    before, after = times([path]), times([played])
    moved_ns = {at_ns - before[name] for name, at_ns in after.items()}
    assert len(moved_ns) == 1
    assert moved_ns.pop() % 200_000_000 == 0
    assert {name[0] for name in after} == {"left", "right"}


def times(paths: list[Path]) -> dict[tuple[str, int, int], int]:
    """Return when the frames on disk were captured, by source, run and seq."""
    return {name: header.captured_ns for name, header, _ in frames(paths)}
