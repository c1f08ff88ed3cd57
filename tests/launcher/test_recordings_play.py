"""Sources of a recording begin together: when the launcher lets them, and how producers hear of it."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from framepair.nodes.launcher import commands, topology
from framepair.nodes.launcher.commands import Kind, Node
from framepair.nodes.launcher.events import Action, Ended, Heard, PlayAt, Start
from framepair.nodes.launcher.options import Options
from framepair.nodes.launcher.supervisor import PLAY_AFTER_S, Rules, Supervisor
from framepair.nodes.recorder import main
from framepair.protocol.transport.heartbeat import DESCRIPTOR_VARIABLE, Heartbeat


def node(name: str, kind: Kind, *, plays: bool = False) -> Node:
    return Node(name, kind, (name,), plays=plays)


LEFT, RIGHT = (node(name, "producer", plays=True) for name in ("left", "right"))
CAMERA, COMBINER, SINK = node("camera", "producer"), node("c", "combiner"), node("s", "sink")
NODES = (LEFT, RIGHT, CAMERA, COMBINER, SINK)


def played(actions: list[Action]) -> list[tuple[Node, int]]:
    return [(action.node, action.at_ns) for action in actions if isinstance(action, PlayAt)]


def test_recordings_begin_once_all_are_open_and_somebody_listens() -> None:
    supervisor = Supervisor(NODES, Rules({one.key: 10.0 for one in NODES}, 5.0), 1000.0)
    supervisor.begin()
    # A camera may take its time.
    for place, one in enumerate((LEFT, COMBINER, RIGHT)):
        assert played(supervisor.handle(Heard(one, "ready"), 1000.0 + place / 10)) == []
    at_ns = round((1000.5 + PLAY_AFTER_S) * 1e9)
    told = played(supervisor.handle(Heard(SINK, "ready"), 1000.5))
    assert told == [(LEFT, at_ns), (RIGHT, at_ns)]
    assert played(supervisor.handle(Heard(CAMERA, "ready"), 1001.0)) == []
    # One that comes back goes on with the others.
    supervisor.handle(Ended(RIGHT, 1), 1002.0)
    now_s = 1002.0
    while not any(isinstance(action, Start) for action in supervisor.handle(None, now_s)):
        now_s += 0.1
    assert played(supervisor.handle(Heard(RIGHT, "ready"), now_s)) == [(RIGHT, at_ns)]


def test_a_producer_hears_when_to_begin_and_when_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, launchers = socket.socketpair()
    with ours, launchers:
        monkeypatch.setenv(DESCRIPTOR_VARIABLE, str(os.dup(ours.fileno())))
        heartbeat = Heartbeat()
        assert heartbeat.has_launcher
        assert heartbeat.read_play_ns() is None
        launchers.send(b"play 123\nunt")
        assert (heartbeat.read_play_ns(), heartbeat.read_until_ns()) == (123, None)
        launchers.send(b"il 456\n")
        assert (heartbeat.read_until_ns(), heartbeat.read_play_ns()) == (456, 123)
        os.close(int(os.environ[DESCRIPTOR_VARIABLE]))
    monkeypatch.delenv(DESCRIPTOR_VARIABLE)
    assert not Heartbeat().has_launcher


def test_a_pipeline_that_is_recorded_has_a_recorder_that_is_told_how() -> None:
    asked = Options(record=Path("lane"), record_codec="raw", record_keep="7d", pace="max")
    planned = topology.plan(asked)
    by_kind = {node.kind: node for node in commands.table(asked, planned)}
    command = " ".join(by_kind["recorder"].command)
    assert f"--directory {Path.cwd()}/lane --sub {planned.endpoints.pub}" in command
    assert "--record-codec raw --record-keep 7d" in command
    # With pace max the first pair waits for both consumers.
    assert "--consumers 2" in " ".join(by_kind["combiner"].command)
    main.app.parse_args(by_kind["recorder"].command[3:], exit_on_error=False, print_error=False)
