"""Programs of the user's own as nodes: noticed when they hang, and what "always" means."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from tests.lib.launcher import launcher
from tests.lib.processes import Running, python
from tests.lib.videos import write_video

SOURCES = [f"{name}=synthetic://160x120@25" for name in ("left", "right")]
CONSUMER = """
import os
from framepair import subscribe
for pair in subscribe():
    print("pair", os.getpid(), pair.complete, flush=True)
"""
# The launcher, less patient with consumers than it is.
IMPATIENT = """
import sys
from framepair.nodes.launcher import main as launch
from framepair.nodes.launcher import commands as table
table.CONSUMER_PATIENCE_S = 0.0
sys.exit(launch.main(sys.argv[1:]))
"""


def impatient(directory: Path, *arguments: str | Path) -> Running:
    options = ("--run-dir", directory / "run", "--window", "0.2", "--verbose")
    timeout = ("--health-timeout", "3")
    return Running(
        [*python("-c", IMPATIENT), *map(str, options), *timeout, *map(str, arguments), *SOURCES]
    )


def test_a_consumer_that_hangs_is_started_again(directory: Path) -> None:
    (directory / "consumer.py").write_text(CONSUMER)
    with impatient(directory, "--sink", f"{python()[0]} {directory}/consumer.py") as running:
        # It waits for pairs for longer than that before anything comes, and is left alone.
        first = int(running.wait_for(r"^pair (\d+) True", count=3)[1])
        os.kill(first, signal.SIGSTOP)
        running.wait_for("sink hangs: it gave no sign of work for")
        running.wait_for(rf"^pair (?!{first})\d+ True", count=3)
        assert running.stop() == 0


def test_a_program_that_gives_no_signs_is_left_alone(directory: Path) -> None:
    with impatient(directory, "--sink", "sh -c 'echo begun $$; exec sleep 1000'") as running:
        pid = int(running.wait_for(r"^begun (\d+)")[1])
        running.wait_for("combiner INFO READY")
        os.kill(pid, signal.SIGSTOP)
        # One of ours that hangs is noticed later than this one would be.
        os.kill(running.pid_of("framepair.nodes.combiner"), signal.SIGSTOP)
        running.wait_for("combiner hangs")
        assert not any("sink hangs" in line for line in running.stderr)


def test_a_video_that_is_always_started_again(directory: Path) -> None:
    video = write_video(directory / "left.avi", frames=20, fps=25)
    command = launcher("--run-dir", directory / "run", "--window", "0.2")
    with Running([*command, f"left={video}", "--restart", "left=always"]) as running:
        running.wait_for("left ended with exit status 0: it is started again", count=2)
        running.wait_for(r"left 5/5", count=10)
        assert running.stop() == 0
        assert any("The ledger balances" in line for line in running.stdout)
