"""The consumers in the documentation, each as the sink of a pipeline."""

from __future__ import annotations

import shlex
import signal
from contextlib import ExitStack
from pathlib import Path

import pytest

from framepair.nodes.common.options import variable
from framepair.protocol.transport.endpoints import SUB_VARIABLE
from tests.lib.launcher import SMALL, launcher
from tests.lib.pages import PAGES, blocks
from tests.lib.processes import ROOT, Running, python

BLOCKS = {
    f"{page.name} {number}": block
    for page in PAGES
    for number, block in enumerate(blocks(page, "python"))
}
BLOCKS |= {path.name: path.read_text() for path in sorted((ROOT / "examples").glob("*.py"))}
# Those that ask whether pixels are intact are for shared memory.
SHARED = {name for name, block in BLOCKS.items() if "intact" in block}


@pytest.mark.parametrize("payload", ["raw", "shm"])
def test_the_examples_get_pairs_and_stop(directory: Path, payload: str) -> None:
    names = SHARED if payload == "shm" else BLOCKS.keys() - SHARED
    run, shm = ("--run-dir", directory / "run"), ("--shm-dir", directory / "rings")
    command = launcher(*run, *shm, "--window", "0.2", "--payload", payload, *SMALL)
    first, *others = sorted(names)
    files = {name: directory / f"{number}.py" for number, name in enumerate(sorted(names))}
    for name, file in files.items():
        file.write_text(BLOCKS[name])
    environment = {
        "PYTHONUNBUFFERED": "1",
        SUB_VARIABLE: f"ipc://{directory}/run/pairs",
        variable("shm_dir"): str(directory / "rings"),
    }
    sink = ("--sink", shlex.join(python(files[first])))
    with ExitStack() as stack:
        launched = stack.enter_context(Running([*command, *sink], cwd=directory, env=environment))
        beside = [
            stack.enter_context(Running(python(files[name]), cwd=directory, env=environment))
            for name in others
        ]
        for running in (launched, *beside):
            # A line per pair: the first word of each is the number of its window.
            running.wait_for(r"^\d+", count=2)
        # As the launcher ends the consumer that is its own.
        assert {running.stop(signal.SIGTERM) for running in beside} <= {0, -signal.SIGTERM}
        assert launched.stop() == 0
        for running in (launched, *beside):
            said = " ".join(running.stderr)
            assert "Traceback" not in said
            assert "malformed" not in said
        assert launched.processes() == []
