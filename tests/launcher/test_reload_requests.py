"""Requests for other sources, one after the other, and what is kept of each."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from framepair.nodes.common import sources_file
from framepair.nodes.launcher import commands, reload_plan, topology
from framepair.nodes.launcher.cleanup import Leftovers
from framepair.nodes.launcher.events import Changed
from framepair.nodes.launcher.guard import Guard
from framepair.nodes.launcher.options import Options
from framepair.nodes.launcher.reload_requests import Reloader

LEFT, RIGHT, DOOR = (f"{name}=synthetic://" for name in ("left", "right", "door"))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "run").mkdir()
    return tmp_path / "run" / "sources.toml"


@pytest.fixture
def reloader(file: Path) -> Reloader:
    """Return one whose pipeline has left and right, and is asked for a door more."""
    options = Options(sources=(LEFT, RIGHT), config=Path("pipeline.toml"), run_dir=Path("/tmp/fp"))
    plan = topology.plan(options)
    running = reload_plan.running(options, plan, commands.table(options, plan))
    asked = replace(options, sources=(LEFT, RIGHT, DOOR))
    return Reloader(running, lambda _: asked, None, file, Guard(Leftovers(), None), ("python",))


def names(file: Path) -> list[str]:
    found = sources_file.read(file)
    assert found is not None
    return list(found.addresses)


def test_a_list_that_was_not_taken_is_taken_back_and_the_next_request_made(
    reloader: Reloader, file: Path
) -> None:
    for _ in range(2):
        reloader.ask()
        change = reloader.next()
        assert change is not None
        assert [node.key for node in change.added] == ["door"]
        assert names(file) == ["left", "right", "door"]
        reloader.finish(Changed(1, "the combiner did not answer", is_taken=False))
        assert names(file) == ["left", "right"]


def test_a_source_that_was_dropped_is_started_again_by_the_next_request(
    reloader: Reloader, file: Path
) -> None:
    reloader.ask()
    change = reloader.next()
    assert change is not None
    reloader.finish(Changed(1, "door: cannot open it", dropped=change.added))
    assert names(file) == ["left", "right", "door"]
    reloader.ask()
    again = reloader.next()
    assert again is not None
    assert (again.version, again.added) == (None, change.added)


def test_a_list_that_cannot_be_taken_back_is_said(
    reloader: Reloader, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reloader.ask()
    assert reloader.next() is not None
    shutil.rmtree(file.parent)
    reloader.finish(Changed(2, "the combiner refused it", is_taken=False))
    said = capsys.readouterr().err
    assert f"cannot write {file}: No such file or directory" in said
    assert "the combiner refused it" in said
