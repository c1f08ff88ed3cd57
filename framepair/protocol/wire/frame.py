"""What a producer sends: the header of a frame, its sign of life, and its last word."""

from __future__ import annotations

import math
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta
from msgspec.structs import replace

from framepair.protocol.wire.header import (
    MAX_INT,
    Count,
    Decoder,
    Header,
    Nanoseconds,
    ProtocolError,
    SignedNanoseconds,
    SourceName,
)
from framepair.protocol.wire.limits import MAX_FPS, MAX_FRAME_BYTES, MAX_SIDE, MIN_FPS

MAX_HEADER_BYTES: Final = 4096
CHANNELS: Final = {"bgr8": 3, "rgb8": 3, "mono8": 1, "i420": 1}
MAX_RING_NAME: Final = 160
# How fast a producer changes the offset that it reports at most, in millionths of the time that passes.
SLEW_PPM: Final = 1000

Encoding = Literal["bgr8", "rgb8", "mono8", "i420"]
Matrix = Literal["bt601", "bt709", "bt2020", "fcc", "smpte240m"]
PayloadKind = Literal["raw", "shm", "jpeg"]
Pace = Literal["realtime", "max"]
StampGrade = Literal["exact", "driver", "camera", "media", "arrival"]
EndReason = Literal["finished", "stopped"]
RunEndReason = Literal["finished", "stopped", "restamped"]
Side = Annotated[int, Meta(ge=1, le=MAX_SIDE)]


class Location(msgspec.Struct, frozen=True):
    """Where a frame in shared memory is: slot ``slot`` of ``ring`` while that slot has ``generation``."""

    ring: Annotated[str, Meta(max_length=MAX_RING_NAME)]
    slot: Count
    generation: Annotated[int, Meta(ge=1, le=MAX_INT)]


class Colour(msgspec.Struct, frozen=True):
    """What luma and colour of a video mean: the matrix to RGB, and whether black is 0 (``full``) or 16."""

    matrix: Matrix = "bt601"
    full: bool = False


