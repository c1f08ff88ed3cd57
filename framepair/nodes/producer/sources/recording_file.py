"""One source of a recording: its frames with their own times, run and seq."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, cast

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from framepair.nodes.producer.sources.pair_records import PairRecords
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
from framepair.protocol.wire.frame import FrameHeader
from framepair.protocol.wire.header import ProtocolError
from framepair.protocol.wire.pair import PairHeader

Readable = RecordingFile | RecordingFiles
# What a recording that says no rate is taken to have.
USUAL_FPS: Final = 25.0
SECOND_NS: Final = 1_000_000_000
# What decodes pictures that framepair has not written itself.
DECODERS: Final = {"jpeg": "mjpeg", "jpg": "mjpeg", "png": "png", "webp": "webp"}
PIXELS: Final = {"bgr8": "bgr24", "8UC3": "bgr24", "rgb8": "rgb24", "mono8": "gray", "8UC1": "gray"}


@dataclass(frozen=True, slots=True)
class Recorded:
    """A frame on disk: its time, picture, and header if framepair has written it.

    ``then`` is what was announced before the next one, once that has been read.
    """

    at_ns: int
    image: images.Image
    header: FrameHeader | None
    then: list[Retold] = field(default_factory=list)


def open_track(name: str, source: SourceUri, wanted: Wanted) -> Track:
    """Open what ``source`` names; raises SourceError if there is no such recording, or source in it."""
    path, track = names.split(source.location)
    with _readable(name, Path(path)):
        file = opened(Path(path))
    try:
        with _readable(name, Path(path)):
            return Track(name, file, track, wanted)
    except (SourceError, FrameLost) as error:
        file.close()
        raise SourceError(str(error)) from None


class Track:
    """Plays one source of a recording. Times are nanoseconds since its first chunk, for all sources alike.

    A frame is made as it was when it was recorded; with other pixels or another size it is decoded by FFmpeg.
    Raises SourceError if there is no source ``track`` in the file, or, if that is "", not only one.
    """

    reopened = skipped = 0

    def __init__(self, name: str, file: Readable, track: str, wanted: Wanted) -> None:
        self._name, self._file = name, file
        self._pictures = Pictures(name, wanted)
        self._as_recorded = wanted.pixels is None and wanted.size is None
        self._source, self._topics = _topics(name, self._file, track)
        self._records = PairRecords(self._source)
        self._announced: Announcement | None = None
        self._retold: list[Retold] = []
        self._coming = self._frames()
        first = next(self._coming, None)
        if first is None:
            raise SourceError(f"source {name}: {file.path} has no frame of {track or 'it'}")
        self.run = first.header.run if first.header else None
        self._begins_ns = _begins_ns(self._file)
        self.window_ns = _window_ns(self._file)
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
        at_ns, header = self._current.at_ns - self._begins_ns, self._current.header
        period_ns = header.period_ns if header else self._period_ns
        next_ns = at_ns + period_ns if self._over else self._ahead.at_ns - self._begins_ns
        named = FrameName(header.run, header.seq, header.dropped) if header else None
        grade = (header.stamp if header else None) or "exact"
        known = header.stamp_uncertainty_ns if header else None
        return Position(at_ns, max(at_ns, next_ns), grade, known, named)

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
            if found.kind == images.COMPRESSED:
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
        return [
            replace(
                each,
                start_ns=each.start_ns - self._begins_ns,
                end_ns=None if each.end_ns is None else each.end_ns - self._begins_ns,
                previous_ns=None
                if each.previous_ns is None
                else each.previous_ns - self._begins_ns,
            )
            for each in self._retold
        ]

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _frames(self) -> Iterator[Recorded]:
        then = self._retold
        for logged in self._file.messages():
            with contextlib.suppress(ProtocolError):
                if logged.topic in self._topics and logged.schema in images.FIELDS:
                    found = _recorded(logged)
                    if found.header is not None:
                        header = found.header
                        self._records.add_frame(header.run, header.seq, header.captured_ns)
                    then = found.then
                    yield found
                elif (retold := self._announcement(logged)) is not None:
                    then.append(retold)

    def _announcement(self, logged: Logged) -> Retold | None:
        """Return what a message says of the pairs that frames are in, None if nothing."""
        if logged.topic == PAIRS:
            self._announced = decode_announcement(logged.message.data)
        elif logged.topic == LEDGER and self._announced is not None:
            announced, self._announced = self._announced, None
            return self._records.add_announcement(announced, decode_entry(logged.message.data))
        return None

    def _is_native(self) -> bool:
        """Return whether the frame is wanted as framepair has recorded it."""
        return self._as_recorded and self._current.header is not None

    def _format(self, recorded: Recorded) -> Format:
        header = recorded.header
        fps = (
            header.fps if header else SECOND_NS / self._period_ns if self._period_ns else USUAL_FPS
        )
        known = Format((1, 1, 3), fps=fps, begins_ns=self._begins_ns)
        if header is None or not self._as_recorded:
            return self._pictures.format(self._decoded(), known)
        return replace(known, shape=header.shape, encoding=header.encoding, colour=header.colour)

    def _decoded(self) -> VideoFrame:
        """Return the grabbed frame, decoded by FFmpeg; raises FrameLost if that can't be done."""
        image = self._current.image
        try:
            if image.kind == images.RAW:
                return _from_pixels(image)
            codec = av.CodecContext.create(DECODERS[image.format], "r")
            decoder = cast(VideoCodecContext, codec)
            packet = av.Packet(bytes(image.data))
            return [*decoder.decode(packet), *decoder.decode(None)][0]
        except (av.FFmpegError, KeyError, ValueError, IndexError):
            raise FrameLost(
                f"source {self._name}: a frame of format {image.format!r} cannot be decoded"
            ) from None


def _recorded(logged: Logged) -> Recorded:
    image = images.decode(logged.schema, logged.message.data)
    header = frame.decode(image.header) if image.header else None
    return Recorded(
        logged.message.log_time, image, header if isinstance(header, FrameHeader) else None
    )


def _from_pixels(image: images.Image) -> VideoFrame:
    channels = 1 if PIXELS[image.format] == "gray" else 3
    lines = np.frombuffer(image.data, np.uint8).reshape(image.height, -1)
    pixels = np.ascontiguousarray(lines[:, : image.width * channels])
    shape = (image.height, image.width) if channels == 1 else (image.height, image.width, channels)
    return VideoFrame.from_ndarray(pixels.reshape(shape), format=PIXELS[image.format])


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
    """Return when the first chunk begins: the same for all sources of a recording."""
    return next(file.chunks()).message_start_time


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
