"""What the launcher says before there is a pair."""

from __future__ import annotations

import os
import pty
import sys

import pytest

from framepair.nodes.launcher import commands, main
from framepair.nodes.launcher.commands import Node
from framepair.nodes.launcher.options import Options
from framepair.nodes.launcher.topology import plan


@pytest.fixture
def nodes() -> list[Node]:
    options = Options(sink="python model.py")
    return commands.table(options, plan(options))


def on_terminal(monkeypatch: pytest.MonkeyPatch, nodes: list[Node], *, quiet: bool) -> str:
    """Return the first line on a terminal, which is "nothing" if the launcher writes none."""
    outer, inner = pty.openpty()
    with os.fdopen(outer, "rb", buffering=0) as terminal, os.fdopen(inner, "w") as stderr:
        with monkeypatch.context() as patched:
            patched.setattr(sys, "stderr", stderr)
            main.say_start(nodes, quiet=quiet)
        print("nothing", file=stderr, flush=True)
        return terminal.readline().decode().rstrip()


def test_a_terminal_shows_at_once_what_is_being_started(
    monkeypatch: pytest.MonkeyPatch, nodes: list[Node]
) -> None:
    line = on_terminal(monkeypatch, nodes, quiet=False)
    assert line == "framepair: starting left, right, combiner, sink …"


def test_quiet_says_nothing_of_the_start(
    monkeypatch: pytest.MonkeyPatch, nodes: list[Node]
) -> None:
    assert on_terminal(monkeypatch, nodes, quiet=True) == "nothing"


def test_a_log_does_not_have_what_is_being_started(
    capfd: pytest.CaptureFixture[str], nodes: list[Node]
) -> None:
    main.say_start(nodes, quiet=False)
    assert capfd.readouterr().err == ""
