"""framepair with pixels in messages over Unix sockets."""

from __future__ import annotations

from contextlib import AbstractContextManager

from bench.pair import pipeline
from bench.pair.design import Running, Setup

NAME = "framepair raw"


def run(setup: Setup) -> AbstractContextManager[Running]:
    """Start the processes; stop them afterwards."""
    return pipeline.run(setup)
