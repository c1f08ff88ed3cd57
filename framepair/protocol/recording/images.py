"""The pictures of a recording: foxglove.CompressedImage and RawImage in protobuf, written and read by hand.

Two messages of four and seven fields are not worth a dependency on protobuf and its generated modules. A
frame's own header is in the message, too, as a field that Foxglove does not know and passes over.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from framepair.protocol.wire.header import ProtocolError

NANOSECONDS: Final = 1_000_000_000
# Numbers of fields; 1000 is framepair's own.
TIMESTAMP, DATA, FRAME_ID, FORMAT = 1, 2, 4, 3
RAW_WIDTH, RAW_HEIGHT, RAW_ENCODING, RAW_STEP, RAW_DATA, RAW_FRAME_ID = 2, 3, 4, 5, 6, 7
OWN_HEADER: Final = 1000
# How a field is coded.
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
# Types in a descriptor.
INT32, INT64, STRING, MESSAGE, BYTE_STRING, FIXED_32 = 5, 3, 9, 11, 12, 7
OPTIONAL: Final = 1
MAX_VARINT_BYTES: Final = 10

ImageKind = Literal["foxglove.CompressedImage", "foxglove.RawImage"]
COMPRESSED: Final = "foxglove.CompressedImage"
RAW: Final = "foxglove.RawImage"
Data = bytes | memoryview


@dataclass(frozen=True, slots=True)
class Image:
    """A picture as it is on disk: ``data`` in ``format``, such as jpeg, or pixels in an encoding such as bgr8.

    ``width`` and ``height`` are 0 of a file that says them itself. ``header`` is that of the frame as it
    travelled, empty in recordings that framepair didn't make.
    """

    kind: ImageKind
    data: Data
    format: str
    width: int = 0
    height: int = 0
    step: int = 0
    header: Data = b""


def encode(image: Image, source: str, captured_ns: int) -> bytes:
    """Return the message of a picture that ``source`` captured at ``captured_ns``."""
    seconds, nanoseconds = divmod(captured_ns, NANOSECONDS)
    stamp = _number(1, seconds) + _number(2, nanoseconds)
    parts = [_bytes(TIMESTAMP, stamp)]
    if image.kind == COMPRESSED:
        parts += [_bytes(FRAME_ID, source.encode()), _bytes(FORMAT, image.format.encode())]
        data = DATA
    else:
        parts += [_fixed(RAW_WIDTH, image.width), _fixed(RAW_HEIGHT, image.height)]
        parts += [_bytes(RAW_ENCODING, image.format.encode()), _fixed(RAW_STEP, image.step)]
        parts += [_bytes(RAW_FRAME_ID, source.encode())]
        data = RAW_DATA
    if image.header:
        parts.append(_bytes(OWN_HEADER, image.header))
    # The pixels last and without a copy of their own: they are nearly all of it.
    return b"".join([*parts, _key(data, BYTES) + _varint(len(image.data)), image.data])


def decode(kind: str, message: bytes) -> Image:
    """Return the picture in a message of ``kind``; raises ProtocolError if it is none."""
    found = dict(_fields(memoryview(message)))
    if kind == COMPRESSED:
        return Image(COMPRESSED, _data(found, DATA), _text(found, FORMAT), header=_own(found))
    if kind != RAW:
        raise ProtocolError(f"{kind} is no picture")
    width, height, step = (_int(found, number) for number in (RAW_WIDTH, RAW_HEIGHT, RAW_STEP))
    data, encoding = _data(found, RAW_DATA), _text(found, RAW_ENCODING)
    return Image(RAW, data, encoding, width, height, step, _own(found))


def schema(kind: ImageKind) -> bytes:
    """Return the FileDescriptorSet that a reader of protobuf needs for messages of ``kind``."""
    package, _, name = kind.partition(".")
    stamp = _descriptor(
        "google/protobuf/timestamp.proto",
        "google.protobuf",
        "Timestamp",
        [("seconds", 1, INT64), ("nanos", 2, INT32)],
    )
    image = _descriptor(f"foxglove/{name}.proto", package, name, FIELDS[kind])
    return _bytes(1, stamp) + _bytes(1, image)


FIELDS: Final[dict[ImageKind, list[tuple[str, int, int]]]] = {
    "foxglove.CompressedImage": [
        ("timestamp", TIMESTAMP, MESSAGE),
        ("frame_id", FRAME_ID, STRING),
        ("data", DATA, BYTE_STRING),
        ("format", FORMAT, STRING),
    ],
    "foxglove.RawImage": [
        ("timestamp", TIMESTAMP, MESSAGE),
        ("frame_id", RAW_FRAME_ID, STRING),
        ("width", RAW_WIDTH, FIXED_32),
        ("height", RAW_HEIGHT, FIXED_32),
        ("encoding", RAW_ENCODING, STRING),
        ("step", RAW_STEP, FIXED_32),
        ("data", RAW_DATA, BYTE_STRING),
    ],
}


def _descriptor(file: str, package: str, name: str, fields: list[tuple[str, int, int]]) -> bytes:
    """Return a FileDescriptorProto with one message."""
    described = b"".join(_bytes(2, _field(*field)) for field in fields)
    message = _bytes(1, name.encode()) + described
    depends = any(kind == MESSAGE for _, _, kind in fields)
    parts = [_bytes(1, file.encode()), _bytes(2, package.encode())]
    if depends:
        parts.append(_bytes(3, b"google/protobuf/timestamp.proto"))
    parts += [_bytes(4, message), _bytes(12, b"proto3")]
    return b"".join(parts)


def _field(name: str, number: int, kind: int) -> bytes:
    of = _bytes(6, b".google.protobuf.Timestamp") if kind == MESSAGE else b""
    return (
        _bytes(1, name.encode()) + _number(3, number) + _number(4, OPTIONAL) + _number(5, kind) + of
    )


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _key(number: int, coding: int) -> bytes:
    return _varint(number << 3 | coding)


def _number(number: int, value: int) -> bytes:
    return _key(number, VARINT) + _varint(value)


def _fixed(number: int, value: int) -> bytes:
    return _key(number, FIXED32) + struct.pack("<I", value)


def _bytes(number: int, value: Data) -> bytes:
    return _key(number, BYTES) + _varint(len(value)) + bytes(value)


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield number and value of each field; raises ProtocolError if one is cut short."""
    at = 0
    while at < len(message):
        key, at = _read_varint(message, at)
        coding, value = key & 7, 0
        if coding == VARINT:
            value, at = _read_varint(message, at)
            yield key >> 3, value
            continue
        if coding == BYTES:
            size, at = _read_varint(message, at)
        elif coding in (FIXED32, FIXED64):
            size = 4 if coding == FIXED32 else 8
        else:
            raise ProtocolError(f"a field coded as {coding}")
        if at + size > len(message):
            raise ProtocolError("a field is cut short")
        yield key >> 3, message[at : at + size]
        at += size


def _read_varint(message: memoryview, at: int) -> tuple[int, int]:
    number = 0
    for place in range(MAX_VARINT_BYTES):
        if at + place >= len(message):
            break
        byte = message[at + place]
        number |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return number, at + place + 1
    raise ProtocolError("a number is cut short")


def _data(found: dict[int, int | memoryview], number: int) -> memoryview:
    value = found.get(number, memoryview(b""))
    if not isinstance(value, memoryview):
        raise ProtocolError(f"field {number} is a number")
    return value


def _text(found: dict[int, int | memoryview], number: int) -> str:
    return str(_data(found, number), "utf-8", errors="replace")


def _int(found: dict[int, int | memoryview], number: int) -> int:
    value = _data(found, number)
    return int.from_bytes(value, "little") if len(value) == 4 else 0


def _own(found: dict[int, int | memoryview]) -> memoryview:
    return _data(found, OWN_HEADER)
