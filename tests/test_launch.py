"""The process table, with stand-ins for the nodes: starting, watching, stopping, leaving nothing behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import launch
from tests.processes import ROOT, Running, python, wait_for_exit

# Ends with an exit status that depends on the signal; says so if it was asked to stop, and obeys or not.
STAND_IN = """
import os, signal, sys
name, manners = sys.argv[1:]
def stop(*_):
    os.write(1, f"{name} {manners}\\n".encode())
    if manners == "obeys":
        sys.exit(0)
signal.signal(signal.SIGTERM, stop)
for number, status in (signal.SIGUSR1, 0), (signal.SIGUSR2, 1), (signal.SIGHUP, 2):
    signal.signal(number, lambda *_, status=status: os._exit(status))
os.write(1, f"READY {name} {os.getpid()}\\n".encode())
while True:
    signal.pause()
"""
DIES_WITH_LAUNCHER = f"""
from nodes.runtime import die_with_launcher
die_with_launcher()
{STAND_IN}
"""
# The launcher, with other nodes than its own and other times than usual.
DRIVER = """
import json, os, signal, sys
import launch
from nodes.launching import options, table
stand_ins, settings = map(json.loads, sys.argv[1:3])
table.table = lambda *_, **__: [
    table.Node(name, kind, (sys.executable, "-c", script, name, manners))
    for name, kind, manners, script in stand_ins
]
if settings.pop("interrupt_parsing", False):
    parse = options.parse
    options.parse = lambda arguments: (os.kill(os.getpid(), signal.SIGINT), parse(arguments))[1]
vars(launch).update(settings)
sys.exit(launch.main(sys.argv[3:]))
"""
FINISH, FAIL, REFUSE = signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP
NAMES = ("left", "right", "combiner", "sink")


@pytest.fixture
def directory() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="fp-", dir="/tmp"))
    yield path
    shutil.rmtree(path)


def start(
    directory: Path,
    *arguments: str,
    stubborn: tuple[str, ...] = (),
    script: str = STAND_IN,
    **settings: float,
) -> Running:
    """Start the launcher with four stand-ins, of which ``stubborn`` ones don't stop when asked to."""
    nodes = [
        (
            name,
            name if name in ("combiner", "sink") else "producer",
            "ignores" if name in stubborn else "obeys",
            script,
        )
        for name in NAMES
    ]
    options = ["--run-dir", str(directory / "run"), *arguments]
    return Running(python("-c", DRIVER, json.dumps(nodes), json.dumps(settings), *options))


def pids(running: Running) -> dict[str, int]:
    """Wait until all nodes are ready; return their pids by name."""
    return {name: int(running.wait_for(f"^READY {name} (.*)")[1]) for name in NAMES}


def stopped(running: Running) -> list[str]:
    """Return the names of the nodes that were asked to stop, in that order."""
    return [line.split()[0] for line in running.stdout if not line.startswith("READY")]


