"""faster-fifo: a circular buffer of bytes in shared memory, with the frame pickled."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from multiprocessing.context import SpawnContext
from pathlib import Path
from typing import Any

from bench.frames import FULL_HD
from bench.hop.way import IN_FLIGHT, Place, Receive, Send

NAME = "faster-fifo"
NEEDS = ("faster_fifo",)
PICKLE_BYTES = 1024


def link(context: SpawnContext, directory: Path) -> Any:  # noqa: ARG001
    """Return the queue."""
    import faster_fifo

    # Without this module a queue cannot be handed to a process that is not a fork.
    import faster_fifo_reduction  # noqa: F401

    return faster_fifo.Queue(IN_FLIGHT * (math.prod(FULL_HD) + PICKLE_BYTES))


@contextlib.contextmanager
def sender(place: Place) -> Iterator[Send]:
    """Put frames."""
    yield place.link.put


@contextlib.contextmanager
def receiver(place: Place) -> Iterator[Receive]:
    """Get one frame at a time."""

    def get() -> tuple[Any, None]:
        return place.link.get_many(max_messages_to_get=1)[0], None

    place.link.reallocate_msg_buffer(math.prod(place.shape) + PICKLE_BYTES)
    yield get
