"""What a producer that plays a recording says of its source's part of a pair, as it was announced then."""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta, field

from framepair.protocol.wire.frame import Alive, FrameHeader, SourceEnd
from framepair.protocol.wire.header import (
    Count,
    Decoder,
    Header,
    Nanoseconds,
    ProtocolError,
    SourceName,
)
from framepair.protocol.wire.pair import MAX_REASONS, MAX_SPAN_FRAMES, MAX_SPANS, ClipHeader, Reason

# A clip's totals have MAX_REASONS reasons of 64 letters at most, and there are as many here.
MAX_HEADER_BYTES: Final = 16 * 1024


class RecordedClip(Header, frozen=True, tag="recorded"):
    """One source's part of a recorded pair: its window is [start_ns, end_ns), moved as its frames are.

    It follows the frames of that window, which has ``frames`` of them, whether they are on disk or not.
    ``clip`` is as it was announced, without its spans; its totals are those of all recorded combiners
    together, from the beginning of the recording on. ``lost`` says why frames of the pairs so far are not on
    disk, and ``unsent`` of them are, and were not played in time. ``previous_ns`` is the start of the window
    announced before (None: this was the first of its combiner), ``partial`` as in the pair.

    With ``end_ns`` 0 it is of no window: the first of these messages, which comes before any frame and says
    that others will come, and the last, which has the totals at the end of the stream.
    """

    source: SourceName
    run: Count
    start_ns: Nanoseconds = 0
    end_ns: Nanoseconds = 0
    previous_ns: Nanoseconds | None = None
    partial: bool = False
    frames: Annotated[int, Meta(ge=0, le=MAX_SPANS * MAX_SPAN_FRAMES)] = 0
    clip: ClipHeader | None = None
    lost: Annotated[dict[Reason, Count], Meta(max_length=MAX_REASONS)] = field(default_factory=dict)
    unsent: Count = 0

    def __post_init__(self) -> None:
        if self.end_ns and self.end_ns <= self.start_ns:
            raise ProtocolError("the window ends before it starts")
        if self.end_ns and self.clip is None:
            raise ProtocolError("a window without a clip")
        if self.clip is not None and self.clip.spans:
            raise ProtocolError("the clip of a recording has spans")


FromProducer = FrameHeader | Alive | SourceEnd | RecordedClip

Word = Alive | SourceEnd | RecordedClip

_DECODER: Decoder[RecordedClip] = Decoder(RecordedClip, MAX_HEADER_BYTES)
_WORDS: Decoder[Word] = Decoder(Word, MAX_HEADER_BYTES)


def decode(data: bytes | memoryview) -> RecordedClip:
    """Return what a header says; raises ProtocolError if a field is missing or out of its limits."""
    return _DECODER.decode(data)


def decode_word(data: bytes | memoryview) -> Word:
    """Return what a producer says without pixels; raises ProtocolError likewise."""
    return _WORDS.decode(data)
