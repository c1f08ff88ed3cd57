"""What every way for frames has: two ends, each opened in a process of its own."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from multiprocessing.context import SpawnContext
from pathlib import Path
from typing import Any, Protocol

from bench.frames import Frame, Shape

# A receiver keeps the newest frames, as whoever gathers a second of them has to: no way can get by with
# one buffer that stays in the processor's cache.
HELD = 16
# More are not sent before the receiver has taken some.
IN_FLIGHT = 6
# Every pool of frames, ours and theirs, has so many: those held, those in flight, and two to work with.
POOL = HELD + IN_FLIGHT + 2

Send = Callable[[Frame], None]
# Whatever is returned beside the frame is kept as long as the frame.
Receive = Callable[[], tuple[Frame, Any]]


@dataclass(frozen=True, slots=True)
class Place:
    """Where the two ends meet: a directory of their own, and what one process hands to its children."""

    directory: Path
    shape: Shape
    link: Any = None


class Way(Protocol):
    """A module of this package: one way to send frames."""

    NAME: str
    """What it is called in tables."""
    NEEDS: tuple[str, ...]
    """Modules that have to be installed."""

    def link(self, context: SpawnContext, directory: Path) -> Any:
        """Return what both ends get from the process that starts them: a queue, a pipe, an address."""

    def sender(self, place: Place) -> AbstractContextManager[Send]:
        """Open the end that sends."""

    def receiver(self, place: Place) -> AbstractContextManager[Receive]:
        """Open the end that receives."""
