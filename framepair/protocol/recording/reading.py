"""Reads MCAP files chunk by chunk from the beginning: also those that were cut off, which have no index."""

from __future__ import annotations

import contextlib
import os
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final

from mcap.data_stream import ReadDataStream
from mcap.exceptions import McapError
from mcap.opcode import Opcode
from mcap.records import Channel, Chunk, Message, MessageIndex, Schema
from mcap.stream_reader import breakup_chunk

from framepair.protocol.recording import images

MAGIC: Final = b"\x89MCAP0\r\n"
HEAD_BYTES: Final = 9
NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_-]+")
MAX_NAME: Final = 64
FOOTER_BYTES: Final = HEAD_BYTES + 20
# What a chunk begins with: the times of its first and last message.
CHUNK_TIMES: Final = struct.Struct("<QQ")
# What libraries raise of bytes that are not what their head says.
MALFORMED = (
    McapError,
    struct.error,
    ValueError,
    OverflowError,
    MemoryError,
    RuntimeError,
    IndexError,
    EOFError,
)


class NotARecording(ValueError):  # noqa: N818 - it says what there is
    """A file that is no recording, or none that can be read: the message is one sentence."""


@dataclass(frozen=True, slots=True)
class Record:
    """A whole record of a file: what it is, where it begins and ends."""

    opcode: int
    offset: int
    end: int


@dataclass(frozen=True, slots=True)
class Logged:
    """A message, and the channel that it was logged on."""

    channel: Channel
    schema: str
    message: Message

    @property
    def topic(self) -> str:
        """The topic of its channel."""
        return self.channel.topic


@dataclass(slots=True)
class Known:
    """The channels and schemas that chunks have named so far."""

    channels: dict[int, Channel] = field(default_factory=dict)
    schemas: dict[int, Schema] = field(default_factory=dict)

    def messages(self, chunk: Chunk) -> list[Logged]:
        """Return the messages of ``chunk`` in their order; raises one of MALFORMED if it is damaged."""
        found = []
        for record in breakup_chunk(chunk, validate_crc=True):
            if isinstance(record, Schema):
                self.schemas[record.id] = record
            elif isinstance(record, Channel):
                self.channels[record.id] = record
            elif isinstance(record, Message):
                channel = self.channels.get(record.channel_id)
                if channel is None:
                    raise ValueError(
                        f"a message on channel {record.channel_id}, which is not there"
                    )
                schema = self.schemas.get(channel.schema_id)
                found.append(Logged(channel, schema.name if schema else "", record))
        return found


