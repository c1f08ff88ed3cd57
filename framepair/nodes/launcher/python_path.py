"""Where the processes that the launcher starts find the project."""

from __future__ import annotations

import os
import sys
from pathlib import Path

# The directory that holds the package framepair.
ROOT = Path(__file__).resolve().parents[3]


def python_path() -> dict[str, str]:
    """Return the environment in which an interpreter finds this very package, from any directory."""
    # sys.path[0] is the script's directory, or the current one: a node has neither.
    if any(Path(entry).resolve() == ROOT for entry in sys.path[1:] if entry):
        return {}
    inherited = os.environ.get("PYTHONPATH")
    return {"PYTHONPATH": f"{ROOT}{os.pathsep}{inherited}" if inherited else str(ROOT)}
