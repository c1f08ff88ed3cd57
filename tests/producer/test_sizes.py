"""Frames of a size that has no room: lost, counted and said, until the source is back at one that has."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from framepair.nodes.common.runtime import Stop
from framepair.nodes.producer.main import Stream
from framepair.nodes.producer.outbox import Origin, Outbox
from framepair.nodes.producer.sources.source import Format
from framepair.nodes.producer.stamps import LiveStamps
from framepair.protocol.memory import free_space
from framepair.protocol.memory.jpeg import JpegWriter
from framepair.protocol.memory.payload import Place, Writer
from framepair.protocol.memory.raw import RawWriter
from framepair.protocol.memory.shm import RingWriter
from framepair.protocol.transport.heartbeat import Heartbeat
from framepair.protocol.wire import frame
from framepair.protocol.wire.frame import FrameHeader
from framepair.protocol.wire.limits import MAX_FRAME_BYTES
from tests.lib.processes import Running, python

SMALL, LARGE = (36, 64, 3), (8000, 8000, 3)


class Resized:
    """A capture whose frames have the sizes that a test names, which only their decoding shows."""

    reopened = skipped = 0
    position = None

    def __init__(self, shapes: list[tuple[int, int, int]]) -> None:
        self.format = Format(shapes[0], fps=25.0, live=True)
        self._shapes = [shapes[0], *shapes]

    def grab(self) -> bool:
        self._shapes.pop(0)
        return bool(self._shapes)

    def retrieve(self, out: NDArray[np.uint8], seq: int, captured_ns: int) -> NDArray[np.uint8]:
        shape = self._shapes[0]
        self.format = Format(shape, fps=25.0, live=True)
        return out if out.shape == shape else np.empty(shape, np.uint8)

    def close(self) -> None: ...


class Push:
    """A socket that takes everything, and keeps the headers."""

    def __init__(self) -> None:
        self.headers: list[FrameHeader] = []

    def send_multipart(self, parts: list[Any], *, copy: bool) -> None:
        self.headers.append(cast(FrameHeader, frame.decode(parts[0])))


def streamed(
    writer: Writer, shapes: list[tuple[int, int, int]]
) -> tuple[list[tuple[int, ...]], Outbox]:
    """Return the shapes of the frames that were sent, and the outbox that counted the others."""
    push, stop, heartbeat = Push(), Stop(), Heartbeat()
    origin = Origin("left", 7, "realtime", lossless=False)
    outbox = Outbox(cast(Any, push), origin, stop=stop, heartbeat=heartbeat)
    Stream(Resized(shapes), writer, LiveStamps(25.0), outbox, heartbeat).run(None, stop)
    return [header.shape for header in push.headers], outbox


@pytest.mark.parametrize("writer", [RawWriter(), JpegWriter(90)])
def test_frames_too_large_for_a_message_are_lost_and_said(
    writer: Writer, caplog: pytest.LogCaptureFixture
) -> None:
    sent, outbox = streamed(writer, [SMALL, LARGE, LARGE, SMALL])
    assert sent == [SMALL, SMALL]
    assert (outbox.seq, outbox.dropped) == (4, 2)
    (said,) = caplog.messages
    assert "8000x8000 has 192000000 bytes" in said
    assert "--payload shm" in said


def test_frames_whose_ring_does_not_fit_are_lost_and_the_former_ring_stays(
    directory: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(free_space, "free_memory", lambda: 10_000_000)
    writer = RingWriter(Place("left", 7, 25.0, 0.2, directory / "rings"))
    sent, outbox = streamed(writer, [SMALL, LARGE, LARGE, SMALL, SMALL])
    (ring,) = (directory / "rings").glob("*.ring")
    writer.close()
    assert ".0." in ring.name
    assert sent == [SMALL] * 3
    assert (outbox.seq, outbox.dropped) == (5, 2)
    (said,) = caplog.messages
    assert "ring of" in said
    assert "choose a smaller --history" in said


def test_a_source_that_begins_with_such_frames_is_refused() -> None:
    assert np.prod(LARGE) > MAX_FRAME_BYTES
    arguments = (
        "--name",
        "a",
        "--source",
        "synthetic://8000x8000@1",
        "--push",
        "tcp://127.0.0.1:9",
    )
    with Running(python("-m", "framepair.nodes.producer", *arguments)) as running:
        assert running.wait() == 2
        (sentence,) = running.stderr
    assert sentence.startswith("producer: a: a frame of 8000x8000 has 192000000 bytes")
