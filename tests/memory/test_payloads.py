"""The table of payloads: each has two ends that fit, and what the launcher needs of them is light."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from msgspec.structs import replace

from framepair.nodes.common import payload_limits
from framepair.nodes.common.runtime import Refused
from framepair.protocol.memory import payloads
from framepair.protocol.memory.payload import Payload, Place
from framepair.protocol.memory.payloads import PAYLOADS
from framepair.protocol.memory.ring import Pixels, Shape
from framepair.protocol.memory.shared_ring import Attached
from framepair.protocol.wire import published
from framepair.protocol.wire.frame import PayloadKind
from tests.lib.shm import own_directory
from tests.lib.stream import Stream

SHAPE: Shape = (48, 64, 3)
EVERY = pytest.mark.parametrize("kind", PAYLOADS)


def sent_and_received(payload: Payload, image: Pixels, directory: Path) -> Pixels:
    """Send an image from one end to the other, by way of the wire."""
    header = replace(Stream(shape=SHAPE).frame("left", 0), run=1)
    writer = payload.writer(Place("left", 1, 25.0, 1.0, directory))
    try:
        writer.reserve(SHAPE)[:] = image
        packed = writer.pack(header.seq, header.encoding)
        header = replace(
            header,
            payload=packed.payload,
            location=packed.location,
            packed_bytes=packed.packed_bytes,
        )
        parts = [published.frame_topic("left"), header.encode(), packed.data]
        got = published.decode([memoryview(part).cast("B") for part in parts])
        assert isinstance(got, tuple)
        found, pixels = got
        if pixels is None:
            slot = PAYLOADS[found.payload].locate(found, Attached(directory))
            out = slot.image.copy()
            assert slot.intact
            return out
        out = np.zeros(SHAPE, np.uint8)
        PAYLOADS[found.payload].store(pixels, out, found.encoding)
        assert len(memoryview(packed.data).cast("B")) == payload.message_bytes(image, "bgr8")
        return out
    finally:
        writer.close()


@EVERY
def test_what_one_end_writes_the_other_reads(kind: PayloadKind) -> None:
    image = np.full(SHAPE, (30, 120, 200), np.uint8)
    with own_directory() as directory:
        found = sent_and_received(PAYLOADS[kind].parse(None), image, directory)
    assert np.abs(found.astype(int) - image).max() < 4


@EVERY
def test_a_payload_is_what_the_wire_knows_and_reads_as_it_is_written(kind: PayloadKind) -> None:
    assert kind in get_args(PayloadKind)
    payload = payloads.parse(kind)
    assert payload.name == kind
    assert payloads.parse(str(payload)) == payload
    assert kind in payloads.HELP
    assert all(usage in payloads.USAGE for usage in payload.usages)


@EVERY
def test_a_payload_needs_one_machine_if_its_pixels_are_in_no_message(kind: PayloadKind) -> None:
    payload = PAYLOADS[kind].parse(None)
    image = np.zeros(SHAPE, np.uint8)
    assert payload.one_machine == (payload.message_bytes(image, "bgr8") == 0)
    assert payload.one_machine == (payload.ring_bytes(SHAPE, 25.0, 1.0) >= 25 * math.prod(SHAPE))


@EVERY
def test_what_a_payload_cannot_do_is_refused_with_what_can(kind: PayloadKind) -> None:
    payload = PAYLOADS[kind].parse(None)
    payload_limits.refuse_beyond(payload, "realtime", "ipc:///x")
    payload_limits.refuse_elsewhere(payload, "sink", here=True)
    attempts: list[Callable[[], None]] = [
        lambda: payload_limits.refuse_beyond(payload, "max", "ipc:///x"),
        lambda: payload_limits.refuse_beyond(payload, "realtime", "tcp://10.0.0.1:7400"),
        lambda: payload_limits.refuse_elsewhere(payload, "sink", here=False),
    ]
    for attempt in attempts:
        with (
            pytest.raises(Refused, match=r": use --payload raw or jpeg$")
            if kind == "shm"
            else nullcontext()
        ):
            attempt()


def test_the_table_is_light() -> None:
    heavy = ("numpy", "zmq", "simplejpeg", "cv2")
    code = (
        "import sys; import framepair.protocol.memory.payloads;"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