class FrameHeader(Header, frozen=True, tag="frame"):
    """What is known of a frame besides its pixels.

    Times are UTC in nanoseconds, or media time with pace ``max``. ``run`` is new at each start of a
    producer; ``seq`` counts the frames captured in that run from 0, without holes. ``next_ns`` is the
    earliest stamp that the next frame can bear, ``dropped`` how many frames of this run the producer
    could not send so far, ``total`` how many frames the source has in all (0: not known), ``reopened`` how
    often it was opened again in this run. With payload ``shm`` the message has no pixels, and ``location``
    says where they are; with ``raw`` it has them as they are, with others as ``packed_bytes`` compressed ones.
    ``offset_ns``, give or take ``uncertainty_ns``, is what the producer found the combiner's clock to be
    ahead of its own; once the combiner has passed the header on, what was added to its times (None: nothing),
    and how far they may be wrong by its clock (None: not known).
    ``stamp`` says how the capture time is known: ``exact`` (files and synthetic sources), by the ``driver``, by
    the ``camera`` clock, by the stream's ``media`` time, or by ``arrival`` (None: not said); it may be wrong by
    ``stamp_uncertainty_ns`` (None: not known), and by ``uncertainty_ns`` besides. The time of a ``camera`` is
    UTC by its own clock: no offset is added to it.
    ``colour`` is for ``i420``, where None is BT.601 in limited range, and for ``mono8``, where None is plain
    grey. ``skipped`` frames were left out by this producer so far, before they had a ``seq``: fewer are wanted.
    ``recorded_ns`` is when a frame that is played from a recording was captured, in UTC (None: it is none), and
    ``captured_ns`` when it is shown again; with pace ``max`` they are the same.
    The next three fields are the combiner's: the index of the window that the frame is in, the length of a
    window, and when the combiner had received the frame. ``relayed``: a relay has put the frame into shared
    memory, where its consumers are.
    """

    source: SourceName
    run: Count
    seq: Count
    captured_ns: Nanoseconds
    next_ns: Nanoseconds
    sent_ns: Nanoseconds
    shape: tuple[Side, Side, int]
    encoding: Encoding = "bgr8"
    payload: PayloadKind = "raw"
    fps: Annotated[float, Meta(ge=MIN_FPS, le=MAX_FPS)] = 25.0
    dropped: Count = 0
    pace: Pace = "realtime"
    total: Count = 0
    reopened: Count = 0
    location: Location | None = None
    packed_bytes: Annotated[int, Meta(ge=1, le=MAX_FRAME_BYTES)] | None = None
    offset_ns: SignedNanoseconds | None = None
    uncertainty_ns: Nanoseconds | None = None
    stamp: StampGrade | None = None
    stamp_uncertainty_ns: Nanoseconds | None = None
    colour: Colour | None = None
    skipped: Count = 0
    recorded_ns: Nanoseconds | None = None
    window: Count | None = None
    window_ns: Annotated[int, Meta(ge=1, le=MAX_INT)] | None = None
    received_ns: Nanoseconds | None = None
    relayed: bool = False

    def __post_init__(self) -> None:
        if self.next_ns < self.captured_ns:
            raise ProtocolError("next_ns is before captured_ns")
        if self.dropped > self.seq:
            raise ProtocolError("more frames were dropped than captured")
        if self.shape[2] != CHANNELS[self.encoding]:
            raise ProtocolError(f"{self.shape[2]} channels, which {self.encoding} does not have")
        if self.encoding == "i420" and (self.shape[0] % 3 or self.shape[1] % 2):
            raise ProtocolError(f"planes of {self.shape[1]}x{self.shape[0]} have no even sides")
        if (self.payload == "shm") is (self.location is None):
            raise ProtocolError("a location is for payload shm, and shm needs one")
        if (self.payload in ("raw", "shm")) is not (self.packed_bytes is None):
            raise ProtocolError("packed_bytes is for compressed pixels, and those need it")
        # A few bytes may claim to be a picture of any size.
        if self.packed_bytes is not None and self.nbytes > MAX_FRAME_BYTES:
            raise ProtocolError(f"{self.nbytes} bytes of compressed pixels, more than a frame has")

    @property
    def nbytes(self) -> int:
        """How many bytes the pixels take once decoded."""
        return math.prod(self.shape)

    @property
    def message_bytes(self) -> int:
        """How many bytes the message has for the pixels."""
        if self.packed_bytes is not None:
            return self.packed_bytes
        return 0 if self.location else self.nbytes

    @property
    def whole_uncertainty_ns(self) -> int | None:
        """By how much ``captured_ns`` may be wrong, for its stamp and for its clock; None: not known."""
        if self.stamp_uncertainty_ns is None or self.uncertainty_ns is None:
            return None
        return self.stamp_uncertainty_ns + self.uncertainty_ns

    @property
    def period_ns(self) -> int:
        """Nominal time between two frames, in nanoseconds."""
        return round(1e9 / self.fps)

    def corrected(self) -> FrameHeader:
        """Return this header by the combiner's clock; raises ProtocolError if a time is out of range then."""
        if self.offset_ns is None:
            return self
        captured_ns, next_ns = self.captured_ns, self.next_ns
        sent_ns = self.sent_ns + self.offset_ns
        if self.stamp != "camera":
            promised_ns = corrected_promise(self.next_ns, self.captured_ns, self.offset_ns)
            captured_ns += self.offset_ns
            next_ns = max(captured_ns, promised_ns)
        if min(captured_ns, sent_ns) < 0 or max(next_ns, sent_ns) > MAX_INT:
            raise ProtocolError(f"an offset of {self.offset_ns} ns puts a time out of range")
        uncertainty_ns = 0 if self.stamp == "camera" else self.uncertainty_ns
        return replace(
            self,
            captured_ns=captured_ns,
            next_ns=next_ns,
            sent_ns=sent_ns,
            uncertainty_ns=uncertainty_ns,
        )

    def as_stamped(self, uncertainty_ns: int | None) -> FrameHeader:
        """Return this header without a correction: its times are right but for ``uncertainty_ns``."""
        return replace(self, offset_ns=None, uncertainty_ns=uncertainty_ns)

    def placed(self, location: Location) -> FrameHeader:
        """Return this header of a frame that a relay has put into shared memory."""
        return replace(self, payload="shm", location=location, packed_bytes=None, relayed=True)

    def damaged(self, packed_bytes: int) -> FrameHeader:
        """Return this header of a compressed frame that can't be decoded, with so few bytes in its place."""
        return replace(self, packed_bytes=packed_bytes)

    def accepted(self, window: int, window_ns: int, received_ns: int) -> FrameHeader:
        """Return this header with the fields that the combiner adds."""
        return replace(self, window=window, window_ns=window_ns, received_ns=received_ns)


