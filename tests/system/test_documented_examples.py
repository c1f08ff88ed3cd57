"""The programs in the documentation, beside a pipeline that runs, and some as its sink."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import shlex
import signal
import urllib.request
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from framepair import testing
from tests.lib.launcher import SMALL, launcher
from tests.lib.pages import PAGES, blocks
from tests.lib.processes import ROOT, Running, python

BLOCKS = {
    f"{page.name} {number}": block
    for page in PAGES
    for number, block in enumerate(blocks(page, "python"))
}
BLOCKS |= {path.name: path.read_text() for path in sorted((ROOT / "examples").glob("*.py"))}
# What these programs are about need not be installed.
OPTIONAL = re.compile(r"^(?:import|from) (torch|PySide6)\b", re.MULTILINE)
NEEDS = {name: OPTIONAL.search(block) for name, block in BLOCKS.items()}
# Those that ask whether pixels are intact are for shared memory.
SHARED = [name for name, block in BLOCKS.items() if "intact" in block]
RAW = [name for name in BLOCKS if name not in SHARED and not NEEDS[name]]
# What listens there by default takes any free port here, as its argument.
PORT = "8080"
JPEG = b"\xff\xd8"
# So many start at the same time.
AT_ONCE = 8
GROUPS = [("shm", SHARED), *(("raw", RAW[i : i + AT_ONCE]) for i in range(0, len(RAW), AT_ONCE))]


@pytest.mark.parametrize(("payload", "names"), GROUPS)
def test_the_examples_get_pairs(directory: Path, payload: str, names: Sequence[str]) -> None:
    check(directory, payload, names)


@pytest.mark.parametrize("name", [name for name, needed in NEEDS.items() if needed])
def test_an_example_with_another_library_gets_pairs(directory: Path, name: str) -> None:
    needed = NEEDS[name]
    if needed and importlib.util.find_spec(needed[1]) is None:
        pytest.skip(f"{needed[1]} is not installed")
    check(directory, "raw", [name])


def check(directory: Path, payload: str, names: Sequence[str]) -> None:
    """Run programs beside a pipeline, until each has said twice what it took."""
    with testing.pipeline(flags=["--payload", payload]) as pipeline, ExitStack() as stack:
        environment = {**pipeline.environment(), "PYTHONUNBUFFERED": "1"}
        started = []
        for number, name in enumerate(names):
            file = directory / f"program{number}.py"
            file.write_text(BLOCKS[name])
            port = ("0",) if PORT in BLOCKS[name] else ()
            running = Running(python(file, *port), cwd=directory, env=environment)
            started.append(stack.enter_context(running))
        for running in started:
            # The first word of each line is a number: of a window, or a frame.
            running.wait_for(r"^\d+", count=2)
            check_page(running)
            with contextlib.suppress(ProcessLookupError):
                # Also what it has started.
                os.killpg(running.process.pid, signal.SIGTERM)
            running.wait()
            said = " ".join(running.stderr)
            assert "Traceback" not in said
            assert "malformed" not in said


def check_page(running: Running) -> None:
    """Get the picture of a program that has printed an address."""
    for address in [line for line in running.stdout if line.startswith("http://")]:
        with urllib.request.urlopen(address, timeout=30) as response:
            assert (response.status, response.read(2)) == (200, JPEG)


def test_an_example_stops_with_its_pipeline(directory: Path) -> None:
    sink = shlex.join(python(ROOT / "examples" / "side_by_side.py"))
    command = launcher("--run-dir", directory / "run", "--window", "0.2", "--sink", sink, *SMALL)
    with Running(command, cwd=directory, env={"PYTHONUNBUFFERED": "1"}) as running:
        running.wait_for(r"^\d+", count=2)
        assert running.stop() == 0
        assert not any("Traceback" in line or "malformed" in line for line in running.stderr)
        assert running.processes() == []