def nothing_is_left(running: Running, directory: Path) -> bool:
    return running.session() == [] and list(directory.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_the_nodes_in_the_order_of_the_data(
    directory: Path, number: signal.Signals
) -> None:
    with start(directory) as running:
        pids(running)
        assert running.stop(number) == 0
        assert sorted(stopped(running)[:2]) == ["left", "right"]
        assert stopped(running)[2:] == ["combiner", "sink"]
        assert running.stderr == []
        assert nothing_is_left(running, directory)


def test_a_signal_during_start_up_is_a_clean_stop(directory: Path) -> None:
    with start(directory, interrupt_parsing=True) as running:
        assert running.wait() == 0
        assert running.stderr == []
        assert nothing_is_left(running, directory)


def test_nodes_dont_get_the_terminals_signals(directory: Path) -> None:
    with start(directory) as running:
        groups = {os.getpgid(pid) for pid in pids(running).values()}
        assert len(groups) == len(NAMES)
        assert os.getpgid(running.process.pid) not in groups


def test_under_nohup_a_closed_terminal_stops_nothing(directory: Path) -> None:
    former = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        running = start(directory)
    finally:
        signal.signal(signal.SIGHUP, former)
    with running:
        pids(running)
        running.process.send_signal(signal.SIGHUP)
        assert running.stop(signal.SIGTERM) == 0
        assert len(stopped(running)) == len(NAMES)


def test_a_camera_that_hangs_costs_its_producer_only(directory: Path) -> None:
    with start(directory, stubborn=("right",), STAGE_S=0.3) as running:
        pids(running)
        assert running.stop() == 0
        assert stopped(running)[2:] == ["combiner", "sink"]
        assert running.stderr == ["launch: right did not stop in time and was killed"]
        assert nothing_is_left(running, directory)


def test_a_sink_that_hangs_is_a_failure(directory: Path) -> None:
    with start(directory, stubborn=("sink",), STAGE_S=0.3) as running:
        pids(running)
        assert running.stop() == 1
        assert nothing_is_left(running, directory)


def test_whatever_hangs_all_of_it_is_stopped(directory: Path) -> None:
    with start(directory, stubborn=NAMES, STAGE_S=0.1) as running:
        nodes = pids(running)
        os.kill(nodes["combiner"], signal.SIGSTOP)
        assert running.stop() == 1
        assert nothing_is_left(running, directory)


def test_a_second_ctrl_c_kills_at_once(directory: Path) -> None:
    with start(directory, stubborn=NAMES, STAGE_S=60, ECHO_S=0) as running:
        pids(running)
        running.process.send_signal(signal.SIGINT)
        running.wait_for("left ignores")
        assert running.stop(signal.SIGINT) == 130
        assert "combiner" not in stopped(running)
        assert nothing_is_left(running, directory)


def test_an_echo_of_the_first_ctrl_c_is_not_a_second_one(directory: Path) -> None:
    with start(directory, stubborn=("left",), STAGE_S=0.5, ECHO_S=60) as running:
        pids(running)
        running.process.send_signal(signal.SIGINT)
        running.wait_for("left ignores")
        assert running.stop(signal.SIGINT) == 0
        assert stopped(running)[2:] == ["combiner", "sink"]


def test_a_node_that_refuses_ends_everything_and_has_the_last_word(directory: Path) -> None:
    with start(directory) as running:
        os.kill(pids(running)["right"], REFUSE)
        assert running.wait() == 2
        assert stopped(running) == []
        assert running.stderr == []
        assert nothing_is_left(running, directory)


def test_when_the_videos_are_over_everything_ends_by_itself(directory: Path) -> None:
    with start(directory) as running:
        nodes = pids(running)
        for name in NAMES:
            os.kill(nodes[name], FINISH)
            assert wait_for_exit(nodes[name], 30)
        assert running.wait() == 0
        assert stopped(running) == []
        assert running.stderr == []
        assert nothing_is_left(running, directory)


def test_one_video_may_end_before_the_others(directory: Path) -> None:
    with start(directory, SETTLE_S=0) as running:
        nodes = pids(running)
        os.kill(nodes["left"], FINISH)
        assert wait_for_exit(nodes["left"], 30)
        os.kill(nodes["right"], FINISH)
        assert running.wait() == 0
        assert stopped(running) == ["combiner", "sink"]


def test_a_combiner_that_has_no_end_is_stopped(directory: Path) -> None:
    with start(directory, SETTLE_S=0.1) as running:
        nodes = pids(running)
        os.kill(nodes["left"], FINISH)
        os.kill(nodes["right"], FINISH)
        assert running.wait() == 0
        assert stopped(running) == ["combiner", "sink"]


def test_a_sink_that_has_no_end_is_stopped(directory: Path) -> None:
    with start(directory, SETTLE_S=0.1) as running:
        os.kill(pids(running)["combiner"], FINISH)
        assert running.wait() == 0
        assert stopped(running)[2:] == ["sink"]


def test_when_nobody_reads_the_pairs_any_more_everything_stops(directory: Path) -> None:
    with start(directory) as running:
        os.kill(pids(running)["sink"], FINISH)
        assert running.wait() == 0
        assert sorted(stopped(running)) == ["combiner", "left", "right"]


def test_a_pipe_that_nobody_reads_is_told_from_what_is_only_not_read_yet() -> None:
    reader, writer = os.pipe()
    assert not launch.nobody_reads(writer)
    os.close(reader)
    assert launch.nobody_reads(writer)
    os.close(writer)
    with tempfile.TemporaryFile() as file, Path(os.devnull).open("w") as null:
        assert not launch.nobody_reads(file.fileno())
        assert not launch.nobody_reads(null.fileno())


def test_without_one_producer_the_rest_goes_on(directory: Path) -> None:
    with start(directory) as running:
        nodes = pids(running)
        os.kill(nodes["left"], FAIL)
        running.wait_for("^launch: left ended with exit status 1: the others go on$")
        assert sorted(running.session()) == sorted(
            [running.process.pid, *(nodes[name] for name in NAMES if name != "left")]
        )
        assert running.stop() == 1
        assert stopped(running) == ["right", "combiner", "sink"]


def test_after_the_last_of_several_producers_there_is_nothing_to_wait_for(directory: Path) -> None:
    with start(directory, SETTLE_S=1e6) as running:
        nodes = pids(running)
        os.kill(nodes["left"], FAIL)
        running.wait_for("^launch: left ended")
        os.kill(nodes["right"], FINISH)
        assert running.wait() == 1
        assert stopped(running) == ["combiner", "sink"]


@pytest.mark.parametrize("name", ["combiner", "sink"])
def test_without_its_combiner_or_sink_the_pipeline_stops(directory: Path, name: str) -> None:
    with start(directory) as running:
        os.kill(pids(running)[name], signal.SIGKILL)
        assert running.wait() == 1
        assert running.stderr == [f"launch: {name} ended with signal 9 (Killed)"]
        assert len(stopped(running)) == len(NAMES) - 1
        assert nothing_is_left(running, directory)


def test_a_duration_ends_even_what_hangs(directory: Path) -> None:
    duration = ("--duration", "0.1", "--window", "0.1")
    with start(directory, *duration, SETTLE_S=0) as running:
        assert running.wait() == 0
        assert nothing_is_left(running, directory)


def test_a_killed_launcher_takes_its_nodes_with_it(directory: Path) -> None:
    with start(directory, script=DIES_WITH_LAUNCHER) as running:
        pids(running)
        running.process.kill()
        running.wait_until_gone()
        assert sorted(stopped(running)) == sorted(NAMES)
        assert list((directory / "run").iterdir()) == []


def test_a_node_that_cannot_be_started_ends_everything(directory: Path) -> None:
    nodes = [(name, "producer", "obeys", STAND_IN) for name in ("\0", "right")]
    command = python("-c", DRIVER, json.dumps(nodes), "{}", "--run-dir", directory / "run")
    with Running(command) as running:
        assert running.wait() == 1
        assert running.stderr == ["launch: cannot start \0: embedded null byte"]
        assert nothing_is_left(running, directory)


def test_a_run_directory_has_one_pipeline(directory: Path) -> None:
    with start(directory) as first:
        pids(first)
        with start(directory) as second:
            assert second.wait() == 2
            (sentence,) = second.stderr
            assert f"in use by process {first.process.pid}:" in sentence
            assert second.stdout == []
        assert len(first.session()) == 1 + len(NAMES)
        assert first.stop() == 0
        assert nothing_is_left(first, directory)


def test_what_killed_nodes_left_is_removed_and_nothing_else(directory: Path) -> None:
    run = directory / "run"
    with start(directory) as running:
        nodes = pids(running)
        for name in ("left.frames", "pairs", "other"):
            with socket.socket(socket.AF_UNIX) as bound:
                bound.bind(str(run / name))
            (run / f"{name}.lock").touch()
        os.kill(nodes["sink"], signal.SIGKILL)
        assert running.wait() == 1
    assert sorted(path.name for path in run.iterdir()) == ["other", "other.lock"]


def test_a_run_directory_that_was_there_stays(directory: Path) -> None:
    (directory / "run").mkdir(mode=0o700)
    with start(directory) as running:
        pids(running)
        assert running.stop() == 0
    assert list(directory.iterdir()) == [directory / "run"]


def test_over_tcp_no_run_directory_is_made(directory: Path) -> None:
    with start(directory, "--listen", "tcp://127.0.0.1:5555") as running:
        pids(running)
        assert list(directory.iterdir()) == []
        assert running.stop() == 0


def test_the_launcher_is_light_because_everything_waits_for_it() -> None:
    # It has one thread, too: nodes get the signal of its death from each thread that it had.
    script = """
import os, sys, launch
launch.main(["--print"])
print(sorted({"numpy", "zmq", "cv2", "rich"} & set(sys.modules)), len(os.listdir("/proc/self/task")))
"""
    with Running(python("-c", script)) as running:
        running.wait()
        assert running.stdout[-1] == "[] 1"


def test_commands_for_a_reader_that_has_seen_enough_cause_no_traceback() -> None:
    shell = f"{sys.executable} {ROOT}/launch.py --print | true"
    with Running(["bash", "-o", "pipefail", "-c", shell]) as running:
        assert running.wait() == 0
        assert running.stderr == []
