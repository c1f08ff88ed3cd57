"""One file of a recording while it is being written: MCAP, uncompressed, its chunks whole or not there."""

from __future__ import annotations

from pathlib import Path
from typing import IO, Final, cast

from mcap.writer import CompressionType, Writer

from framepair import __version__
from framepair.protocol.recording import images
from framepair.protocol.recording.chunk_file import ChunkFile
from framepair.protocol.recording.images import Image, ImageKind
from framepair.protocol.recording.ledger import Announcement, LedgerEntry, encode
from framepair.protocol.wire.frame import FrameHeader, picture_size
from framepair.protocol.wire.pair import PairHeader

PAIRS, LEDGER = "/pairs", "/ledger"
LIBRARY: Final = f"framepair {__version__}"
# Chunks end when ``flush`` is called, so that a pair and the ledger's entry are in the same one.
NO_LIMIT: Final = 1 << 62
# MCAP's sequence has 32 bits; the frame's own header has all of them.
SEQUENCE_MASK: Final = 0xFFFFFFFF


def image_topic(source: str) -> str:
    """Return the topic of the frames of ``source``."""
    return f"/{source}/image"


class Segment:
    """Writes frames, announcements and ledger entries to a new file at ``path``; raises as ChunkFile."""

    def __init__(self, path: Path) -> None:
        self._file = ChunkFile(path)
        self._writer = Writer(cast(IO[bytes], self._file), NO_LIMIT, CompressionType.NONE)
        self._schemas: dict[str, int] = {}
        self._channels: dict[tuple[str, int, str], int] = {}
        self._waiting = 0
        self._newest_ns = 0
        try:
            self._writer.start(library=LIBRARY)
            self._file.flush()
        except OSError:
            self.close()
            path.unlink(missing_ok=True)
            raise

    @property
    def path(self) -> Path:
        """Where the file is."""
        return self._file.path

    @property
    def size(self) -> int:
        """How many bytes are in the file."""
        return self._file.size

    @property
    def waiting_bytes(self) -> int:
        """How many bytes of messages wait for ``flush``."""
        return self._waiting

    def add_frame(self, header: FrameHeader, image: Image) -> None:
        """Add a frame, stamped with its capture time."""
        channel = self._frames(header, image.kind)
        self._newest_ns = max(self._newest_ns, header.captured_ns)
        data = images.encode(image, header.source, header.captured_ns)
        self._add(channel, header.captured_ns, data, header.seq & SEQUENCE_MASK)

    def add_announcement(self, header: Announcement, entry: LedgerEntry) -> None:
        """Add a pair's header, or the end of the stream, and what the ledger says as of then."""
        at_ns = header.start_ns if isinstance(header, PairHeader) else self._newest_ns
        self._add(self._json(PAIRS), at_ns, encode(header), header.seq & SEQUENCE_MASK)
        self._add(self._json(LEDGER), at_ns, encode(entry), header.seq & SEQUENCE_MASK)

    def flush(self) -> None:
        """End the chunk and write it; raises OSError, with the file as it was before, if that fails."""
        self._waiting = 0
        self._writer.flush()

    def finish(self) -> None:
        """Write what waits, and the index; close the file. Raises OSError as ``flush`` does."""
        try:
            self.flush()
            self._writer.finish()
            self._file.flush()
        finally:
            self.close()

    def close(self) -> None:
        """Close the file as it is, without an index."""
        self._file.close()

    def _add(self, channel: int, log_ns: int, data: bytes, sequence: int) -> None:
        self._waiting += len(data)
        self._writer.add_message(channel, log_ns, data, log_ns, sequence)

    def _frames(self, header: FrameHeader, kind: ImageKind) -> int:
        """Return the channel of a frame: each source and run has its own."""
        key = header.source, header.run, kind
        if key not in self._channels:
            if kind not in self._schemas:
                data = images.schema(kind)
                self._schemas[kind] = self._writer.register_schema(kind, "protobuf", data)
            self._channels[key] = self._writer.register_channel(
                image_topic(header.source), "protobuf", self._schemas[kind], _metadata(header)
            )
        return self._channels[key]

    def _json(self, topic: str) -> int:
        key = topic, 0, ""
        if key not in self._channels:
            self._channels[key] = self._writer.register_channel(topic, "json", 0)
        return self._channels[key]


def _metadata(header: FrameHeader) -> dict[str, str]:
    width, height = picture_size(header.shape, header.encoding)
    return {
        "source": header.source,
        "run": str(header.run),
        "fps": f"{header.fps:.9g}",
        "width": str(width),
        "height": str(height),
        "encoding": header.encoding,
        "pace": header.pace,
    }
