"""The launcher with real nodes that fail: what is started again, what is given up, and what is left behind."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from framepair import Pair, subscribe
from framepair.nodes.launcher.restarts import FIRST_PAUSE_S, MAX_A_MINUTE
from tests.lib.launcher import launcher
from tests.lib.pipeline import checked
from tests.lib.processes import Running, python, wait_for_exit
from tests.lib.shm import own_directory
from tests.lib.stand_ins import FAIL, NAMES, nothing_is_left, pids, start

NODES = ("producer left", "producer right", "combiner", "sink")
WHOLE = r"left +\d/\d +right +\d/\d"


def launch(directory: Path, *arguments: str | Path) -> Running:
    """Start the launcher with two small sources."""
    small = [f"{name}=synthetic://160x120@25" for name in ("left", "right")]
    command = launcher("--run-dir", directory / "run", "--window", "0.2", *small)
    return Running([*command, "--verbose", *map(str, arguments)], cwd=directory)


def pid_of(running: Running, node: str, count: int = 1) -> int:
    """Return the pid of a node at its ``count``-th start."""
    return int(running.wait_for(f"^framepair: started {node} as process (.*)", count=count)[1])


def next_whole(pairs: Iterator[Pair]) -> Pair:
    return next(pair for pair in pairs if pair.complete)


@pytest.mark.parametrize("payload", ["raw", pytest.param("shm", marks=pytest.mark.slow)])
def test_a_node_that_is_killed_is_back_soon(directory: Path, payload: str) -> None:
    with own_directory() as shm, contextlib.ExitStack() as stack:
        shared = ("--payload", payload, "--shm-dir", shm, "--history", "1")
        running = stack.enter_context(launch(directory, *shared))
        address = f"ipc://{directory}/run/pairs"
        pairs = stack.enter_context(subscribe(address, keep=100, shm_dir=shm))
        stream = checked(pairs) if payload == "raw" else pairs
        before = next_whole(stream)
        for node in NODES:
            os.kill(pid_of(running, node), signal.SIGKILL)
            running.wait_for(rf"^framepair: {node} ended with signal 9 .*again in 0.5 s")
            pid_of(running, node, count=2)
        after = next_whole(stream)
        while after["left"].frames[0].run == before["left"].frames[0].run:
            after = next_whole(stream)
        running.wait_for(WHOLE, count=len(running.stdout) + 2)
        pairs.close()
        assert running.stop() == 0
        assert running.stderr[-1] == "framepair: restarts: " + ", ".join(
            f"{node} 1" for node in NODES
        )
        assert nothing_is_left(running, directory)


def test_a_node_that_hangs_is_killed_and_started_again(directory: Path) -> None:
    # What opening and reading a camera may take is added for a producer.
    waits = ("--health-timeout", "2", "--open-timeout", "0.5", "--read-timeout", "0.5")
    with launch(directory, *waits) as running:
        for node in ("producer left", "combiner", "sink"):
            running.wait_for(WHOLE, count=len(running.stdout) + 2)
            frozen = pid_of(running, node)
            os.kill(frozen, signal.SIGSTOP)
            running.wait_for(f"^framepair: {node} hangs: it gave no sign of work for")
            assert wait_for_exit(frozen, 30)
            pid_of(running, node, count=2)
        running.wait_for(WHOLE, count=len(running.stdout) + 2)
        assert running.stop() == 0


def test_when_everything_was_frozen_nothing_is_taken_for_hanging(directory: Path) -> None:
    with launch(directory, "--health-timeout", "2") as running:
        running.wait_for(WHOLE)
        pids = sorted(running.processes())
        nodes = [pid for pid in pids if pid != running.process.pid]
        for order in ([*nodes, running.process.pid], [running.process.pid, *nodes]):
            for pid in pids:
                os.kill(pid, signal.SIGSTOP)
            # It is time itself that is tested: longer than the launcher's patience.
            time.sleep(3)
            for pid in order:
                os.kill(pid, signal.SIGCONT)
            running.wait_for(WHOLE, count=len(running.stdout) + 10)
            assert sorted(running.processes()) == pids
        assert not any("hangs" in line for line in running.stderr)
        assert running.stop() == 0


def test_a_camera_that_delivers_nothing_is_no_node_that_hangs(directory: Path) -> None:
    waits = ("--health-timeout", "1.5", "--open-timeout", "0.1", "--read-timeout", "0.1")
    # Its frames are further apart than the launcher's patience.
    slow = ("seldom=synthetic://160x120@0.6", "--max-wait", "0.1", "--start-timeout", "0.1")
    with launch(directory, *waits, *slow) as running:
        running.wait_for(r"seldom +1/", timeout_s=60)
        running.wait_for(r"seldom +1/", timeout_s=60, count=2)
        assert running.stop() == 0
        assert not any("hangs" in line for line in running.stderr)


def test_a_node_that_ends_again_and_again_ends_everything(directory: Path) -> None:
    dies = "import sys; print('out of luck', file=sys.stderr); sys.exit(3)"
    with start(directory, script=dies, restart="on-failure", FIRST_PAUSE_S=0.0) as running:
        assert running.wait() == 1
        said = [line for line in running.stderr if line.startswith("framepair: ")]
        assert any("it is started again in 0 s" in line for line in said)
        given_up = next(i for i, line in enumerate(said) if "in a minute" in line)
        assert "ended with exit status 3: for the 6th time in a minute" in said[given_up]
        assert said[given_up + 1] == "framepair:   out of luck"
        assert nothing_is_left(running, directory)


def test_a_node_that_must_not_be_started_again(directory: Path) -> None:
    with launch(directory, "--restart", "right=never") as running:
        running.wait_for(WHOLE)
        os.kill(pid_of(running, "producer right"), signal.SIGKILL)
        running.wait_for("^framepair: producer right ended with signal 9 .*: the others go on$")
        os.kill(pid_of(running, "producer left"), signal.SIGKILL)
        pid_of(running, "producer left", count=2)
        assert running.stop() == 1


def test_a_stop_while_a_node_waits_for_its_restart(directory: Path) -> None:
    with start(directory, restart="on-failure", FIRST_PAUSE_S=1000) as running:
        os.kill(pids(running)["left"], FAIL)
        running.wait_for(
            "^framepair: left ended with exit status 1: it is started again in 1000 s$"
        )
        assert running.stop() == 0
        assert len(running.stdout) == len(NAMES) * 2 - 1
        assert nothing_is_left(running, directory)


# The launcher, but for its patience: a hundredth of it.
HASTY = """
import sys
from framepair.nodes.launcher import main as launch
from framepair.nodes.launcher import restarts
restarts.FIRST_PAUSE_S /= 100
sys.exit(launch.main())
"""
CRASHES = """
from framepair import subscribe
for pair in subscribe():
    raise RuntimeError("out of luck")
