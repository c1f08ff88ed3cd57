"""One source of a recording: its frames with their own times, run and seq."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import numpy as np
from av.video.frame import VideoFrame

from framepair.nodes.common.recorded_pictures import decoded
from framepair.nodes.producer.sources.pair_records import Lost, PairRecords
from framepair.nodes.producer.sources.pictures import Pictures
from framepair.nodes.producer.sources.source import (
    Format,
    FrameLost,
    FrameName,
    Image,
    Position,
    Retold,
    SourceError,
)
from framepair.nodes.producer.sources.uri import SourceUri, Wanted
from framepair.protocol.memory import jpeg
from framepair.protocol.recording import images, names
from framepair.protocol.recording.directory import RecordingFiles, opened
from framepair.protocol.recording.ledger import Announcement, decode_announcement, decode_entry
from framepair.protocol.recording.reading import Logged, NotARecording, RecordingFile
from framepair.protocol.recording.segment import LEDGER, PAIRS
from framepair.protocol.wire import frame
from framepair.protocol.wire.frame import Encoding, FrameHeader
from framepair.protocol.wire.header import ProtocolError
from framepair.protocol.wire.pair import PairHeader, Totals

Readable = RecordingFile | RecordingFiles
# What a recording that says no rate is taken to have.
USUAL_FPS: Final = 25.0
SECOND_NS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Recorded:
    """A frame on disk: its time, picture, and header if framepair has written it.

    ``native`` is what its pixels are if they need no FFmpeg: framepair's own, and a JPEG file as framepair
    itself writes it. ``then`` is what was announced before the next one, once that has been read. It is played
    ``later_ns`` after its time, in another pass through the recording.
    """

    at_ns: int
    image: images.Image
    header: FrameHeader | None
    native: tuple[tuple[int, int, int], Encoding] | None
    then: list[Retold] = field(default_factory=list)
    later_ns: int = 0

    @property
    def recorded_ns(self) -> int:
        """When it was captured, also if it was recorded when it was played from another recording."""
        replayed_ns = self.header.recorded_ns if self.header else None
        return self.at_ns if replayed_ns is None else replayed_ns


def open_track(name: str, source: SourceUri, wanted: Wanted, *, loop: bool = False) -> Track:
    """Open what ``source`` names; raises SourceError if there is no such recording, or source in it."""
    path, track = names.split(source.location)
    with _readable(name, Path(path)):
        file = opened(Path(path))
    try:
        with _readable(name, Path(path)):
            return Track(name, file, track, wanted, loop=loop)
    except (SourceError, FrameLost) as error:
        file.close()
        raise SourceError(str(error)) from None


class Track:
    """Plays one source of a recording. Times are nanoseconds since it begins to play, for all sources alike.

    It begins with its first chunk, or with the window that the wanted start is in. In each pass but the
    first, with ``loop``, runs have other numbers. A frame is made as it was when it was recorded; with other
    pixels or another size it is decoded by FFmpeg. Raises SourceError if there is no source ``track`` in the
    file, or, if that is "", not only one.
    """

    reopened = skipped = 0

    def __init__(
        self, name: str, file: Readable, track: str, wanted: Wanted, *, loop: bool = False
    ) -> None:
        self._name, self._file = name, file
        self._pictures = Pictures(name, wanted)
        self._as_recorded = wanted.pixels is None and wanted.size is None
        self._source, self._topics = _topics(name, self._file, track)
        self._retold: list[Retold] = []
        self.window_ns = _window_ns(self._file)
        self._begins_ns = _begins_ns(self._file)
        self._since_ns = self._begins_ns + wanted.start_ns
        if wanted.start_ns and self.window_ns:
            self._since_ns = max(self._begins_ns, self._since_ns // self.window_ns * self.window_ns)
        self._skipped_ns = self._since_ns if wanted.start_ns else 0
        self._coming = self._passes() if loop else self._pass(Pass(self._source))
        first = next(self._coming, None)
        if first is None and wanted.start_ns:
            start_s = wanted.start_ns / SECOND_NS
            raise SourceError(f"source {name}: --start {start_s:g}s: it ends before: begin earlier")
        if first is None:
            raise SourceError(f"source {name}: {file.path} has no frame of {track or 'it'}")
        self.run = first.header.run if first.header else None
        second = next(self._coming, None)
        self._coming = itertools.chain([second] if second else [], self._coming)
        self._period_ns = second.at_ns - first.at_ns if second else 0
        self._current = self._ahead = first
        self._over = False
        self.format = self._format(first)
        self._period_ns = self._period_ns or round(SECOND_NS / self.format.fps)

    @property
    def position(self) -> Position:
        """Time of the grabbed frame and of the next one, and what it was called."""
        recorded, header = self._current, self._current.header
        at_ns = self._played_ns(recorded)
        period_ns = header.period_ns if header else self._period_ns
        next_ns = at_ns + period_ns if self._over else self._played_ns(self._ahead)
        named = (
            FrameName(header.run + recorded.later_ns, header.seq, header.dropped)
            if header
            else None
        )
        grade = (header.stamp if header else None) or "exact"
        known = header.stamp_uncertainty_ns if header else None
        recorded_ns = recorded.recorded_ns
        return Position(at_ns, max(at_ns, next_ns), grade, known, named, recorded_ns)

    def grab(self) -> bool:
        """Go on to the next frame; return whether there is one."""
        if self._over:
            return False
        self._current = self._ahead
        with _readable(self._name, self._file.path):
            following = next(self._coming, None)
        self._over = following is None
        self._retold = self._current.then
        self._ahead = following or self._current
        if self._is_native():
            self.format = self._format(self._current)
        return True

    def retrieve(self, out: Image, seq: int, captured_ns: int) -> Image:  # noqa: ARG002
        """Decode the grabbed frame into ``out``; see Capture."""
        if not self._is_native():
            image, self.format = self._pictures.retrieve(self._decoded(), out, self.format)
            return image
        shape = self.format.shape
        image = out if out.shape == shape else np.empty(shape, np.uint8)
        found = self._current.image
        try:
            if self._current.header is None or found.kind == images.COMPRESSED:
                jpeg.decode(memoryview(found.data), image, self.format.encoding)
            else:
                np.copyto(image, np.frombuffer(found.data, np.uint8).reshape(shape))
        except (ProtocolError, ValueError) as error:
            raise FrameLost(f"source {self._name}: a frame cannot be decoded: {error}") from None
        return image

    def file(self) -> memoryview | None:
        """Return the grabbed frame as the JPEG file that it was recorded as, None if it is none."""
        found = self._current.image
        native = self._is_native() and found.kind == images.COMPRESSED
        return memoryview(found.data) if native else None

    def retold(self) -> list[Retold]:
        """Return what was announced between the grabbed frame and the next; see Retelling."""
        return self._retold

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _passes(self) -> Iterator[Recorded]:
        """Yield the frames over and over again, each time later by the same time for all sources."""
        window_ns = self.window_ns or 1
        windows = self._file.last_ns() // window_ns - self._since_ns // window_ns + 1
        # Pictures of another program say nothing of how long the last one is shown.
        length_ns = windows * window_ns if self.window_ns else windows + SECOND_NS // int(USUAL_FPS)
        passing = Pass(self._source)
        while passing.has_frames or not passing.later_ns:
            yield from self._pass(passing)
            passing = passing.following(length_ns)

    def _pass(self, passing: Pass) -> Iterator[Recorded]:
        """Yield the frames, and let each have what was announced after it."""
        then = self._retold
        for logged in self._file.messages(self._skipped_ns):
            if logged.message.log_time < self._skipped_ns:
                continue
            with contextlib.suppress(ProtocolError):
                if logged.topic in self._topics and logged.schema in images.FIELDS:
                    found = replace(_recorded(logged), later_ns=passing.later_ns)
                    passing.add_frame(found)
                    then = found.then
                    yield found
                elif (retold := passing.retold(logged, self._since_ns)) is not None:
                    then.append(retold)

    def _played_ns(self, recorded: Recorded) -> int:
        return recorded.at_ns + recorded.later_ns - self._since_ns

    def _is_native(self) -> bool:
        """Return whether the frame is wanted as it was recorded, and needs no FFmpeg for that."""
        return self._as_recorded and self._current.native is not None

    def _format(self, recorded: Recorded) -> Format:
        header = recorded.header
        fps = (
            header.fps if header else SECOND_NS / self._period_ns if self._period_ns else USUAL_FPS
        )
        start_ns = self._since_ns - self._begins_ns
        known = Format((1, 1, 3), fps=fps, begins_ns=self._begins_ns, start_ns=start_ns)
        if recorded.native is None or not self._as_recorded:
            return self._pictures.format(self._decoded(), known)
        shape, encoding = recorded.native
        return replace(
            known, shape=shape, encoding=encoding, colour=header.colour if header else None
        )

    def _decoded(self) -> VideoFrame:
        """Return the grabbed frame, decoded by FFmpeg; raises FrameLost if that can't be done."""
        try:
            return decoded(self._current.image, self._current.header)
        except ProtocolError as error:
            raise FrameLost(f"source {self._name}: {error}") from None


