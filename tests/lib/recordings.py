"""Small recordings for tests, and the pictures in them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from framepair.protocol.memory import jpeg
from framepair.protocol.recording import images
from framepair.protocol.recording.images import Image
from framepair.protocol.recording.ledger import (
    Announcement,
    LedgerEntry,
    Received,
    decode_announcement,
)
from framepair.protocol.recording.reading import RecordingFile
from framepair.protocol.recording.segment import PAIRS, Segment
from framepair.protocol.wire import frame
from framepair.protocol.wire.frame import FrameHeader
from tests.lib.stream import Stream, pixels

ENTRY = LedgerEntry(5, {"left": Received(10, {"recorder_slow": 2})})
WINDOWS = 4


def as_jpeg(header: FrameHeader, picture: NDArray[np.uint8] | None = None) -> Image:
    data = jpeg.encode(pixels(header) if picture is None else picture, 90, header.encoding)
    return Image("foxglove.CompressedImage", data, "jpeg", header=header.encode())


def as_raw(header: FrameHeader, picture: NDArray[np.uint8] | None = None) -> Image:
    height, width, channels = header.shape
    data = (pixels(header) if picture is None else picture).tobytes()
    return Image(
        "foxglove.RawImage", data, "bgr8", width, height, width * channels, header.encode()
    )


def write(
    path: Path,
    *,
    finish: bool = True,
    as_picture: Callable[[FrameHeader], Image] | None = None,
) -> list[FrameHeader]:
    """Write some windows of two sources, a chunk each; return the headers of the frames.

    Left has JPEG files and right has pixels, unless ``as_picture`` says what all are.
    """
    stream, segment, written = Stream(period_ns=40_000_000, first=1_000), Segment(path), []
    for _ in range(WINDOWS):
        for header in stream.next():
            if isinstance(header, FrameHeader):
                of_source = as_jpeg if header.source == "left" else as_raw
                image = (as_picture or of_source)(header)
                segment.add_frame(header, image)
                written.append(header)
            else:
                segment.add_announcement(header, ENTRY)
        segment.flush()
    if finish:
        segment.finish()
    else:
        segment.close()
    return written


def frames(paths: list[Path]) -> Iterator[tuple[tuple[str, int, int], FrameHeader, bytes]]:
    """Give each frame on disk: its source, run and seq, its header, and its picture."""
    for path in paths:
        with RecordingFile(path) as file:
            for logged in file.messages():
                if logged.schema:
                    image = images.decode(logged.schema, logged.message.data)
                    header = frame.decode(image.header)
                    assert isinstance(header, FrameHeader)
                    yield (header.source, header.run, header.seq), header, bytes(image.data)


def announced(paths: list[Path]) -> list[Announcement]:
    """Return the headers of pairs on disk, and the combiners' last words."""
    found = []
    for path in paths:
        with RecordingFile(path) as file:
            messages = [each.message.data for each in file.messages() if each.topic == PAIRS]
        found += [decode_announcement(data) for data in messages]
    return found