"""


def test_a_consumer_that_crashes_at_each_pair_gets_longer_and_longer_pauses(
    directory: Path,
) -> None:
    (directory / "model.py").write_text(CRASHES)
    sink = ("--sink", f"{sys.executable} {directory}/model.py")
    sources = [f"{name}=synthetic://160x120@25" for name in ("left", "right")]
    run = ("--run-dir", directory / "run", "--window", "0.2")
    with Running(python("-c", HASTY, *map(str, run), *sink, *sources)) as running:
        assert running.wait(60) == 1
        said = [line for line in running.stderr if line.startswith("framepair: sink ended")]
        pauses_s = [float(line.split()[-2]) for line in said[:-1]]
        # As patience is a hundredth here: half a second first, then 1, 2, 4 and 8.
        assert pauses_s == [FIRST_PAUSE_S / 100 * 2**i for i in range(MAX_A_MINUTE)]
        assert FIRST_PAUSE_S * 2 ** (MAX_A_MINUTE - 1) == 8
        assert "ended with exit status 1: for the 6th time in a minute" in said[-1]
        assert running.stderr[-1] == f"framepair: restarts: sink {MAX_A_MINUTE}"
        assert "framepair:   RuntimeError: out of luck" in running.stderr
        assert running.session() == []


CONSUMER = """
from framepair import subscribe
for pair in subscribe():
    print("got", sorted(pair), flush=True)
"""


def test_a_consumer_of_ones_own_is_a_node_like_any_other(directory: Path) -> None:
    (directory / "my model.py").write_text(CONSUMER)
    command = f"{sys.executable} '{directory}/my model.py' {{sub}}"
    with launch(directory, "--sink", command) as running:
        running.wait_for(r"^got \['left', 'right'\]", count=2)
        (first,) = [pid_of(running, "sink")]
        assert f"ipc://{directory}/run/pairs" in Path(f"/proc/{first}/cmdline").read_text()
        os.kill(first, signal.SIGKILL)
        second = pid_of(running, "sink", count=2)
        running.wait_for("^got", count=len(running.stdout) + 2)
        # It knows nothing of the launcher, and ends with it all the same.
        running.process.kill()
        assert wait_for_exit(second, 2)
        running.wait_until_gone(2)


def test_a_consumer_that_cannot_be_run_is_said_to_be_so(directory: Path) -> None:
    with launch(directory, "--sink", "no-such-command") as running:
        assert running.wait() == 2
        assert running.stderr == [
            "framepair: --sink no-such-command: there is no command no-such-command"
        ]


def test_lines_of_several_nodes_are_not_mixed(directory: Path) -> None:
    # A line in two pieces, with something else in between, and one without an end.
    talks = (
        "import os, sys; os.write(2, b'one '); open(sys.argv[1] + '.fifo').read();"
        " os.write(2, b'line\\nlast')"
    )
    fifos = [directory / f"{name}.fifo" for name in ("left", "right")]
    for fifo in fifos:
        os.mkfifo(fifo)
    with Running(python("-c", TALKERS, talks, directory / "run"), cwd=directory) as running:
        for fifo in fifos:
            fifo.write_text("go on")
        running.wait()
        assert running.stderr.count("one line") == 2
        assert running.stderr.count("last") == 2


TALKERS = """
import sys
from framepair.nodes.launcher import main as launch
from framepair.nodes.launcher import commands as table
table.table = lambda *_, **__: [
    table.Node(name, "producer", (sys.executable, "-c", sys.argv[1], name), restart="never", patience_s=1e6)
    for name in ("left", "right")
]
sys.exit(launch.main(["--run-dir", sys.argv[2]]))
"""
