"""Where the benchmark puts its files for a while."""

from __future__ import annotations

from pathlib import Path

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - directories with random names are made in it
