"""The launcher's command line, in each of the ways to start it: verbs, printed commands, bad usage."""

from __future__ import annotations

import json
import os
import shlex
import sys
from pathlib import Path

import pytest

from framepair import __version__
from tests.lib.launcher import SMALL, launcher
from tests.lib.processes import Running, python

WAYS = {
    "launch.py": launcher(),
    "framepair": [str(Path(sys.executable).with_name("framepair"))],
    "-m framepair": python("-m", "framepair"),
    "-m framepair.nodes.launcher": python("-m", "framepair.nodes.launcher"),
}


def said(way: str, words: str, directory: Path) -> tuple[int, list[str], list[str]]:
    with Running([*WAYS[way], *words.split()], cwd=directory) as running:
        return running.wait(), running.stdout, running.stderr


@pytest.mark.parametrize("way", WAYS)
def test_all_ways_to_start_it_take_the_same(way: str, directory: Path) -> None:
    if not os.access(WAYS[way][0], os.X_OK):
        pytest.skip("not installed")
    assert said(way, "--version", directory) == (0, [f"framepair {__version__}"], [])
    sentence = (
        "framepair: rleoad is no command and no file: did you mean reload? Otherwise say ./rleoad"
    )
    assert said(way, "rleoad", directory) == (2, [], [sentence])


def test_verbs_are_told_from_sources(directory: Path) -> None:
    code, out, _ = said("launch.py", "--help", directory)
    assert (code, out[0]) == (0, "Usage: framepair [SOURCES] [OPTIONS]")
    code, out, _ = said("launch.py", "commands a.mp4", directory)
    assert code == 0
    assert "--name a" in out[0]
    assert said("launch.py", "keygen keys", directory)[0] == 0
    assert (directory / "keys" / "server.key_secret").exists()


@pytest.mark.parametrize("flag", ["--help", "--help-all", "--version", "--print"])
def test_a_reader_that_has_seen_enough_causes_no_traceback(flag: str) -> None:
    for reader in ("head -1", "true"):
        shell = f"{shlex.join(launcher(flag))} | {reader}"
        with Running(["bash", "-o", "pipefail", "-c", shell]) as running:
            assert running.wait() == 0
            assert running.stderr == []


READERS = {
    "a node's help": python("-m", "framepair.nodes.sink", "--help"),
    "a plan": launcher("plan"),
    "a plan as JSON": launcher("plan", "--json", "-"),
}


@pytest.mark.parametrize("what", READERS)
def test_a_reader_of_a_node_may_leave_too(what: str) -> None:
    with Running(
        ["bash", "-o", "pipefail", "-c", f"{shlex.join(READERS[what])} | head -1"]
    ) as running:
        assert running.wait() == 0
        assert "Traceback" not in running.stderr


def test_a_report_on_stdout_has_it_for_itself(directory: Path) -> None:
    command = launcher("--json", "-", "--run-dir", directory / "run", "--duration", "1", *SMALL)
    with Running(command) as running:
        assert running.wait() == 0
        assert json.loads("\n".join(running.stdout))["ledger_balanced"]
        assert any("The ledger balances" in line for line in running.stderr)
    with Running(launcher("plan", "--json", "-", *SMALL)) as running:
        assert running.wait() == 0
        assert json.loads("\n".join(running.stdout))["refusals"] == []
        assert any("MB" in line for line in running.stderr)


SECRET_URL = "rtsp://admin:secret@10.0.0.7/live?a=b"


def show(directory: Path, *arguments: str | Path) -> Running:
    return Running(launcher("--print", *arguments), cwd=directory)


def test_printed_commands_mean_the_same_in_any_directory(directory: Path) -> None:
    (directory / "my cam.mp4").touch()
    with show(directory, "my cam.mp4", "missing.mp4", "--json", "r.json", "--run-dir", "run") as it:
        assert it.wait() == 0
        commands = [shlex.split(line) for line in it.stdout]
    assert [command[:3] for command in commands] == [
        ["python", "-m", f"framepair.nodes.{node}"]
        for node in ("producer", "producer", "combiner", "sink")
    ]
    assert str(directory / "my cam.mp4") in commands[0]
    assert str(directory / "missing.mp4") in commands[1]
    assert f"ipc://{directory}/run/pairs" in commands[2]
    assert str(directory / "r.json") in commands[3]
    assert [path.name for path in directory.iterdir()] == ["my cam.mp4"]


def test_a_printed_password_is_runnable_and_warned_of(directory: Path) -> None:
    with show(directory, f"left={SECRET_URL}") as it:
        assert it.wait() == 0
        assert f"FRAMEPAIR_SOURCE='{SECRET_URL}' python -m framepair.nodes.producer" in it.stdout[0]
        assert it.stderr == ["framepair: an address below may hold a password"]


def test_a_printed_duration_has_no_time_to_count_from(directory: Path) -> None:
    with show(directory, "--duration", "10") as it:
        assert it.wait() == 0
        assert "--until" not in " ".join(it.stdout)
        assert "--until" in it.stderr[0]
    with show(directory, "--duration", "10", "--pace", "max") as it:
        assert it.wait() == 0
        assert "--until 10" in it.stdout[0]
        assert it.stderr == []


@pytest.mark.parametrize(
    "arguments",
    [
        "--foo",
        "a=1.mp4 a=2.mp4",
        "left=",
        "--listen 127.0.0.1:5",
        "--config missing.toml",
        "--window 0",
    ],
)
def test_bad_usage_is_one_sentence_and_exit_code_2(directory: Path, arguments: str) -> None:
    with show(directory, *arguments.split()) as it:
        assert it.wait() == 2
        assert it.stdout == []
        assert len(it.stderr) == 1
        assert it.stderr[0].startswith("framepair: ")
    assert list(directory.iterdir()) == []


def test_what_cannot_be_used_is_said_without_its_password(directory: Path) -> None:
    file = directory / "pipeline.toml"
    file.write_text('pace = "rtsp://u:hunter2@h/x"')
    with Running(launcher("plan", "--config", file)) as running:
        assert running.wait() == 2
        assert len(running.stderr) == 1
        assert running.stderr[0].startswith('framepair: Invalid value "rtsp://…" for [pace]')
        assert "hunter2" not in "".join(running.lines)


@pytest.mark.parametrize("variable", ["FRAMEPAIR_LOG_LEVEL=LOUD", "FRAMEPAIR_UTC_OFFSET_NS=1.5"])
def test_a_mistyped_variable_is_one_sentence_in_a_node(variable: str) -> None:
    node = python("-m", "framepair.nodes.combiner", "--pub", "ipc:///tmp/none", "--pull", "left=x")
    with Running(["env", variable, *node]) as running:
        assert running.wait() == 2
        (sentence,) = running.stderr
        name, _, value = variable.partition("=")
        assert sentence.startswith(f"combiner: {name} is '{value}'")


def test_a_mistyped_offset_is_one_sentence_in_the_launcher(directory: Path) -> None:
    words = ["env", "FRAMEPAIR_UTC_OFFSET_NS=1.5", *launcher("--no-sink", "--run-dir", directory)]
    with Running(words) as running:
        assert running.wait() == 2
        (sentence,) = running.stderr
        assert sentence.startswith("framepair: FRAMEPAIR_UTC_OFFSET_NS is '1.5'")


def test_without_a_consumer_it_says_where_to_subscribe(directory: Path) -> None:
    with Running(launcher("--no-sink", "--run-dir", directory)) as running:
        running.wait_for(f"framepair: pairs at ipc://{directory}/pairs")
        assert running.stop() == 0
        assert running.stdout == []
