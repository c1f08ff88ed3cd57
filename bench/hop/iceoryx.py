"""iceoryx2: a publisher's pool in shared memory; writing the frame there is part of it."""

from __future__ import annotations

import contextlib
import ctypes
import math
import time
from collections.abc import Iterator
from multiprocessing.context import SpawnContext
from pathlib import Path
from typing import Any

import numpy as np

from bench.frames import Frame
from bench.hop.way import HELD, IN_FLIGHT, Place, Receive, Send

NAME = "iceoryx2"
NEEDS = ("iceoryx2",)
# It has no wait for data but a second service for events, which would cost more than looking.
POLL_S = 20e-6


def link(context: SpawnContext, directory: Path) -> str:  # noqa: ARG001
    """Return the name of the service."""
    return f"framepair bench {directory.name}"


@contextlib.contextmanager
def sender(place: Place) -> Iterator[Send]:
    """Copy each frame into memory on loan, and send that."""
    with _service(place) as service:
        builder = service.publisher_builder().initial_max_slice_len(math.prod(place.shape))
        publisher = builder.create()

        def send(frame: Frame) -> None:
            sample = publisher.loan_slice_uninit(frame.size)
            np.copyto(_array(sample, place), frame)
            sample.assume_init().send()

        yield send


@contextlib.contextmanager
def receiver(place: Place) -> Iterator[Receive]:
    """Borrow the publisher's memory, of which the array is a view."""
    with _service(place) as service:
        subscriber = service.subscriber_builder().create()

        def receive() -> tuple[Frame, Any]:
            while (sample := subscriber.receive()) is None:
                time.sleep(POLL_S)
            return _array(sample, place), sample

        yield receive


@contextlib.contextmanager
def _service(place: Place) -> Iterator[Any]:
    import iceoryx2

    iceoryx2.set_log_level(iceoryx2.LogLevel.Error)
    node = iceoryx2.NodeBuilder.new().create(iceoryx2.ServiceType.Ipc)
    yield (
        node.service_builder(iceoryx2.ServiceName.new(place.link))
        .publish_subscribe(iceoryx2.Slice[ctypes.c_uint8])
        .max_publishers(1)
        .max_subscribers(1)
        .enable_safe_overflow(False)
        .subscriber_max_buffer_size(IN_FLIGHT)
        .subscriber_max_borrowed_samples(HELD + 1)
        .open_or_create()
    )


def _array(sample: Any, place: Place) -> Frame:
    view = sample.payload().as_memory_view()
    return np.frombuffer(view, np.uint8).reshape(place.shape)
