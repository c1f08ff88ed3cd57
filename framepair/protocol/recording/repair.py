"""Repairs a recording whose writer was killed: it is cut after its last whole chunk, and gets its index."""

from __future__ import annotations

import fcntl
import os
import zlib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from mcap.data_stream import RecordBuilder
from mcap.opcode import Opcode
from mcap.records import (
    Chunk,
    ChunkIndex,
    DataEnd,
    Footer,
    Header,
    McapRecord,
    MessageIndex,
    Statistics,
    SummaryOffset,
)
from mcap.stream_reader import get_chunk_data_stream

from framepair.protocol.recording.reading import (
    MAGIC,
    MALFORMED,
    Known,
    Logged,
    Record,
    RecordingFile,
)
from framepair.protocol.recording.segment import LIBRARY


class BeingWritten(RuntimeError):  # noqa: N818 - it says what there is
    """A recording that is still being written: the message is one sentence."""


@dataclass(frozen=True, slots=True)
class Repaired:
    """What was done: ``cut_bytes`` were cut off, behind ``chunks`` whole chunks with ``messages`` in all."""

    cut_bytes: int
    chunks: int
    messages: int


def repair(path: Path) -> Repaired | None:
    """Cut the recording at ``path`` after its last whole chunk and write its index; None if it has one.

    A file without a whole chunk becomes a recording of nothing. Raises BeingWritten if its recorder still runs,
    NotARecording if it is none, OSError if it can't be written.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BeingWritten(
                f"{path} is being written: stop its recorder first, or wait for its next segment"
            ) from None
        _begin(descriptor)
        with RecordingFile(path) as file:
            if file.is_whole():
                return None
            found = _survey(file)
        os.ftruncate(descriptor, found.end)
        os.lseek(descriptor, found.end, os.SEEK_SET)
        _write(descriptor, found.closing())
        return Repaired(file.size - found.end, len(found.chunks), found.statistics.message_count)
    finally:
        os.close(descriptor)


def _begin(descriptor: int) -> None:
    """Write the beginning of a file that was killed before it had one."""
    if MAGIC.startswith(os.pread(descriptor, len(MAGIC) + 1, 0)):
        _write(descriptor, MAGIC)


def _write(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _survey(file: RecordingFile) -> Survey:
    """Read what is whole of ``file``."""
    survey = Survey()
    records = [record for record in file.records() if record.opcode != Opcode.FOOTER]
    for place, record in enumerate(records):
        if record.opcode == Opcode.DATA_END:
            break
        if record.opcode == Opcode.HEADER:
            survey.end, survey.has_header = record.end, True
        elif record.opcode == Opcode.CHUNK:
            _add_chunk(survey, file, records[place:])
    return survey


def _add_chunk(survey: Survey, file: RecordingFile, records: list[Record]) -> None:
    """Note the chunk that ``records`` begin with; one that is damaged stays in the file if others follow."""
    record = records[0]
    try:
        chunk = file.chunk(record)
        found = survey.known.messages(chunk)
    except MALFORMED:
        return
    indexes = []
    for after in records[1:]:
        if after.opcode != Opcode.MESSAGE_INDEX:
            break
        indexes.append(after)
    survey.add(chunk, record, found, indexes, file)


@dataclass(slots=True)
class Survey:
    """The whole part of a recording, up to ``end``, and what its index has to say of it."""

    end: int = len(MAGIC)
    has_header: bool = False
    known: Known = field(default_factory=Known)
    chunks: list[ChunkIndex] = field(default_factory=list)
    missing: bytes = b""
    """The indexes of the last chunk, which were cut off."""
    statistics: Statistics = field(
        default_factory=lambda: Statistics(0, 0, Counter(), 0, 0, 0, 0, 0, 0)
    )

    def add(
        self,
        chunk: Chunk,
        record: Record,
        found: list[Logged],
        indexes: list[Record],
        file: RecordingFile,
    ) -> None:
        """Note a whole chunk, and those of its indexes that are there."""
        offsets = {file.index(index).channel_id: index.offset for index in indexes}
        wanted = {logged.message.channel_id for logged in found}
        if wanted <= offsets.keys():
            self.end, self.missing = (indexes[-1].end if indexes else record.end), b""
        else:
            self.end = record.end
            offsets, self.missing = _rebuilt(chunk, record.end)
        self._count(found)
        self.chunks.append(
            ChunkIndex(
                chunk_length=record.end - record.offset,
                chunk_start_offset=record.offset,
                compression=chunk.compression,
                compressed_size=len(chunk.data),
                message_end_time=chunk.message_end_time,
                message_index_length=self.end + len(self.missing) - record.end,
                message_index_offsets=offsets,
                message_start_time=chunk.message_start_time,
                uncompressed_size=chunk.uncompressed_size,
            )
        )

    def closing(self) -> bytes:
        """Return what follows at ``end``: missing indexes, the end of the data, the index of the whole file."""
        head = b"" if self.has_header else _packed(Header("", LIBRARY))
        data = head + self.missing + _packed(DataEnd(0))
        start = self.end + len(data)
        self.statistics.channel_count = len(self.known.channels)
        self.statistics.schema_count = len(self.known.schemas)
        self.statistics.chunk_count = len(self.chunks)
        groups: list[tuple[Opcode, list[McapRecord]]] = [
            (Opcode.SCHEMA, [*self.known.schemas.values()]),
            (Opcode.CHANNEL, [*self.known.channels.values()]),
            (Opcode.STATISTICS, [self.statistics]),
            (Opcode.CHUNK_INDEX, [*self.chunks]),
        ]
        summary, offsets = b"", b""
        for opcode, group in groups:
            packed = b"".join(map(_packed, group))
            if packed:
                offsets += _packed(SummaryOffset(opcode, start + len(summary), len(packed)))
            summary += packed
        return data + _with_footer(summary, offsets, start)

    def _count(self, found: list[Logged]) -> None:
        for logged in found:
            at_ns, count = logged.message.log_time, self.statistics
            first = not count.message_count
            count.message_start_time = at_ns if first else min(at_ns, count.message_start_time)
            count.message_end_time = max(at_ns, count.message_end_time)
            count.message_count += 1
            count.channel_message_counts[logged.message.channel_id] += 1


FOOTER_CONTENT_BYTES: Final = 20
CRC_BYTES: Final = 4


def _with_footer(summary: bytes, offsets: bytes, start: int) -> bytes:
    """Return summary, its offsets, footer and magic."""
    footer = Footer(start, start + len(summary), 0)
    unchecked = summary + offsets + _packed(footer)[:-CRC_BYTES]
    footer.summary_crc = zlib.crc32(unchecked)
    return summary + offsets + _packed(footer) + MAGIC


def _rebuilt(chunk: Chunk, at: int) -> tuple[dict[int, int], bytes]:
    """Return the indexes of ``chunk``, and where each is if they begin at ``at``."""
    known: dict[int, MessageIndex] = {}
    for offset, channel, log_ns in _placed(chunk):
        known.setdefault(channel, MessageIndex(channel, [])).records.append((log_ns, offset))
    offsets, packed = {}, b""
    for channel, index in known.items():
        offsets[channel] = at + len(packed)
        packed += _packed(index)
    return offsets, packed


def _placed(chunk: Chunk) -> list[tuple[int, int, int]]:
    """Return offset in the chunk, channel and time of each message."""
    stream, length = get_chunk_data_stream(chunk)
    found = []
    while stream.count < length:
        offset = stream.count
        opcode, size = stream.read1(), stream.read8()
        if opcode == Opcode.MESSAGE:
            channel, _, log_ns = stream.read2(), stream.read4(), stream.read8()
            found.append((offset, channel, log_ns))
            size -= 14
        stream.read(size)
    return found


def _packed(record: McapRecord) -> bytes:
    builder = RecordBuilder()
    record.write(builder)
    packed: bytes = builder.end()
    return packed
