"""The standard library's pipe, with the frame pickled."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from multiprocessing.context import SpawnContext
from pathlib import Path
from typing import Any

from bench.hop.way import Place, Receive, Send

NAME = "Pipe, pickled"
NEEDS: tuple[str, ...] = ()


def link(context: SpawnContext, directory: Path) -> Any:  # noqa: ARG001
    """Return the pipe's two ends."""
    return context.Pipe(duplex=False)


@contextlib.contextmanager
def sender(place: Place) -> Iterator[Send]:
    """Send frames as objects."""
    _, end = place.link
    yield end.send


@contextlib.contextmanager
def receiver(place: Place) -> Iterator[Receive]:
    """Receive them."""
    end, _ = place.link
    yield lambda: (end.recv(), None)
