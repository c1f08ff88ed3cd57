"""Watching a camera by its packets and pixels: what a test knows of each frame without a producer."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import av
import numpy as np
from numpy.typing import NDArray

from framepair.nodes.producer.sources import pattern
from framepair.protocol.clocks import clock

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Seen:
    """A frame: its number and time from its pixels, the camera's own time of its packet, and when it came."""

    seq: int
    captured_ns: int
    reported_ns: int | None
    arrived_ns: int
    size: tuple[int, int]


def watch(url: str, transport: str = "tcp", timeout_s: float = 5.0) -> Iterator[Seen]:
    """Yield the frames of an RTSP camera that can be read, as they come."""
    options = {"rtsp_transport": transport, "allowed_media_types": "video"}
    with av.open(url, options=options, timeout=timeout_s) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        reported: dict[int | None, int | None] = {}
        for packet in container.demux(stream):
            reported[packet.pts] = _reported_ns(packet)
            for frame in packet.decode():
                mark = pattern.read(cast(Image, frame.to_ndarray(format="bgr24")))
                if mark is not None:
                    at_ns = reported.pop(frame.pts, None)
                    size = (frame.width, frame.height)
                    yield Seen(mark.seq, mark.captured_ns, at_ns, clock.now_ns(), size)


def _reported_ns(packet: av.Packet[av.VideoStream]) -> int | None:
    if not packet.has_sidedata("prft"):
        return None
    microseconds, _ = struct.unpack_from("=qi", bytes(packet.get_sidedata("prft")))
    return int(microseconds) * 1000
