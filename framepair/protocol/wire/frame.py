"""The header of a frame: its fields, their limits, encoding and decoding."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal, cast

from framepair.protocol.wire import header
from framepair.protocol.wire.header import MAX_INT, Fields, ProtocolError

MAX_HEADER_BYTES = 4096
MAX_SIDE = 32768
CHANNELS = {"bgr8": 3, "mono8": 1}
PAYLOADS = frozenset({"raw", "shm", "jpeg"})
# No frame takes more, in a message or once decoded.
MAX_FRAME_BYTES = 128 * 1024 * 1024
MAX_RING_NAME = 160
# How fast a producer changes the offset that it reports at most, in millionths of the time that passes.
SLEW_PPM = 1000
PACES = frozenset({"realtime", "max"})
END_REASONS = frozenset({"finished", "stopped"})

Pace = Literal["realtime", "max"]
EndReason = Literal["finished", "stopped"]


@dataclass(frozen=True, slots=True)
class Location:
    """Where a frame in shared memory is: slot ``slot`` of ``ring`` while that slot has ``generation``."""

    ring: str
    slot: int
    generation: int


@dataclass(frozen=True, slots=True)
class FrameHeader:
    """What is known of a frame besides its pixels.

    Times are UTC in nanoseconds, or media time with pace ``max``. ``run`` is new at each start of a
    producer; ``seq`` counts the frames captured in that run from 0, without holes. ``next_ns`` is the
    earliest stamp that the next frame can bear, ``dropped`` how many frames of this run the producer
    could not send so far, ``total`` how many frames the source has in all (0: not known), ``reopened`` how
    often it was opened again in this run. With payload ``shm`` the message has no pixels, and ``location``
    says where they are; with ``jpeg`` it has ``jpeg_bytes`` of a JPEG file.
    ``offset_ns``, give or take ``uncertainty_ns``, is what the producer found the combiner's clock to be
    ahead of its own; once the combiner has passed the header on, what was added to its times (None: nothing),
    and how far they may be wrong by its clock (None: nobody knows).
    The last three fields are the combiner's: the window that the frame is in, the length of a window,
    and when the combiner had received the frame.
    """

    source: str
    run: int
    seq: int
    captured_ns: int
    next_ns: int
    sent_ns: int
    shape: tuple[int, int, int]
    encoding: str = "bgr8"
    dtype: str = "uint8"
    payload: str = "raw"
    fps: float = 25.0
    dropped: int = 0
    pace: Pace = "realtime"
    total: int = 0
    reopened: int = 0
    location: Location | None = None
    jpeg_bytes: int | None = None
    offset_ns: int | None = None
    uncertainty_ns: int | None = None
    pair: int | None = None
    window_ns: int | None = None
    received_ns: int | None = None

    @property
    def nbytes(self) -> int:
        """How many bytes the pixels take once decoded."""
        return math.prod(self.shape)

    @property
    def message_bytes(self) -> int:
        """How many bytes the message has for the pixels."""
        if self.jpeg_bytes is not None:
            return self.jpeg_bytes
        return 0 if self.location else self.nbytes

    @property
    def period_ns(self) -> int:
        """Nominal time between two frames, in nanoseconds."""
        return round(1e9 / self.fps)

    @property
    def stamped_ns(self) -> int:
        """When the frame was captured, by the producer's own clock, if the combiner has passed this on."""
        return self.captured_ns - (self.offset_ns or 0)

    def corrected(self) -> FrameHeader:
        """Return this header with its times by the combiner's clock; raises ProtocolError if that can't be.

        The promise gives way a little: until the next frame the offset may change, as fast as it is steered.
        """
        if self.offset_ns is None:
            return self
        slack_ns = -(-(self.next_ns - self.captured_ns) * SLEW_PPM // 1_000_000)
        captured_ns = self.captured_ns + self.offset_ns
        next_ns = max(captured_ns, self.next_ns + self.offset_ns - slack_ns)
        sent_ns = self.sent_ns + self.offset_ns
        if min(captured_ns, sent_ns) < 0 or max(next_ns, sent_ns) > MAX_INT:
            raise ProtocolError(f"an offset of {self.offset_ns} ns leads out of all time")
        return replace(self, captured_ns=captured_ns, next_ns=next_ns, sent_ns=sent_ns)

    def as_stamped(self, uncertainty_ns: int | None) -> FrameHeader:
        """Return this header without a correction: its times are right but for ``uncertainty_ns``."""
        return replace(self, offset_ns=None, uncertainty_ns=uncertainty_ns)

    def accepted(self, pair: int, window_ns: int, received_ns: int) -> FrameHeader:
        """Return this header with the fields that the combiner adds."""
        return replace(self, pair=pair, window_ns=window_ns, received_ns=received_ns)

    def encode(self) -> bytes:
        """Return the header as it travels."""
        return header.pack({"kind": "frame", **header.fields_of(self)})


@dataclass(frozen=True, slots=True)
class SourceEnd:
    """A producer's last word: it captured ``seq`` frames in this run and could not send ``dropped`` of them.

    ``reason`` is ``finished`` if the video is over, ``stopped`` if somebody stopped the producer, so that
    it may come back.
    """

    source: str
    run: int
    seq: int
    dropped: int
    sent_ns: int
    reason: EndReason

    def encode(self) -> bytes:
        """Return the header as it travels."""
        return header.pack({"kind": "end", **header.fields_of(self)})


def decode(data: bytes | memoryview) -> FrameHeader | SourceEnd:
    """Return what a producer's header says; raises ProtocolError if any field is missing or out of bounds."""
    fields = header.unpack(data, MAX_HEADER_BYTES)
    if header.choice(fields, "kind", ("frame", "end")) == "end":
        return _decode_end(fields)
    return _decode_frame(fields)


def _decode_end(fields: Fields) -> SourceEnd:
    return SourceEnd(
        source=header.source_name(fields.get("source")),
        run=header.integer(fields, "run", 0, MAX_INT),
        seq=header.integer(fields, "seq", 0, MAX_INT),
        dropped=header.integer(fields, "dropped", 0, MAX_INT),
        sent_ns=header.integer(fields, "sent_ns", 0, MAX_INT),
        reason=cast(EndReason, header.choice(fields, "reason", END_REASONS)),
    )


def _decode_frame(fields: Fields) -> FrameHeader:
    encoding = header.choice(fields, "encoding", CHANNELS)
    payload = header.choice(fields, "payload", PAYLOADS)
    seq = header.integer(fields, "seq", 0, MAX_INT)
    captured_ns = header.integer(fields, "captured_ns", 0, MAX_INT)
    shape = _shape(fields, CHANNELS[encoding])
    return FrameHeader(
        source=header.source_name(fields.get("source")),
        run=header.integer(fields, "run", 0, MAX_INT),
        seq=seq,
        captured_ns=captured_ns,
        next_ns=header.integer(fields, "next_ns", captured_ns, MAX_INT),
        sent_ns=header.integer(fields, "sent_ns", 0, MAX_INT),
        shape=shape,
        encoding=encoding,
        dtype=header.choice(fields, "dtype", ("uint8",)),
        payload=payload,
        fps=header.number(fields, "fps", 1e-3, 1e4),
        dropped=header.integer(fields, "dropped", 0, seq),
        pace=cast(Pace, header.choice(fields, "pace", PACES)),
        total=header.integer(fields, "total", 0, MAX_INT),
        reopened=header.integer(fields, "reopened", 0, MAX_INT),
        location=_location(fields) if payload == "shm" else None,
        jpeg_bytes=_jpeg_bytes(fields, shape) if payload == "jpeg" else None,
        offset_ns=header.optional_integer(fields, "offset_ns", -MAX_INT, MAX_INT),
        uncertainty_ns=header.optional_integer(fields, "uncertainty_ns", 0, MAX_INT),
        pair=header.optional_integer(fields, "pair", 0, MAX_INT),
        window_ns=header.optional_integer(fields, "window_ns", 1, MAX_INT),
        received_ns=header.optional_integer(fields, "received_ns", 0, MAX_INT),
    )


def _location(fields: Fields) -> Location:
    location = header.submap(fields, "location")
    ring = location.get("ring")
    if not isinstance(ring, str) or len(ring) > MAX_RING_NAME:
        raise ProtocolError("ring is not a name")
    return Location(
        ring=ring,
        slot=header.integer(location, "slot", 0, MAX_INT),
        generation=header.integer(location, "generation", 1, MAX_INT),
    )


def _jpeg_bytes(fields: Fields, shape: tuple[int, int, int]) -> int:
    # A few bytes may claim to be a picture of any size.
    if math.prod(shape) > MAX_FRAME_BYTES:
        raise ProtocolError(f"a JPEG of {math.prod(shape)} bytes of pixels, more than a frame has")
    return header.integer(fields, "jpeg_bytes", 1, MAX_FRAME_BYTES)


def _shape(fields: Fields, channels: int) -> tuple[int, int, int]:
    shape = fields.get("shape")
    if (
        not isinstance(shape, list)
        or len(shape) != 3
        or any(type(side) is not int for side in shape)
    ):
        raise ProtocolError("shape is not [height, width, channels]")
    height, width, depth = shape
    if not (1 <= height <= MAX_SIDE and 1 <= width <= MAX_SIDE and depth == channels):
        raise ProtocolError(
            f"shape {height}x{width}x{depth} is out of bounds or not of its encoding"
        )
    return height, width, depth
