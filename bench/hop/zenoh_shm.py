"""zenoh with shared memory. Its Python binding takes and gives bytes only: a copy more at each end."""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from bench.frames import Frame
from bench.hop.raw_tcp import link
from bench.hop.way import POOL, Place, Receive, Send

__all__ = ["NAME", "NEEDS", "link", "receiver", "sender"]

NAME = "zenoh, shared memory"
NEEDS = ("zenoh",)
KEY = "framepair/bench"
OVERHEAD_BYTES = 65536
POLL_S = 0.01


@contextlib.contextmanager
def sender(place: Place) -> Iterator[Send]:
    """Copy each frame into memory that was allocated for it, and publish that."""
    import zenoh
    import zenoh.shm as shm

    frame_bytes = math.prod(place.shape)
    provider = shm.ShmProvider.default_backend(POOL * (frame_bytes + OVERHEAD_BYTES))
    policy = shm.BlockOn(shm.GarbageCollect())
    with _session(place, "connect") as session:
        publisher = session.declare_publisher(KEY, congestion_control=zenoh.CongestionControl.BLOCK)
        while not publisher.matching_status.matching:
            time.sleep(POLL_S)

        def send(frame: Frame) -> None:
            memory = provider.alloc(frame_bytes, policy)
            memory[:frame_bytes] = frame.tobytes()
            publisher.put(zenoh.ZBytes(memory))

        yield send


@contextlib.contextmanager
def receiver(place: Place) -> Iterator[Receive]:
    """Take a copy of the shared memory, of which the array is a view."""
    with _session(place, "listen") as session:
        subscriber = session.declare_subscriber(KEY)

        def receive() -> tuple[Frame, None]:
            data = subscriber.recv().payload.to_bytes()
            return np.frombuffer(data, np.uint8).reshape(place.shape), None

        yield receive


@contextlib.contextmanager
def _session(place: Place, end: str) -> Iterator[Any]:
    import zenoh

    zenoh.init_log_from_env_or("error")
    config = zenoh.Config()
    address = place.link.replace("tcp://", "tcp/")
    other = "listen" if end == "connect" else "connect"
    for key, value in {
        "mode": "peer",
        f"{end}/endpoints": [address],
        f"{other}/endpoints": [],
        "scouting/multicast/enabled": False,
        "transport/shared_memory/enabled": True,
    }.items():
        config.insert_json5(key, json.dumps(value))
    with zenoh.open(config) as session:
        yield session
