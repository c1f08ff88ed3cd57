"""framepair with pixels as JPEG."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from bench.pair import pipeline
from bench.pair.design import Running, Setup

NAME = "framepair jpeg"


def run(setup: Setup, videos: Sequence[Path] = ()) -> AbstractContextManager[Running]:
    """Start the processes; stop them afterwards."""
    return pipeline.run(setup, "--payload", "jpeg", videos=videos)
