"""Reads files of a recording, in order, and says what they hold and whether anything is missing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from framepair.nodes.recordings.completeness import Completeness, Seen, Verdict
from framepair.protocol.recording import images
from framepair.protocol.recording.ledger import (
    Announcement,
    decode_announcement,
    decode_entry,
)
from framepair.protocol.recording.reading import Logged, RecordingFile, source_of
from framepair.protocol.recording.segment import LEDGER, PAIRS
from framepair.protocol.wire import frame
from framepair.protocol.wire.frame import FrameHeader
from framepair.protocol.wire.header import ProtocolError


@dataclass(slots=True)
class Held:
    """What is on disk of one source."""

    frames: int = 0
    nbytes: int = 0
    first_ns: int = 0
    last_ns: int = 0
    formats: Counter[str] = field(default_factory=Counter)
    sizes: set[str] = field(default_factory=set)
    fps: str = ""

    def add(self, logged: Logged, shown: images.Image) -> None:
        """Count a frame."""
        at_ns, metadata = logged.message.log_time, logged.channel.metadata
        self.first_ns = min(self.first_ns, at_ns) if self.frames else at_ns
        self.last_ns = max(self.last_ns, at_ns)
        self.frames += 1
        self.nbytes += len(logged.message.data)
        self.formats[shown.format] += 1
        if "width" in metadata:
            self.sizes.add(f"{metadata['width']}x{metadata.get('height', '')}")
        self.fps = metadata.get("fps", self.fps)


@dataclass(slots=True)
class Findings:
    """What files hold: sources, the verdict, those without an index, and what of them can't be read."""

    sources: dict[str, Held]
    verdict: Verdict
    cut: list[Path]
    damaged_chunks: int
    malformed: int


def judge(paths: Sequence[Path]) -> Findings:
    """Read all of ``paths``, of one recording, in the order of their times.

    Raises NotARecording if one is none, OSError if it can't be read.
    """
    judging = _Judging()
    for path in in_order(paths):
        with RecordingFile(path) as file:
            if not file.is_whole():
                judging.cut.append(path)
            judging.add_all(file.messages())
            judging.damaged += file.damaged
    return judging.findings()


def in_order(paths: Iterable[Path]) -> list[Path]:
    """Return ``paths`` in the order of their first messages; those without any come first."""
    return sorted(paths, key=_first_ns)


def _first_ns(path: Path) -> int:
    with RecordingFile(path) as file:
        return next((logged.message.log_time for logged in file.messages()), 0)


class _Judging:
    def __init__(self) -> None:
        self._completeness = Completeness()
        self._sources: dict[str, Held] = {}
        self._announced: Announcement | None = None
        self._malformed = 0
        self.cut: list[Path] = []
        self.damaged = 0

    def add_all(self, messages: Iterable[Logged]) -> None:
        for logged in messages:
            try:
                self._add(logged)
            except ProtocolError:
                self._malformed += 1

    def findings(self) -> Findings:
        verdict = self._completeness.verdict()
        return Findings(self._sources, verdict, self.cut, self.damaged, self._malformed)

    def _add(self, logged: Logged) -> None:
        message = logged.message
        if logged.topic == PAIRS:
            self._announced = decode_announcement(message.data)
        elif logged.topic == LEDGER:
            announced, self._announced = self._announced, None
            if announced is not None:
                self._completeness.add_announcement(announced, decode_entry(message.data))
        elif logged.schema in images.FIELDS:
            self._add_frame(logged, images.decode(logged.schema, message.data))

    def _add_frame(self, logged: Logged, shown: images.Image) -> None:
        name = source_of(logged.channel)
        self._sources.setdefault(name, Held()).add(logged, shown)
        header = frame.decode(shown.header) if shown.header else None
        if isinstance(header, FrameHeader):
            self._completeness.add_frame(name, Seen(header.run, header.seq, header.captured_ns))
