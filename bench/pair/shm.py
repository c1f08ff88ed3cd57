"""framepair with pixels in shared memory."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager

from bench.pair import pipeline
from bench.pair.design import Running, Setup

NAME = "framepair shm"


def run(setup: Setup, flags: Sequence[str] = ()) -> AbstractContextManager[Running]:
    """Start the processes; stop them afterwards."""
    return pipeline.run(setup, "--payload", "shm", *flags)
