"""What the recorder says of itself, once after each pair: which frames came, and which of them it lost."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta, field

from framepair.protocol.wire.header import VERSION, Count, ProtocolError, SourceName
from framepair.protocol.wire.limits import MAX_SOURCES
from framepair.protocol.wire.pair import MAX_REASONS, PairHeader, Reason, StreamEnd


class Received(msgspec.Struct, frozen=True):
    """Of a source, since the session began: ``came`` frames reached the recorder, ``lost`` are not on disk."""

    came: Count = 0
    lost: Annotated[dict[Reason, Count], Meta(max_length=MAX_REASONS)] = field(default_factory=dict)


class LedgerEntry(msgspec.Struct, frozen=True):
    """What came before the announcement right before this entry; a ``session`` is one life of a recorder."""

    session: Count
    sources: Annotated[dict[SourceName, Received], Meta(max_length=MAX_SOURCES)]


Announcement = PairHeader | StreamEnd

_ENCODER = msgspec.json.Encoder()
_ENTRIES = msgspec.json.Decoder(LedgerEntry)
_ANNOUNCEMENTS: msgspec.json.Decoder[Announcement] = msgspec.json.Decoder(PairHeader | StreamEnd)


def encode(message: LedgerEntry | Announcement) -> bytes:
    """Return the message as JSON, as it is on disk."""
    return _ENCODER.encode(message)


def decode_entry(data: bytes) -> LedgerEntry:
    """Return what a message of /ledger says; raises ProtocolError if it is none."""
    try:
        return _ENTRIES.decode(data)
    except (msgspec.MsgspecError, ValueError) as error:
        raise ProtocolError(f"no entry of a ledger: {error}") from None


def decode_announcement(data: bytes) -> Announcement:
    """Return the header that a message of /pairs is; raises ProtocolError if it is none of this version."""
    try:
        header = _ANNOUNCEMENTS.decode(data)
    except (msgspec.MsgspecError, ValueError) as error:
        raise ProtocolError(f"no header of a pair: {error}") from None
    if header.v != VERSION:
        raise ProtocolError(f"a pair of version {header.v}, not {VERSION}")
    return header
