"""Where the processes that the launcher starts find the project."""

from __future__ import annotations

import os
import sys
from pathlib import Path

# The directory that holds the package framepair.
ROOT = Path(__file__).resolve().parents[3]


def python_path() -> dict[str, str]:
    """Return what has the nodes found in this directory if they aren't installed, wherever one is."""
    if str(ROOT) in sys.path[1:]:
        return {}
    inherited = os.environ.get("PYTHONPATH")
    return {"PYTHONPATH": f"{ROOT}{os.pathsep}{inherited}" if inherited else str(ROOT)}
