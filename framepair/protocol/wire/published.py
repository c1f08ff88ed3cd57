"""What the combiner publishes: from the parts of a message to a header and its pixels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from framepair.protocol.memory.ring import Pixels
from framepair.protocol.wire import frame, pair
from framepair.protocol.wire.frame import FrameHeader
from framepair.protocol.wire.header import ProtocolError
from framepair.protocol.wire.pair import PairHeader, StreamEnd

FRAMES = b"frame."
PAIR = b"pair."
END = b"end."


def frame_topic(source: str) -> bytes:
    """Return the topic of ``source``'s frames."""
    return f"frame.{source}.".encode()


# "frame.", a source's name of 64 characters, and "."
MAX_TOPIC_BYTES = 71


# The pixels as they came: an array, a JPEG file, or None if they are in shared memory.
Frame = tuple[FrameHeader, Pixels | memoryview | None]


def decode(parts: Sequence[memoryview]) -> Frame | PairHeader | StreamEnd:
    """Return what a message says; an array of pixels is (height, width, channels) and lies in the last part.

    Raises ProtocolError for anything that the combiner would not send.
    """
    name = bytes(parts[0][: MAX_TOPIC_BYTES + 1])
    if name.startswith(FRAMES):
        return _decode_frame(name, parts)
    if len(parts) != 2:
        raise ProtocolError(f"a message of {len(parts)} parts, not 2")
    header = pair.decode(parts[1])
    if name != (PAIR if isinstance(header, PairHeader) else END):
        raise ProtocolError("the topic doesn't match the header")
    return header


def _decode_frame(name: bytes, parts: Sequence[memoryview]) -> Frame:
    if len(parts) != 3:
        raise ProtocolError(f"a frame of {len(parts)} parts, not 3")
    header = frame.decode(parts[1])
    if not isinstance(header, FrameHeader) or name != frame_topic(header.source):
        raise ProtocolError("the topic doesn't match the header")
    if parts[2].nbytes != header.message_bytes:
        raise ProtocolError(f"{parts[2].nbytes} bytes of pixels, not {header.message_bytes}")
    if header.location:
        return header, None
    if header.jpeg_bytes is not None:
        return header, parts[2]
    return header, np.frombuffer(parts[2], np.uint8).reshape(header.shape)
