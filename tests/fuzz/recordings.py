"""Recordings that say anything: files, the chunks in them, and the messages in those."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
from mcap.records import Chunk

from framepair.nodes.producer.sources.pair_records import PairRecords
from framepair.nodes.producer.sources.recording_file import Track
from framepair.nodes.producer.sources.source import FrameLost, SourceError
from framepair.nodes.producer.sources.uri import AS_IT_IS
from framepair.nodes.recordings import telling
from framepair.nodes.recordings.judge import judge
from framepair.protocol.recording import images, ledger, repair
from framepair.protocol.recording.reading import (
    MALFORMED,
    Known,
    Logged,
    NotARecording,
    RecordingFile,
)
from framepair.protocol.recording.segment import LEDGER, PAIRS
from framepair.protocol.wire.header import ProtocolError
from tests.fuzz.draws import Draws
from tests.lib.recordings import write

# A picture that claims to be larger is not made here: the fuzzer has no time for it.
MOST_BYTES: Final = 10**6
MOST_FRAMES: Final = 50


@contextlib.contextmanager
def file_of(data: bytes) -> Iterator[Path]:
    """Give the path of a file in memory that has ``data``."""
    descriptor = os.memfd_create("recording")
    try:
        os.write(descriptor, data)
        yield Path(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)


def a_file() -> bytes:
    """Return a small recording."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "a.mcap"
        write(path)
        return path.read_bytes()


def messages() -> list[Logged]:
    """Return what is in it."""
    with file_of(a_file()) as path, RecordingFile(path) as file:
        return list(file.messages())


def a_chunk() -> bytes:
    """Return what is in the first of its chunks."""
    with file_of(a_file()) as path, RecordingFile(path) as file:
        return bytes(next(file.chunks()).data)


def files(data: bytes) -> None:
    """Read, judge, play and repair a file; then it is whole, and has the same in it."""
    with file_of(data) as path, contextlib.suppress(NotARecording):
        with RecordingFile(path) as file:
            found = len(list(file.messages()))
            tracks = list(file.tracks())
            assert file.last_ns() >= 0
            file.has(PAIRS)
        assert list(telling.verification(judge([path])))
        for name in tracks:
            _play(path, name)
        repair.repair(path)
        with RecordingFile(path) as file:
            assert file.is_whole()
            assert len(list(file.messages())) <= found


def _play(path: Path, name: str) -> None:
    with RecordingFile(path) as file, contextlib.suppress(SourceError, FrameLost):
        track = Track("it", file, name, AS_IT_IS)
        track.retold()
        for _ in range(MOST_FRAMES):
            if not track.grab():
                return
            assert track.position.next_ns >= track.position.at_ns
            track.retold()
            track.file()
            shape = track.format.shape
            if np.prod(shape) < MOST_BYTES:
                with contextlib.suppress(FrameLost):
                    track.retrieve(np.empty(shape, np.uint8), 0, 0)


def chunks(data: bytes) -> None:
    """Take what a chunk without a checksum says."""
    chunk = Chunk("", data, 1, 0, 0, len(data))
    with contextlib.suppress(*MALFORMED):
        for logged in Known().messages(chunk):
            _read(logged.schema, logged.topic, bytes(logged.message.data), PairRecords("left"))


def recorded(data: bytes) -> None:
    """Decode one message of any kind, and what is behind it."""
    draws = Draws(data)
    schema, topic = draws.choice(
        [(images.COMPRESSED, ""), (images.RAW, ""), ("", PAIRS), ("", LEDGER)]
    )
    _read(schema, topic, draws.rest(), PairRecords("left"))


def _read(schema: str, topic: str, data: bytes, records: PairRecords) -> None:
    with contextlib.suppress(ProtocolError):
        if schema in images.FIELDS:
            images.decode(schema, data)
        elif topic == PAIRS:
            header = ledger.decode_announcement(data)
            assert ledger.decode_announcement(ledger.encode(header)) == header
            retold = records.add_announcement(header, ledger.LedgerEntry(1, {}))
            assert retold is None or not retold.clip.spans
        elif topic == LEDGER:
            entry = ledger.decode_entry(data)
            assert ledger.decode_entry(ledger.encode(entry)) == entry