class RecordingFile:
    """A recording, to be read from the beginning as far as its records are whole; close it, or use ``with``.

    Raises NotARecording if it is none, OSError if it can't be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.damaged = 0
        """How many chunks could not be read, of those that were looked at last."""
        self._file: BinaryIO = path.open("rb")
        self._size = os.fstat(self._file.fileno()).st_size
        if self._file.read(len(MAGIC)) != MAGIC:
            self._file.close()
            what = "is empty" if not self._size else "is no MCAP file"
            raise NotARecording(f"{path} {what}: name a recording")

    @property
    def size(self) -> int:
        """How many bytes it has, as of when it was opened."""
        return self._size

    def records(self, offset: int = len(MAGIC)) -> Iterator[Record]:
        """Yield the whole records from ``offset`` to the end, or to the first that is cut short or is none."""
        while offset + HEAD_BYTES <= self._size:
            self._file.seek(offset)
            opcode, length = struct.unpack("<BQ", self._file.read(HEAD_BYTES))
            end = offset + HEAD_BYTES + length
            if not opcode or end > self._size:
                return
            yield Record(opcode, offset, end)
            offset = end
            if opcode == Opcode.FOOTER:
                return

    def read(self, record: Record) -> BytesIO:
        """Return what is in ``record``."""
        self._file.seek(record.offset + HEAD_BYTES)
        return BytesIO(self._file.read(record.end - record.offset - HEAD_BYTES))

    def chunk(self, record: Record) -> Chunk:
        """Return the chunk that ``record`` is; raises one of MALFORMED if it is none."""
        chunk: Chunk = Chunk.read(ReadDataStream(self.read(record)))
        return chunk

    def index(self, record: Record) -> MessageIndex:
        """Return the index of a chunk that ``record`` is; raises one of MALFORMED if it is none."""
        index: MessageIndex = MessageIndex.read(ReadDataStream(self.read(record)))
        return index

    def last_ns(self) -> int:
        """Return the time of the last message, 0 if there is none."""
        chunks = (record for record in self.records() if record.opcode == Opcode.CHUNK)
        return max((self._times(chunk)[1] for chunk in chunks), default=0)

    def _times(self, chunk: Record) -> tuple[int, int]:
        """Return the times of the first and the last message of a chunk."""
        self._file.seek(chunk.offset + HEAD_BYTES)
        head = self._file.read(CHUNK_TIMES.size)
        if len(head) < CHUNK_TIMES.size:
            return 0, 0
        first_ns, last_ns = CHUNK_TIMES.unpack(head)
        return first_ns, last_ns

    def chunks(self) -> Iterator[Chunk]:
        """Yield the chunks that can be read, in the order in which they were written."""
        for record in self.records():
            if record.opcode == Opcode.CHUNK:
                with contextlib.suppress(*MALFORMED):
                    yield self.chunk(record)

    def tracks(self) -> dict[str, set[str]]:
        """Return the sources that have pictures, and the topics of each; by the index, else by reading all."""
        channels, schemas = self._named()
        found: dict[str, set[str]] = {}
        for channel in channels:
            schema = schemas.get(channel.schema_id)
            if schema is not None and schema.name in images.FIELDS:
                found.setdefault(source_of(channel), set()).add(channel.topic)
        return found

    def has(self, topic: str) -> bool:
        """Return whether there is a channel of ``topic``; by the index, else by reading all."""
        channels, _ = self._named()
        return any(channel.topic == topic for channel in channels)

    def _named(self) -> tuple[list[Channel], dict[int, Schema]]:
        known = self._known()
        if not known.channels:
            for chunk in self.chunks():
                with contextlib.suppress(*MALFORMED):
                    known.messages(chunk)
        return list(known.channels.values()), known.schemas

    def _known(self) -> Known:
        """Return the channels and schemas that the index names, none if there is no index that is whole."""
        with contextlib.suppress(*MALFORMED):
            return self._indexed()
        return Known()

    def _indexed(self) -> Known:
        """Return what the index names; raises one of MALFORMED if it is damaged."""
        known = Known()
        for record in self._summary() if self.is_whole() else ():
            if record.opcode == Opcode.SCHEMA:
                schema: Schema = Schema.read(ReadDataStream(self.read(record)))
                known.schemas[schema.id] = schema
            elif record.opcode == Opcode.CHANNEL:
                channel: Channel = Channel.read(ReadDataStream(self.read(record)))
                known.channels[channel.id] = channel
        return known

    def _summary(self) -> Iterator[Record]:
        """Yield the records of the index."""
        self._file.seek(self._size - FOOTER_BYTES - len(MAGIC) + HEAD_BYTES)
        (start,) = struct.unpack("<Q", self._file.read(8))
        yield from self.records(start) if start else ()

    def messages(self, since_ns: int = 0) -> Iterator[Logged]:
        """Yield the messages as they were written; damaged chunks are counted and left out.

        Chunks that end before ``since_ns`` are passed over, if the file has its index.
        """
        known, self.damaged = self._known() if since_ns else Known(), 0
        for record in self.records():
            if record.opcode == Opcode.CHUNK:
                if known.channels and since_ns and self._times(record)[1] < since_ns:
                    continue
                try:
                    found = known.messages(self.chunk(record))
                except MALFORMED:
                    self.damaged += 1
                    continue
                yield from found
            elif record.opcode == Opcode.DATA_END:
                return

    def is_whole(self) -> bool:
        """Return whether its index is at its end, as that of a recording that was finished."""
        self._file.seek(max(0, self._size - FOOTER_BYTES - len(MAGIC)))
        end = self._file.read()
        return end.endswith(MAGIC) and end[:1] == bytes([Opcode.FOOTER])

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> RecordingFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def source_of(channel: Channel) -> str:
    """Return the name of the source whose frames are on ``channel``: it says so, or it is made of the topic."""
    named = channel.metadata.get("source") or NOT_IN_NAMES.sub("-", channel.topic).strip("-")
    return named[:MAX_NAME] or "source"
