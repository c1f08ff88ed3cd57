"""The standard library's queue: pickled by a thread, through a pipe."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from multiprocessing.context import SpawnContext
from pathlib import Path
from typing import Any

from bench.hop.way import IN_FLIGHT, Place, Receive, Send

NAME = "multiprocessing.Queue"
NEEDS: tuple[str, ...] = ()


def link(context: SpawnContext, directory: Path) -> Any:  # noqa: ARG001
    """Return the queue."""
    return context.Queue(IN_FLIGHT)


@contextlib.contextmanager
def sender(place: Place) -> Iterator[Send]:
    """Put frames."""
    yield place.link.put


@contextlib.contextmanager
def receiver(place: Place) -> Iterator[Receive]:
    """Get frames."""
    yield lambda: (place.link.get(), None)
