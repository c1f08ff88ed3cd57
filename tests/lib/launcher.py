"""The launcher, as tests start it."""

from __future__ import annotations

from pathlib import Path

from tests.lib.processes import ROOT, python

# Two sources that cost a busy machine little.
SMALL = ("left=synthetic://160x120@25", "right=synthetic://160x120@25")


def launcher(*arguments: str | Path) -> list[str]:
    """Return the command that runs the launcher with ``arguments``."""
    return python(ROOT / "launch.py", *arguments)