class Pass:
    """One time through a recording: what is announced of ``source`` in it, ``later_ns`` after its time."""

    def __init__(
        self, source: str, later_ns: int = 0, former: Sequence[tuple[Totals, Lost]] = ()
    ) -> None:
        self.later_ns = later_ns
        self._source = source
        self._records = PairRecords(source, former)
        self._announced: Announcement | None = None
        self._began = False
        self.has_frames = False

    def following(self, length_ns: int) -> Pass:
        """Return the pass after this one."""
        after = Pass(self._source, self.later_ns + length_ns, self._records.summed())
        after.has_frames = self.has_frames
        return after

    def add_frame(self, found: Recorded) -> None:
        """Note a frame that is on disk."""
        self.has_frames = True
        if found.header is not None:
            self._records.add_frame(found.header.run, found.header.seq, found.header.captured_ns)

    def retold(self, logged: Logged, since_ns: int) -> Retold | None:
        """Return what a message says of the pairs that frames are in, from ``since_ns`` on; None if nothing."""
        if logged.topic == PAIRS:
            self._announced = decode_announcement(logged.message.data)
        elif logged.topic == LEDGER and self._announced is not None:
            announced, self._announced = self._announced, None
            entry = decode_entry(logged.message.data)
            retold = self._records.add_announcement(announced, entry)
            return None if retold is None else self._moved(retold, self.later_ns - since_ns)
        return None

    def _moved(self, retold: Retold, by_ns: int) -> Retold:
        if retold.end_ns is None:
            return retold
        previous_ns = retold.previous_ns
        if self.later_ns and not self._began:
            # What comes after the last pair of the pass before is no window that was left out.
            previous_ns = 2 * retold.start_ns - retold.end_ns
        self._began = True
        return replace(
            retold,
            start_ns=retold.start_ns + by_ns,
            end_ns=retold.end_ns + by_ns,
            previous_ns=None if previous_ns is None else previous_ns + by_ns,
        )


