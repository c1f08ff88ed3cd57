"""What the combiner publishes: from the parts of a message to a header and its pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, TypeAlias

from framepair.protocol.wire import frame, pair
from framepair.protocol.wire.frame import FrameHeader
from framepair.protocol.wire.header import ProtocolError
from framepair.protocol.wire.pair import PairHeader, StreamEnd

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# SUB matches topics by prefix, so each ends in a byte that no source's name contains: "frame.cam1." does not
# match the frames of cam10.
FRAMES: Final = b"frame."
PAIR: Final = b"pair."
END: Final = b"end."
# Nothing is published as this: while it is subscribed to, frames in shared memory are not sent together.
NEWEST: Final = b"newest."
# "frame.", a source's name of 64 characters, "." and EARLY
MAX_TOPIC_BYTES: Final = 72
# At the end of a topic: by its source's rate the frame is none of those that end a window, for which whoever
# waits for a pair waits.
EARLY: Final = b"+"
# Where windows have fewer frames, all are early: too many would be left out otherwise.
MIN_EARLY: Final = 10
# So many periods before a window's end a frame may be the last: the next one may come a little sooner or later.
LAST_PERIODS: Final = 1.5

# A frame as it came: its header and an array, compressed pixels, or None if the pixels are in shared memory.
Frame: TypeAlias = "tuple[FrameHeader, NDArray[np.uint8] | memoryview | None]"


def frame_topic(source: str) -> bytes:
    """Return what the topics of ``source``'s frames begin with."""
    return f"frame.{source}.".encode()


def topic_of(header: FrameHeader) -> bytes:
    """Return the topic of a frame that the combiner has put into a window."""
    topic = frame_topic(header.source)
    return topic + EARLY if is_early(header) else topic


def is_early(header: FrameHeader) -> bool:
    """Return whether others of its window should come after a frame, or windows have few frames."""
    if header.window is None or header.window_ns is None:
        return False
    if header.window_ns < MIN_EARLY * header.period_ns:
        return True
    end_ns = (header.window + 1) * header.window_ns
    return header.captured_ns + LAST_PERIODS * header.period_ns < end_ns


def decode(parts: Sequence[memoryview]) -> Frame | PairHeader | StreamEnd:
    """Return what a message says; an array of pixels is (height, width, channels) and lies in the last part.

    Raises ProtocolError for anything that the combiner would not send; whether a frame is early is not checked.
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
    # Not at the top: the combiner, which only needs the topics, starts in half the time without it.
    import numpy as np

    header = frame.decode(parts[1])
    if not isinstance(header, FrameHeader) or not _is_topic_of(header.source, name):
        raise ProtocolError("the topic doesn't match the header")
    if parts[2].nbytes != header.message_bytes:
        raise ProtocolError(f"{parts[2].nbytes} bytes of pixels, not {header.message_bytes}")
    if header.location:
        return header, None
    if header.packed_bytes is not None:
        return header, parts[2]
    return header, np.frombuffer(parts[2], np.uint8).reshape(header.shape)


def _is_topic_of(source: str, name: bytes) -> bool:
    topic = frame_topic(source)
    return name in (topic, topic + EARLY)
