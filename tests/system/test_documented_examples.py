"""The consumers in the documentation, each as the sink of a pipeline."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from tests.lib.launcher import SMALL, launcher
from tests.lib.pages import PAGES, blocks
from tests.lib.processes import ROOT, Running, python

BLOCKS = {
    f"{page.name} {number}": block
    for page in PAGES
    for number, block in enumerate(blocks(page, "python"))
}
BLOCKS |= {path.name: path.read_text() for path in sorted((ROOT / "examples").glob("*.py"))}
PAYLOADS = {
    name: ("--payload", "shm") if "intact" in block else () for name, block in BLOCKS.items()
}


@pytest.mark.parametrize("name", BLOCKS)
def test_an_example_gets_pairs_and_stops(directory: Path, name: str) -> None:
    example = directory / "example.py"
    example.write_text(BLOCKS[name])
    sink = shlex.join(python(example))
    flags = ("--run-dir", directory / "run", "--shm-dir", directory / "rings", "--window", "0.2")
    command = launcher(*flags, "--sink", sink, *PAYLOADS[name], *SMALL)
    with Running(command, cwd=directory, env={"PYTHONUNBUFFERED": "1"}) as running:
        # A line per pair: the first word of each is the number of its window.
        running.wait_for(r"^\d+", count=2)
        assert running.stop() == 0
        assert not any("Traceback" in line or "malformed" in line for line in running.stderr)
        assert running.processes() == []
