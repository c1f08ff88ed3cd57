"""What every design has: processes that run until they are stopped, and a consumer that tells of pairs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnContext
from pathlib import Path
from typing import Protocol

from bench.frames import FULL_HD, Shape

FPS = 25
WINDOW_NS = 1_000_000_000


class NoPairs(RuntimeError):  # noqa: N818 - it says what happened
    """A design that delivered nothing at all."""


@dataclass(frozen=True, slots=True)
class Setup:
    """How many videos of which size are to be paired, and where files may be put."""

    context: SpawnContext
    directory: Path
    sources: int
    shape: Shape = FULL_HD

    @property
    def names(self) -> list[str]:
        """What the sources are called."""
        return [f"source{number}" for number in range(self.sources)]


@dataclass(frozen=True, slots=True)
class Record:
    """A pair that the consumer has: its window, its newest frame's capture, its arrival, its frames."""

    window: int
    newest_ns: int
    ready_ns: int
    frames: int


@dataclass(frozen=True, slots=True)
class Running:
    """A design at work.

    Records come through ``records``; ``pids`` returns its processes, ``alive`` whether they still run.
    """

    records: Connection
    pids: Callable[[], list[int]]
    alive: Callable[[], bool]


Run = Callable[[Setup], AbstractContextManager[Running]]


class Design(Protocol):
    """A module of this package."""

    NAME: str
    """What it is called in tables."""

    def run(self, setup: Setup) -> AbstractContextManager[Running]:
        """Start the processes; stop them afterwards."""
