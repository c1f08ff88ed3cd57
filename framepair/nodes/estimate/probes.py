"""Looks at sources before a pipeline starts: a producer opens each, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from framepair.nodes.common import exit_codes
from framepair.nodes.common.parent_death import LAUNCHER_VARIABLE
from framepair.nodes.common.plain_words import variable
from framepair.nodes.launcher.names import descriptors
from framepair.nodes.launcher.options import Options
from framepair.nodes.launcher.python_path import python_path
from framepair.nodes.launcher.topology import Plan

# How many sources are looked at at a time: each takes a process, and a camera a few seconds.
AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Probe:
    """What a producer found when it looked at a source."""

    name: str
    found: dict[str, Any]
    """The format of its frames, empty if it could not be opened, or is a pipe that can be read only once."""
    complaint: str | None = None
    """Why it could not be opened, in one sentence."""
    refused: bool = False
    """Whether there can be no such source, now or later."""


def look(options: Options, plan: Plan, names: Sequence[str]) -> Iterator[Probe]:
    """Yield what is found of each source, some of them looked at at a time.

    A producer knows its libraries, and may crash in them.
    """
    for begin in range(0, len(names), AT_ONCE):
        batch = names[begin : begin + AT_ONCE]
        # From this thread: a producer ends with the thread that started it.
        started = [_start(options, plan, name) for name in batch]
        for name, process in zip(batch, started, strict=True):
            yield Probe(name, {}) if process is None else _result(name, process)


def _start(options: Options, plan: Plan, name: str) -> subprocess.Popen[str] | None:
    """Start a producer that looks at a source; None for a pipe, of which it would take what it has seen."""
    uri = plan.uris[name]
    if descriptors(uri):
        return None
    words = {
        "name": name,
        "payload": plan.payloads[name],
        "open-timeout": options.open_timeout,
        "read-timeout": options.read_timeout,
        **asdict(plan.asked[name]),
    }
    flags = [f"--{flag}={value}" for flag, value in words.items() if value is not None]
    environment = {LAUNCHER_VARIABLE: str(os.getpid()), variable("source"): uri}
    return subprocess.Popen(  # noqa: S603
        [sys.executable, "-P", "-m", "framepair.nodes.producer", "--probe", *flags],
        env={**os.environ, **python_path(), **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _result(name: str, process: subprocess.Popen[str]) -> Probe:
    said, errors = process.communicate()
    if process.returncode == 0:
        return Probe(name, json.loads(said))
    # A library may have said more before.
    last = (errors.strip().splitlines() or [f"it ended with {process.returncode}"])[-1]
    refused = process.returncode == exit_codes.USAGE
    return Probe(name, {}, last.removeprefix("producer: "), refused)