def _recorded(logged: Logged) -> Recorded:
    image = images.decode(logged.schema, logged.message.data)
    found = frame.decode(image.header) if image.header else None
    header = found if isinstance(found, FrameHeader) else None
    native = (header.shape, header.encoding) if header else None
    if header is None and image.format in ("jpeg", "jpg"):
        native = jpeg.described(memoryview(image.data))
    return Recorded(logged.message.log_time, image, header, native)


@contextlib.contextmanager
def _readable(name: str, path: Path) -> Iterator[None]:
    """Turn what goes wrong with the files of a recording into a sentence; raises SourceError."""
    try:
        yield
    except NotARecording as error:
        raise SourceError(f"source {name}: {error}") from None
    except OSError as error:
        raise SourceError(
            f"source {name}: cannot read {error.filename or path}: {error.strerror}: check the path"
        ) from None


def _topics(name: str, file: Readable, track: str) -> tuple[str, frozenset[str]]:
    """Return name and topics of ``track``, or of the only source; raises SourceError if there is no such."""
    tracks = file.tracks()
    chosen = track or (next(iter(tracks)) if len(tracks) == 1 else "")
    if chosen not in tracks:
        there = f"it has {', '.join(tracks)}" if tracks else "it has none"
        raise SourceError(f"source {name}: name a source of {file.path}: {there}: {file.path}#NAME")
    return chosen, frozenset(tracks[chosen])


def _begins_ns(file: Readable) -> int:
    """Return when the first chunk begins, the same for all sources of a recording; 0 if it has none."""
    first = next(file.chunks(), None)
    return first.message_start_time if first else 0


def _window_ns(file: Readable) -> int | None:
    """Return how long the windows of its pairs are, None if it has none."""
    if not file.has(PAIRS):
        return None
    for logged in file.messages():
        if logged.topic == PAIRS:
            with contextlib.suppress(ProtocolError):
                header = decode_announcement(logged.message.data)
                if isinstance(header, PairHeader):
                    return header.end_ns - header.start_ns
    return None
