"""The whole pipeline as a user starts it: launcher, producers, combiner and sink."""

from __future__ import annotations

import json
import shlex
import signal
from pathlib import Path

import pytest

from tests.lib.launcher import launcher
from tests.lib.processes import Running
from tests.lib.videos import write_video

SMALL = ("left=synthetic://160x120@25", "right=synthetic://160x120@25")
PAIR = r"left +\d+/\d+ +right +\d+/\d+"


def launch(directory: Path, *arguments: str | Path) -> Running:
    """Start the launcher as from a shell in ``directory``, where it makes its run directory."""
    command = launcher("--run-dir", directory / "run", *arguments)
    return Running(command, cwd=directory, env={"PYTHONPATH": ""})


def test_a_stop_ends_in_a_report_that_balances(directory: Path) -> None:
    with launch(directory, *SMALL, "--window", "0.5", "--json", "report.json") as running:
        running.wait_for(PAIR, count=2)
        assert running.stop(signal.SIGTERM) == 0
        assert "The ledger balances" in running.stdout[-1]
        assert running.processes() == []
    assert json.loads((directory / "report.json").read_text())["ledger_balanced"] is True
    assert [path.name for path in directory.iterdir()] == ["report.json"]


def test_files_play_to_their_end(directory: Path) -> None:
    write_video(directory / "left.mp4", frames=40)
    write_video(directory / "right.avi", frames=40)
    with launch(directory, "left.mp4", "right.avi", "--window", "0.5") as running:
        assert running.wait() == 0
        running.wait_for("cut short by the end of the stream")
        assert "The ledger balances" in running.stdout[-1]
        assert running.processes() == []
        assert not (directory / "run").exists()


def test_offline_nothing_is_lost(directory: Path) -> None:
    write_video(directory / "left.mp4", frames=50)
    write_video(directory / "right.avi", frames=50)
    with launch(directory, "left.mp4", "right.avi", "--pace", "max", "--json", "r.json") as running:
        assert running.wait() == 0
    report = json.loads((directory / "r.json").read_text())
    assert {name: source["delivered"] for name, source in report["sources"].items()} == {
        "left": 50,
        "right": 50,
    }


def test_a_duration_ends_by_itself(directory: Path) -> None:
    timing = ("--duration", "1", "--window", "0.5", "--json", "report.json")
    with launch(directory, *SMALL, *timing) as running:
        assert running.wait() == 0
        assert "The ledger balances" in running.stdout[-1]
        assert running.processes() == []
    report = json.loads((directory / "report.json").read_text())
    # However long the start took: a second of frames, and none of the windows was cut short.
    assert report["pairs"] >= 2
    assert report["partial_pairs"] == 0


@pytest.mark.parametrize("bad", ["missing.mp4", "text.mp4", "nonsense://x"])
def test_a_source_that_cannot_be_read_ends_everything(directory: Path, bad: str) -> None:
    (directory / "text.mp4").write_text("no video")
    with launch(directory, SMALL[0], f"right={bad}") as running:
        assert running.wait() == 2
        assert running.stdout == []
        sentences = running.stderr
        assert len(sentences) == 1
        assert sentences[0].startswith("producer: ")
        assert running.processes() == []
        assert not (directory / "run").exists()


def test_modules_in_the_users_directory_are_not_taken_for_ours(directory: Path) -> None:
    for name in ("nodes", "protocol", "zmq", "numpy"):
        (directory / f"{name}.py").write_text("raise SystemExit('this is the wrong module')")
    with launch(directory, *SMALL, "--window", "0.5") as running:
        running.wait_for(PAIR)
        assert running.stop() == 0


def test_a_password_is_neither_logged_nor_seen_in_the_nodes_flags(directory: Path) -> None:
    config = directory / "pipeline.toml"
    config.write_text(
        '[sources]\nleft = "synthetic://160x120"\nright = "rtsp://u:secret@127.0.0.1:1/x"'
    )
    with launch(directory, "--config", config, "--wait") as running:
        running.wait_for("trying again")
        commands = [Path(f"/proc/{pid}/cmdline").read_text() for pid in running.session()]
        assert len(commands) == 5
        assert not any("secret" in command for command in commands)
        running.stop()
        assert not any("secret" in line for line in running.lines)


def test_a_reader_that_has_seen_enough_ends_it_cleanly(directory: Path) -> None:
    command = launcher("--run-dir", "run", "--window", "0.2", *SMALL)
    with Running(
        ["bash", "-o", "pipefail", "-c", f"{shlex.join(command)} | head -2"], cwd=directory
    ) as running:
        assert running.wait() == 0
        assert not any("Traceback" in line or "framepair:" in line for line in running.stderr)
        assert running.processes() == []
