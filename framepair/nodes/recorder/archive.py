"""The files of a recording: what goes into them, when the next one begins, which are deleted, and what is lost.

Knows files and no sockets or threads; the time is asked of a clock that is given.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from framepair.protocol.recording.images import Image
from framepair.protocol.recording.ledger import Announcement, LedgerEntry, Received
from framepair.protocol.recording.names import SUFFIX
from framepair.protocol.recording.reading import NotARecording
from framepair.protocol.recording.repair import BeingWritten, repair
from framepair.protocol.recording.segment import Segment
from framepair.protocol.wire.frame import FrameHeader
from framepair.protocol.wire.reasons import RECORDER_DISK

log = logging.getLogger(__name__)

SECOND_NS: Final = 1_000_000_000
# A recorder that is killed loses the chunk that it has not written yet: half a second of frames.
CHUNK_NS: Final = SECOND_NS // 2
CHUNK_BYTES: Final = 32_000_000
# Of one file, besides its length: what tools open without trouble.
SEGMENT_BYTES: Final = 2_000_000_000
# A disk that has refused a chunk is asked again after so long, and needs room for so many chunks like it.
RETRY_NS: Final = SECOND_NS
ROOM_CHUNKS: Final = 2
# Names that this recorder gives, and no others: nothing else in the directory is repaired or deleted.
NAME: Final = re.compile(r"\d{8}T\d{6}\.\d{3}Z(?:-\d{1,4})?" + re.escape(SUFFIX) + r"\Z")
MAX_SAME_NAME: Final = 1000


@dataclass(frozen=True, slots=True)
class Rules:
    """How long and large a file may be, how old and large all of them; nanoseconds and bytes."""

    segment_ns: int = 600 * SECOND_NS
    segment_bytes: int = SEGMENT_BYTES
    keep_ns: int = 86_400 * SECOND_NS
    max_bytes: int = 100_000_000_000


class Archive:
    """Writes what it is given to files in ``directory``, in the order given; ``session`` is its ledger's.

    A disk that is full or gone is no failure: what it does not take is lost by whole chunks, and counted, until
    there is room again. Call ``tick`` at least several times a second, and ``close`` at the end.
    """

    def __init__(
        self, directory: Path, rules: Rules, session: int, now_ns: Callable[[], int]
    ) -> None:
        self._directory, self._rules, self._session = directory, rules, session
        self._now_ns = now_ns
        self._came: Counter[str] = Counter()
        self._lost: dict[str, Counter[str]] = {}
        self._segment: Segment | None = None
        self._segment_ns = self._chunk_ns = 0
        self._in_chunk: Counter[str] = Counter()
        """Frames of each source that wait to be written."""
        self._retry_ns = 0
        self._needed_bytes = 0
        self._failed = False
        self._unfinished: Path | None = None
        """A file that had no room for its index."""
        self.files = 0

    def prepare(self) -> None:
        """Repair what an earlier recorder left without an index, and delete what is too old."""
        for path in segments(self._directory):
            with contextlib.suppress(NotARecording, BeingWritten, OSError):
                repaired = repair(path)
                if repaired is not None:
                    log.warning("%s was cut off, and is repaired", path)
        self._expire()

    def add_frame(self, header: FrameHeader, image: Image) -> None:
        """Write a frame."""
        self._came[header.source] += 1
        segment = self._open_segment()
        if segment is None:
            self._lose(header.source, RECORDER_DISK)
            return
        self._begin_chunk()
        self._in_chunk[header.source] += 1
        segment.add_frame(header, image)
        if segment.waiting_bytes >= CHUNK_BYTES:
            self._flush()

    def lose_frame(self, source: str, reason: str) -> None:
        """Count a frame that came and can't be written."""
        self._came[source] += 1
        self._lose(source, reason)

    def add_announcement(self, header: Announcement) -> None:
        """Write a pair's header, or the end of the stream, and what the ledger says as of now."""
        segment = self._open_segment()
        if segment is not None:
            self._begin_chunk()
            segment.add_announcement(header, LedgerEntry(self._session, self.received()))

    def tick(self) -> None:
        """Write what has waited for long enough; begin the next file when it is time to."""
        now_ns = self._now_ns()
        if self._chunk_ns and now_ns - self._chunk_ns >= CHUNK_NS:
            self._flush()
        segment, rules = self._segment, self._rules
        if segment is not None and (
            now_ns - self._segment_ns >= rules.segment_ns
            or segment.size >= min(rules.segment_bytes, rules.max_bytes // 2)
        ):
            self._finish()
            self._expire()

    def close(self) -> None:
        """Write all, and the index of the last file."""
        self._finish()

    def received(self) -> dict[str, Received]:
        """Return what came of each source, and what of it was lost, by reason."""
        return {
            source: Received(came, dict(self._lost.get(source, {})))
            for source, came in self._came.items()
        }

    def _open_segment(self) -> Segment | None:
        """Return the file to write to; None if there is no room for one."""
        now_ns = self._now_ns()
        if self._segment is None and now_ns >= self._retry_ns:
            try:
                self._refuse_full()
                self._segment = self._new_segment(now_ns)
            except OSError as error:
                self._fail(error)
            else:
                self.files += 1
                self._segment_ns = now_ns
        return self._segment

    def _refuse_full(self) -> None:
        status = os.statvfs(self._directory)
        free = status.f_bavail * status.f_frsize
        if status.f_blocks and free < ROOM_CHUNKS * self._needed_bytes:
            raise OSError(f"only {free} bytes are free")

    def _new_segment(self, now_ns: int) -> Segment:
        at = datetime.fromtimestamp(now_ns / 1e9, UTC)
        stem = f"{at:%Y%m%dT%H%M%S}.{at.microsecond // 1000:03}Z"
        for number in range(MAX_SAME_NAME):
            with contextlib.suppress(FileExistsError):
                return Segment(self._directory / f"{stem}{f'-{number}' if number else ''}{SUFFIX}")
        raise FileExistsError(f"{stem}{SUFFIX} is there already")

    def _begin_chunk(self) -> None:
        if not self._chunk_ns:
            self._chunk_ns = self._now_ns()

    def _flush(self) -> None:
        if self._segment is None:
            return
        self._needed_bytes = self._segment.waiting_bytes
        try:
            self._segment.flush()
        except OSError as error:
            self._give_up_segment(error)
        else:
            self._succeed()

    def _finish(self) -> None:
        segment = self._segment
        self._flush()
        if segment is None or self._segment is None:
            return
        self._segment = None
        try:
            segment.finish()
        except OSError as error:
            self._unfinished = segment.path
            self._fail(error)

    def _succeed(self) -> None:
        self._in_chunk.clear()
        self._chunk_ns = 0
        if self._failed:
            self._failed = False
            lost = sum(count[RECORDER_DISK] for count in self._lost.values())
            log.warning("%s takes frames again; %d frames were lost", self._directory, lost)
            if self._unfinished is not None:
                _index(self._unfinished)

    def _give_up_segment(self, error: OSError) -> None:
        """Count the chunk that was not written as lost, and leave the file as it was before."""
        for source, count in self._in_chunk.items():
            self._lose(source, RECORDER_DISK, count)
        self._in_chunk.clear()
        self._chunk_ns = 0
        segment, self._segment = self._segment, None
        self._fail(error)
        if segment is not None:
            segment.close()
            self._unfinished = segment.path
            _index(segment.path)

    def _fail(self, error: OSError) -> None:
        self._retry_ns = self._now_ns() + RETRY_NS
        if not self._failed:
            self._failed = True
            log.warning(
                "%s takes no more frames, which are lost until there is room: %s",
                self._directory,
                error.strerror or error,
            )

    def _lose(self, source: str, reason: str, count: int = 1) -> None:
        self._lost.setdefault(source, Counter())[reason] += count

    def _expire(self) -> None:
        """Delete the oldest files until those that are left are neither too old nor too large together."""
        closed = list(_sizes(self._directory, self._segment.path if self._segment else None))
        total = sum(size for _, size, _ in closed)
        for path, size, ended_ns in closed:
            if total <= self._rules.max_bytes - min(
                self._rules.segment_bytes, self._rules.max_bytes // 2
            ) and (ended_ns >= self._now_ns() - self._rules.keep_ns):
                return
            with contextlib.suppress(OSError):
                path.unlink()
                log.info("%s is deleted: it is too old, or all are too large", path)
            total -= size


def segments(directory: Path) -> list[Path]:
    """Return the files of recordings in ``directory``, the oldest first."""
    with contextlib.suppress(OSError):
        return sorted(path for path in directory.iterdir() if NAME.match(path.name))
    return []


def _sizes(directory: Path, current: Path | None) -> Iterator[tuple[Path, int, int]]:
    """Yield path, size and end of each file but the ``current`` one, the oldest first."""
    for path in segments(directory):
        with contextlib.suppress(OSError):
            status = path.stat()
            if path != current:
                yield path, status.st_size, status.st_mtime_ns


def _index(path: Path) -> None:
    """Give a file that is cut off its index, if there is room; a file without a frame is removed."""
    with contextlib.suppress(NotARecording, BeingWritten, OSError):
        repaired = repair(path)
        if repaired is not None and not repaired.chunks:
            path.unlink()
