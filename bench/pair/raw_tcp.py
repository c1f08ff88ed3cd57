"""framepair with pixels in messages over TCP on the loopback interface."""

from __future__ import annotations

import random
from contextlib import AbstractContextManager

from bench.pair import pipeline
from bench.pair.design import Running, Setup

NAME = "framepair raw, tcp"
# Below those that the kernel hands out to whoever connects.
PORTS = range(20_000, 32_000)


def run(setup: Setup) -> AbstractContextManager[Running]:
    """Start the processes; stop them afterwards."""
    address = f"tcp://127.0.0.1:{random.choice(PORTS)}"
    return pipeline.run(setup, "--listen", address, address=address)
