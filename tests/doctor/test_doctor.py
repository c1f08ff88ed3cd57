"""What framepair doctor finds, and that it starts and leaves nothing."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from framepair.nodes.doctor import machine, main, pipeline
from framepair.nodes.doctor.finding import Finding
from framepair.nodes.estimate import probes
from framepair.nodes.estimate.probes import Probe
from framepair.nodes.launcher import run_dir
from framepair.nodes.launcher.options import Options
from framepair.nodes.launcher.topology import plan
from framepair.protocol.transport import keys
from tests.lib.launcher import launcher
from tests.lib.pipeline import free_ports
from tests.lib.processes import Running

FULL_HD = {"shape": [1080, 1920, 3], "fps": 25.0, "encoding": "bgr8", "message_bytes": None}


@pytest.fixture
def asked(directory: Path) -> Options:
    return Options(("left=a.mp4", "right=rtsp://user:secret@10.0.0.7/x"), run_dir=directory / "run")


def found(check: pipeline.Check, options: Options) -> list[tuple[str, str, str]]:
    return [(one.level, one.what, one.said) for one in check(options, plan(options))]


def test_the_machine_has_what_tests_need() -> None:
    assert [one.level for one in machine.libraries()] == ["ok"]
    assert [one.level for one in machine.decoders()] == ["ok"]
    assert all(one.level in ("ok", "note") for one in machine.wall_clock())


def test_a_library_that_is_missing_is_in_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(machine.LIBRARIES, "no_such_module", "no-such")
    levels = {one.level for one in machine.libraries()}
    assert levels == {"ok", "bad"}


def test_a_clock_that_nothing_keeps_right_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    class Library:
        def __init__(self, state: int) -> None:
            self.adjtimex = lambda _buffer: state

    for state, levels in (5, ["note"]), (0, ["ok"]), (-1, []):
        monkeypatch.setattr("ctypes.CDLL", lambda _name, state=state: Library(state))
        assert [one.level for one in machine.wall_clock()] == levels


def test_the_run_directory_is_free_or_another_pipelines(asked: Options, directory: Path) -> None:
    assert found(pipeline.place, asked)[0][0] == "ok"
    assert list(directory.iterdir()) == []
    with run_dir.locked(directory / "run"):
        [(level, _, said)] = found(pipeline.place, asked)
    assert level == "bad"
    assert "is in use by process" in said


def test_ports_and_keys_of_a_network(asked: Options, directory: Path) -> None:
    port = free_ports(4)
    keys.make(directory / "keys")
    listen = f"tcp://127.0.0.1:{port}"
    asked = replace(asked, listen=listen, keys=directory / "keys")
    assert [level for level, _, _ in found(pipeline.addresses, asked)] == ["ok"]
    assert [said.rpartition(": ")[2] for _, _, said in found(pipeline.keys, asked)] == [
        "the combiner's, and of 1 clients",
        "a client's",
    ]
    (directory / "keys" / "server.key_secret").chmod(0o644)
    [(level, _, said)] = found(pipeline.keys, asked)
    assert (level, "chmod 600 it" in said) == ("bad", True)
    with socket.create_server(("127.0.0.1", port)):
        [(level, _, said)] = found(pipeline.addresses, asked)
        assert (level, "is in use by process" in said) == ("bad", True)
        elsewhere = replace(asked, hosts=("combiner=nuc", "left=here"), host="here")
        assert [level for level, _, _ in found(pipeline.addresses, elsewhere)] == ["ok"]
    [(level, _, said)] = found(pipeline.addresses, elsewhere)
    assert (level, "does not answer" in said) == ("note", True)


def test_the_port_of_a_page(asked: Options, directory: Path) -> None:
    port = free_ports(1)
    asked = replace(asked, monitor=f":{port}")
    assert found(pipeline.addresses, asked) == [("ok", "ports", f"tcp://127.0.0.1:{port} is free")]
    with socket.create_server(("127.0.0.1", port)):
        [(level, _, said)] = found(pipeline.addresses, asked)
    assert (level, "is in use by process" in said) == ("bad", True)


def look(*probed: Probe) -> object:
    """Return what is found of sources in place of producers that look at them."""

    def fake(_options: Options, _plan: object, names: Sequence[str]) -> list[Probe]:
        return [one for one in probed if one.name in names]

    return fake


def test_sources_one_line_each_and_memory(asked: Options, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = Probe("right", {}, "source right: it cannot be opened: 401 Unauthorized")
    monkeypatch.setattr(probes, "look", look(Probe("left", FULL_HD), gone))
    asked = replace(asked, sources=("left=0", asked.sources[1]))
    lines = found(pipeline.sources, asked)
    assert lines[0] == ("ok", "source left", "1920x1080 bgr8 at 25 frames a second")
    assert lines[1] == ("bad", "source right", "it cannot be opened: 401 Unauthorized")
    assert lines[2][1] == "memory"
    assert found(pipeline.sources, replace(asked, wait=True))[1][0] == "note"


def test_a_file_that_is_missing_is_not_looked_at(
    asked: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probes, "look", look(Probe("left", FULL_HD), Probe("right", FULL_HD)))
    assert [line[:2] for line in found(pipeline.sources, asked)] == [
        ("bad", "source left"),
        ("ok", "source right"),
    ]


def test_a_configuration_that_cannot_be_is_said_and_nothing_else_looked_at(asked: Options) -> None:
    last = list(main.examine(replace(asked, sources=("a=0", "a=1"))))[-1]
    assert last == Finding(
        "bad", "configuration", "more than one source is called a: give each its own name"
    )


def test_the_command_prints_a_line_each_without_secrets_and_exits_with_1(directory: Path) -> None:
    sources = ("left=synthetic://160x120@25", "right=rtsp://user:secret@127.0.0.1:9/x")
    command = launcher("doctor", *sources, "--run-dir", directory / "run", "--open-timeout", "1")
    with Running(command) as running:
        assert running.wait() == 1
    assert "ok    source left: 160x120 bgr8 at 25 frames a second" in running.stdout
    assert any(line.startswith("bad   source right: ") for line in running.stdout)
    assert not any("secret" in line for line in running.lines)
    assert list(directory.iterdir()) == []