class Alive(Header, frozen=True, tag="alive"):
    """A producer's sign of life while it has no frame to send: it said so at ``sent_ns``.

    It captured ``seq`` frames in this ``run`` so far and could not send ``dropped`` of them; the next one will
    not be stamped before ``next_ns``. ``offset_ns`` is how far it found the combiner's clock to be ahead, and
    ``stamp`` how it knows capture times, as in a frame's header.
    """

    source: SourceName
    run: Count
    seq: Count
    dropped: Count
    sent_ns: Nanoseconds
    next_ns: Nanoseconds
    pace: Pace = "realtime"
    offset_ns: SignedNanoseconds | None = None
    stamp: StampGrade | None = None

    def __post_init__(self) -> None:
        if self.dropped > self.seq:
            raise ProtocolError("more frames were dropped than captured")

    def corrected(self) -> Alive:
        """Return this message by the combiner's clock; raises ProtocolError if a time is out of range then."""
        if self.offset_ns is None:
            return self
        sent_ns, next_ns = self.sent_ns + self.offset_ns, self.next_ns
        if self.stamp != "camera":
            next_ns = corrected_promise(self.next_ns, self.sent_ns, self.offset_ns)
        if min(sent_ns, next_ns) < 0 or max(sent_ns, next_ns) > MAX_INT:
            raise ProtocolError(f"an offset of {self.offset_ns} ns puts a time out of range")
        return replace(self, sent_ns=sent_ns, next_ns=next_ns, offset_ns=None)


class SourceEnd(Header, frozen=True, tag="end"):
    """A producer's last word: it captured ``seq`` frames in this run and could not send ``dropped`` of them.

    ``reason`` is ``finished`` if the video is over, ``stopped`` if the producer was stopped and may come back,
    ``restamped`` if it goes on at once as another run, whose stamps are by another clock.
    """

    source: SourceName
    run: Count
    seq: Count
    dropped: Count
    reason: RunEndReason


FromProducer = FrameHeader | Alive | SourceEnd

_DECODER: Decoder[FromProducer] = Decoder(FromProducer, MAX_HEADER_BYTES)


def decode(data: bytes | memoryview) -> FromProducer:
    """Return what a producer's header says; raises ProtocolError if a field is missing or out of its limits."""
    return _DECODER.decode(data)


def picture_size(shape: tuple[int, int, int], encoding: Encoding) -> tuple[int, int]:
    """Return width and height of the picture in an array of ``shape``: with planes, that has more rows."""
    rows, width, _ = shape
    return width, rows * 2 // 3 if encoding == "i420" else rows


def corrected_promise(next_ns: int, at_ns: int, offset_ns: int) -> int:
    """Return ``next_ns``, promised at ``at_ns``, by the combiner's clock, which is ``offset_ns`` ahead.

    The promise gives way a little: until then the offset may change, as fast as it is steered.
    """
    slack_ns = -(-max(0, next_ns - at_ns) * SLEW_PPM // 1_000_000)
    return next_ns + offset_ns - slack_ns
