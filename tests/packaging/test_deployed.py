"""The files under deploy/ fit the package: versions for its dependencies, flags that it has, few rights."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from framepair.nodes.launcher import verbs
from tests.lib.processes import ROOT

UNIT = ROOT / "deploy" / "systemd" / "framepair.service"
# What systemd-analyze calls OK ends at 4 or so.
MOST_EXPOSED = 3.0


def test_the_image_has_a_version_of_each_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = {re.split(r"[<>=!~;\[ ]", line)[0] for line in project["dependencies"]}
    lines = (ROOT / "deploy" / "constraints.txt").read_text().splitlines()
    pinned = dict(line.split("==") for line in lines if not line.startswith("#"))
    # A container has no screen.
    assert {name.replace("opencv-python", "opencv-python-headless") for name in needed} <= set(
        pinned
    )
    assert all(re.fullmatch(r"\d+(\.\d+)+", version) for version in pinned.values())


def test_the_command_of_the_unit_is_accepted(tmp_path: Path) -> None:
    (tmp_path / "pipeline.toml").write_text("[sources]\nleft = 0\n")
    [line] = re.findall("^ExecStart=(.*)$", UNIT.read_text(), re.MULTILINE)
    program, *words = shlex.split(line.replace("${CREDENTIALS_DIRECTORY}", str(tmp_path)))
    assert program.endswith("/framepair")
    asked = verbs.read(words)
    assert asked is not None
    assert (asked.sources, asked.wait, asked.report_every_s) == (("left=0",), True, 3600.0)


def test_a_reload_of_the_service_reads_the_file_that_root_has_written() -> None:
    text = UNIT.read_text()
    [line] = re.findall("^ExecReload=[+](.*)$", text, re.MULTILINE)
    program, *words = shlex.split(line)
    assert program == "/opt/framepair/bin/framepair"
    [source] = re.findall("^LoadCredential=pipeline.toml:(.*)$", text, re.MULTILINE)
    assert words == ["reload", "--config", source]
    assert verbs.program(words)


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")
def test_the_service_has_few_rights() -> None:
    command = ["systemd-analyze", "security", "--offline=true", str(UNIT)]
    said = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60).stdout
    found = re.search(r"Overall exposure level for framepair.service: (\d+\.\d)", said)
    assert found is not None, said
    assert float(found[1]) <= MOST_EXPOSED
