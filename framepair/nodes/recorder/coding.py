"""How a frame is written down: as it travelled, or coded as JPEG in threads."""

from __future__ import annotations

import os
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

import numpy as np
from msgspec.structs import replace

from framepair.protocol.memory import jpeg
from framepair.protocol.memory.jpeg import Jpeg
from framepair.protocol.memory.ring import Pixels
from framepair.protocol.recording.images import COMPRESSED, RAW, Image
from framepair.protocol.wire.frame import FrameHeader

MAX_THREADS: Final = 4
# What Foxglove calls an encoding that it has no word for: rows of grey, the planes one below the other.
RAW_NAMES: Final = {"i420": "mono8"}


class Coder:
    """Makes pictures of frames: JPEG of raw ones, or without a codec pixels as they are; to be closed."""

    def __init__(self, codec: Jpeg | None) -> None:
        self._codec = codec
        threads = min(MAX_THREADS, os.cpu_count() or 1)
        self._pool = ThreadPoolExecutor(threads, "framepair-encoder")

    def image(self, header: FrameHeader, pixels: Pixels | memoryview) -> Image | Future[Image]:
        """Return the picture of a frame, now or as soon as a thread has coded it; ``pixels`` must stay."""
        if isinstance(pixels, memoryview):
            return Image(COMPRESSED, pixels, header.payload, header=header.encode())
        own = replace(header, payload="raw", location=None).encode()
        if self._codec is None:
            return as_raw(header, pixels, own)
        return self._pool.submit(self._coded, header, pixels, self._codec.quality, own)

    def close(self) -> None:
        """End the threads; what they have not begun is not done."""
        self._pool.shutdown(cancel_futures=True)

    @staticmethod
    def _coded(header: FrameHeader, pixels: Pixels, quality: int, own: bytes) -> Image:
        return Image(COMPRESSED, jpeg.encode(pixels, quality, header.encoding), "jpeg", header=own)


def as_raw(header: FrameHeader, pixels: Pixels, own: bytes) -> Image:
    """Return the picture of a frame with its pixels as they are; ``own`` is its header."""
    height, width, channels = header.shape
    name = RAW_NAMES.get(header.encoding, header.encoding)
    data = np.ascontiguousarray(pixels).reshape(-1).data
    return Image(RAW, data, name, width, height, width * channels, own)
