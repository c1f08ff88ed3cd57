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
from framepair.protocol.memory import free_space, payloads
from framepair.protocol.memory.payload import Payload, Place
from framepair.protocol.memory.payloads import PAYLOADS
from framepair.protocol.memory.ring import Pixels, Shape
from framepair.protocol.memory.shared_ring import Attached
from framepair.protocol.wire import published
from framepair.protocol.wire.frame import PayloadKind
from tests.lib.shm import own_directory, rings
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
    heavy = ("numpy", "zmq", "simplejpeg", "cv2", "msgspec")
    code = (
        "import sys; import framepair.protocol.memory.payloads;"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_auto_is_shared_memory_as_long_as_a_ring_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    image = np.full(SHAPE, 7, np.uint8)
    with own_directory() as directory:
        assert (sent_and_received(payloads.parse("auto"), image, directory) == image).all()
    with own_directory() as directory:
        writer = payloads.parse("auto").writer(Place("left", 1, 25.0, 1.0, directory))
        writer.reserve(SHAPE)[:] = image
        in_ring = writer.pack(0, "bgr8")
        monkeypatch.setattr(free_space, "free_memory", lambda: 1000)
        writer.reserve((24, 32, 3))[:] = 8
        in_message = writer.pack(1, "bgr8")
        # The frame before is still on its way.
        assert in_ring.location
        assert in_ring.location.ring in rings(directory)
        writer.close()
    assert (in_ring.payload, in_message.payload) == ("shm", "raw")
    assert bytes(in_message.data) == bytes([8]) * (24 * 32 * 3)


def test_auto_is_raw_where_no_ring_fits(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(free_space, "free_memory", lambda: 1000)
    image = np.full(SHAPE, 7, np.uint8)
    with own_directory() as directory:
        writer = payloads.parse("auto").writer(Place("left", 1, 25.0, 1.0, directory))
        for seq in range(3):
            writer.reserve(SHAPE)[:] = image + seq
            packed = writer.pack(seq, "bgr8")
            assert (packed.payload, packed.location) == ("raw", None)
            assert bytes(packed.data) == (image + seq).tobytes()
        writer.close()
    (said,) = caplog.messages
    assert said.startswith("left: payload raw instead of shm: a ring of")


@pytest.mark.parametrize(
    ("pace", "address", "word"),
    [
        ("realtime", "ipc:///x", "auto"),
        ("realtime", "tcp://127.0.0.1:7400", "auto"),
        ("realtime", "tcp://10.0.0.1:7400", "raw"),
        ("max", "ipc:///x", "raw"),
    ],
)
def test_auto_is_raw_where_shared_memory_would_be_refused(
    pace: str, address: str, word: str
) -> None:
    settled = payload_limits.settled(payloads.parse("auto"), pace, [address])
    assert str(settled) == word
    payload_limits.refuse_beyond(settled, pace, address)
    assert payload_limits.settled(payloads.parse("shm"), pace, [address]).name == "shm"
