"""The process table, with stand-ins for the nodes: starting, watching, stopping, leaving nothing behind."""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import tempfile
from pathlib import Path

import pytest

from framepair.nodes.launcher.pipeline import is_unread
from tests.lib.launcher import launcher
from tests.lib.processes import Running, python, wait_for_exit
from tests.lib.stand_ins import (
    DIES_WITH_LAUNCHER,
    DRIVER,
    FAIL,
    FINISH,
    NAMES,
    REFUSE,
    STAND_IN,
    nothing_is_left,
    pids,
    start,
    stopped,
)


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
    with start(directory, stubborn=("right",), PRODUCERS_S=0.3, STAGE_S=0.3) as running:
        pids(running)
        assert running.stop() == 0
        assert stopped(running)[2:] == ["combiner", "sink"]
        assert running.stderr == ["framepair: right did not stop in time and was killed"]
        assert nothing_is_left(running, directory)


def test_a_sink_that_hangs_is_a_failure(directory: Path) -> None:
    with start(directory, stubborn=("sink",), PRODUCERS_S=0.3, STAGE_S=0.3) as running:
        pids(running)
        assert running.stop() == 1
        assert nothing_is_left(running, directory)


def test_whatever_hangs_all_of_it_is_stopped(directory: Path) -> None:
    with start(directory, stubborn=NAMES, PRODUCERS_S=0.1, STAGE_S=0.1) as running:
        nodes = pids(running)
        os.kill(nodes["combiner"], signal.SIGSTOP)
        assert running.stop() == 1
        assert nothing_is_left(running, directory)


def test_a_second_ctrl_c_kills_at_once(directory: Path) -> None:
    with start(directory, stubborn=NAMES, PRODUCERS_S=60, STAGE_S=60, ECHO_S=0) as running:
        pids(running)
        running.process.send_signal(signal.SIGINT)
        running.wait_for("left ignores")
        assert running.stop(signal.SIGINT) == 130
        assert "combiner" not in stopped(running)
        assert nothing_is_left(running, directory)


def test_an_echo_of_the_first_ctrl_c_is_not_a_second_one(directory: Path) -> None:
    with start(directory, stubborn=("left",), PRODUCERS_S=0.5, STAGE_S=0.5, ECHO_S=60) as running:
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
    assert not is_unread(writer)
    os.close(reader)
    assert is_unread(writer)
    os.close(writer)
    with tempfile.TemporaryFile() as file, Path(os.devnull).open("w") as null:
        assert not is_unread(file.fileno())
        assert not is_unread(null.fileno())


def test_without_one_producer_the_rest_goes_on(directory: Path) -> None:
    with start(directory) as running:
        nodes = pids(running)
        os.kill(nodes["left"], FAIL)
        running.wait_for("^framepair: left ended with exit status 1: the others go on$")
        assert sorted(running.session()) == sorted(
            [running.process.pid, *(nodes[name] for name in NAMES if name != "left")]
        )
        assert running.stop() == 1
        assert stopped(running) == ["right", "combiner", "sink"]


def test_after_the_last_of_several_producers_there_is_nothing_to_wait_for(directory: Path) -> None:
    with start(directory, SETTLE_S=1e6) as running:
        nodes = pids(running)
        os.kill(nodes["left"], FAIL)
        running.wait_for("^framepair: left ended")
        os.kill(nodes["right"], FINISH)
        assert running.wait() == 1
        assert stopped(running) == ["combiner", "sink"]


@pytest.mark.parametrize("name", ["combiner", "sink"])
def test_without_its_combiner_or_sink_the_pipeline_stops(directory: Path, name: str) -> None:
    with start(directory) as running:
        os.kill(pids(running)[name], signal.SIGKILL)
        assert running.wait() == 1
        assert running.stderr == [f"framepair: {name} ended with signal 9 (Killed)"]
        assert len(stopped(running)) == len(NAMES) - 1
        assert nothing_is_left(running, directory)


def test_a_duration_ends_even_what_hangs(directory: Path) -> None:
    duration = ("--duration", "0.1", "--window", "0.1", "--start-timeout", "0.1")
    with start(directory, *duration, SETTLE_S=0) as running:
        assert running.wait() == 0
        assert nothing_is_left(running, directory)


def test_a_killed_launcher_takes_its_nodes_with_it(directory: Path) -> None:
    with start(directory, script=DIES_WITH_LAUNCHER) as running:
        pids(running)
        running.process.kill()
        running.wait_until_gone()
        assert sorted(stopped(running)) == sorted(NAMES)
        assert list(directory.iterdir()) == []


def test_a_node_that_cannot_be_started_ends_everything(directory: Path) -> None:
    nodes = [(name, "producer", "obeys", STAND_IN) for name in ("\0", "right")]
    command = python("-c", DRIVER, json.dumps(nodes), "{}", "--run-dir", directory / "run")
    with Running(command) as running:
        assert running.wait() == 1
        assert running.stderr == ["framepair: cannot start \\x00: embedded null byte"]
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


def test_over_tcp_no_run_directory_is_made_unless_one_is_named(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(directory))
    with start(directory, "--listen", "tcp://127.0.0.1:5555", in_run_dir=False) as running:
        pids(running)
        assert list(directory.iterdir()) == []
        assert running.stop() == 0
    with start(directory, "--listen", "tcp://127.0.0.1:5555") as running:
        pids(running)
        assert [path.name for path in (directory / "run").iterdir()] == ["control"]
        assert running.stop() == 0
        assert nothing_is_left(running, directory)


def test_the_launcher_is_light_because_everything_waits_for_it() -> None:
    # It has one thread, too: nodes get the signal of its death from each thread that it had.
    script = """
import os, sys
from framepair.nodes.launcher import main as launch
launch.main(["--print"])
print(sorted({"numpy", "zmq", "cv2", "rich", "msgspec"} & set(sys.modules)), len(os.listdir("/proc/self/task")))
"""
    with Running(python("-c", script)) as running:
        running.wait()
        assert running.stdout[-1] == "[] 1"


def test_commands_for_a_reader_that_has_seen_enough_cause_no_traceback() -> None:
    shell = f"{shlex.join(launcher('--print'))} | true"
    with Running(["bash", "-o", "pipefail", "-c", shell]) as running:
        assert running.wait() == 0
        assert running.stderr == []
