"""What all headers share: the version, the limits of fields, and the coder that enforces them.

A header is a msgpack map. Its fields, their types and their limits are declared once, in the class of each kind
of header; rules that span several fields stand in its ``__post_init__``. A decoder ignores fields that it does
not know, so that a new field with a default needs no new version.
"""

from __future__ import annotations

from typing import Annotated, Any, Generic, TypeVar

import msgpack
import msgspec
from msgspec import Meta

from framepair.protocol.wire.limits import NAME_PATTERN
from framepair.protocol.wire.limits import ProtocolError as ProtocolError

VERSION = 2
MAX_INT = 2**63 - 1
# What is said of a header that is refused has to fit into a line of a log.
MAX_REASON = 200

Count = Annotated[int, Meta(ge=0, le=MAX_INT)]
Nanoseconds = Annotated[int, Meta(ge=0, le=MAX_INT)]
SignedNanoseconds = Annotated[int, Meta(ge=-MAX_INT, le=MAX_INT)]
SourceName = Annotated[str, Meta(pattern=NAME_PATTERN)]

Message = TypeVar("Message")


class Header(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind"):
    """The base of all headers: each says its kind and the version of the wire format."""

    v: int = VERSION

    def encode(self) -> bytes:
        """Return the header as it travels."""
        return _ENCODER.encode(self)


class Decoder(Generic[Message]):
    """Decodes headers of ``kinds``, a class of headers or a union of some, of at most ``max_bytes``."""

    def __init__(self, kinds: Any, max_bytes: int) -> None:
        self._decoder: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(kinds)
        self._max_bytes = max_bytes

    def decode(self, data: bytes | memoryview) -> Message:
        """Return the header in ``data``; raises ProtocolError if it is none or a field is out of its limits."""
        if len(data) > self._max_bytes:
            raise ProtocolError(f"header has {len(data)} bytes, more than {self._max_bytes}")
        try:
            if _ENVELOPE_DECODER.decode(data).v == VERSION:
                return self._decoder.decode(data)
            error = "another version"
        except (msgspec.MsgspecError, ValueError, RecursionError) as caught:
            error = str(caught)
        raise ProtocolError(_reason(data, error))


class _Envelope(msgspec.Struct):
    v: int
    kind: str


_ENCODER = msgspec.msgpack.Encoder()
_ENVELOPE_DECODER = msgspec.msgpack.Decoder(_Envelope)


def _reason(data: bytes | memoryview, error: str) -> str:
    """Return why ``data`` is refused, in one printable line: what a peer wrote may be in ``error``."""
    # msgspec is ten times as fast, and tells less of what it cannot read: this path need not be fast.
    try:
        fields = msgpack.unpackb(data, strict_map_key=True)
    except (ValueError, msgpack.UnpackException, RecursionError) as caught:
        return f"header is not msgpack: {type(caught).__name__}"
    version = fields.get("v") if isinstance(fields, dict) else None
    if type(version) is int and version != VERSION:
        return f"version {version}, not {VERSION}: run the same framepair on both ends"
    return ascii(error)[1:-1][:MAX_REASON]
