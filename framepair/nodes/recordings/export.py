"""Recordings as files that anything plays: an mp4 for each source, tables of frames and pairs."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace

from framepair.nodes.common import recorded_pictures
from framepair.nodes.common.runtime import Refused
from framepair.nodes.recordings.judge import in_order
from framepair.protocol.memory import jpeg
from framepair.protocol.recording import images
from framepair.protocol.recording.ledger import decode_announcement
from framepair.protocol.recording.reading import Logged, RecordingFile, source_of
from framepair.protocol.recording.segment import PAIRS
from framepair.protocol.wire import frame
from framepair.protocol.wire.frame import FrameHeader
from framepair.protocol.wire.header import ProtocolError
from framepair.protocol.wire.pair import PairHeader

# Of presentation times: an mp4's can be so fine, an mkv's are always milliseconds.
TICK: Final = Fraction(1, 1_000_000)
TICK_NS: Final = 1000
USUAL_PERIOD_NS: Final = 40_000_000
CODEC: Final = "libx264"
# Without B-frames, frames come in the order of their times; 18 is hard to tell from the original.
CODEC_OPTIONS: Final = {"bf": "0", "crf": "18", "preset": "veryfast"}
FRAME_COLUMNS = (
    "source",
    "run",
    "seq",
    "captured_ns",
    "stamp",
    "uncertainty_ns",
    "window",
    "file",
    "pts_us",
)
PAIR_COLUMNS = ("window", "start_ns", "end_ns", "complete", "source", "frames", "gaps", "missing")  # fmt: skip


def export(paths: Sequence[Path], directory: Path, *, h264: bool = False) -> list[Path]:
    """Write the recording in ``paths`` to new files in ``directory``; return the videos.

    They have the JPEG files as they are, or, with ``h264``, pictures that are coded as H.264.
    Raises Refused if one of them is there already, OSError or NotARecording for what can't be read or written.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        frames = _table(stack, directory / "frames.csv", FRAME_COLUMNS)
        pairs = _table(stack, directory / "pairs.csv", PAIR_COLUMNS)
        videos = Videos(directory, H264 if h264 else Copied)
        stack.callback(videos.close)
        for logged in _messages(paths):
            if logged.topic == PAIRS:
                pairs.writerows(_pair_rows(logged))
            elif logged.schema in images.FIELDS:
                frames.writerow(videos.add(logged))
        return videos.paths


class Videos:
    """The mp4 files of all sources, with the times of capture since the recording's first frame.

    A source whose frames change their size goes on in another file, of ``kind`` as all.
    """

    def __init__(self, directory: Path, kind: type[Copied | H264]) -> None:
        self._directory, self._kind = directory, kind
        self._writing: dict[str, tuple[str, Copied | H264]] = {}
        self._begins_ns: int | None = None
        self.paths: list[Path] = []

    def add(self, logged: Logged) -> tuple[object, ...]:
        """Add a frame; return its row of the table of frames."""
        image = images.decode(logged.schema, logged.message.data)
        found = frame.decode(image.header) if image.header else None
        header = found if isinstance(found, FrameHeader) else None
        at_ns, source = logged.message.log_time, source_of(logged.channel)
        self._begins_ns = at_ns if self._begins_ns is None else self._begins_ns
        metadata = logged.channel.metadata
        size = f"{metadata.get('width', '')}x{metadata.get('height', '')}"
        video = self._video(source, size)
        shown = Shown(image, header, (at_ns - self._begins_ns) // TICK_NS)
        pts = video.write(shown)
        name = video.path.name
        if header is None:
            return (source, "", "", at_ns, "", "", "", name, pts)
        known = (header.stamp or "", header.stamp_uncertainty_ns, header.window)
        return (source, header.run, header.seq, at_ns, *known, name, pts)

    def close(self) -> None:
        """Finish all files."""
        for _, video in self._writing.values():
            video.close()
        self._writing.clear()

    def _video(self, source: str, size: str) -> Copied | H264:
        """Return the file that a frame of this size goes to."""
        known = self._writing.get(source)
        if known is not None and known[0] == size:
            return known[1]
        if known is not None:
            known[1].close()
        count = sum(path.stem.partition(".")[0] == source for path in self.paths)
        path = self._directory / f"{source}{f'.{count + 1}' if count else ''}.mp4"
        _refuse_existing(path)
        self.paths.append(path)
        self._writing[source] = size, self._kind(path)
        return self._writing[source][1]


@dataclass(frozen=True, slots=True)
class Shown:
    """A picture, its header if framepair wrote it, and when it is shown, in ticks."""

    image: images.Image
    header: FrameHeader | None
    pts: int

    @property
    def duration(self) -> int:
        """For how long it is shown if no other follows, in ticks; without that, players leave it out."""
        return (self.header.period_ns if self.header else USUAL_PERIOD_NS) // TICK_NS

    def as_jpeg(self) -> bytes:
        """Return it as a JPEG file: as it is, or coded."""
        if self.image.format in ("jpeg", "jpg"):
            return bytes(self.image.data)
        if self.header is not None:
            pixels = np.frombuffer(self.image.data, np.uint8).reshape(self.header.shape)
            return jpeg.encode(pixels, jpeg.DEFAULT_QUALITY, self.header.encoding)
        colours = np.asarray(self.decoded().to_ndarray(format="bgr24"), np.uint8)
        return jpeg.encode(colours, jpeg.DEFAULT_QUALITY, "bgr8")

    def decoded(self) -> VideoFrame:
        """Return it decoded; raises Refused if it can't be."""
        try:
            return recorded_pictures.decoded(self.image, self.header)
        except ProtocolError as error:
            raise Refused(f"{error}: leave out its source") from None


class _Mp4:
    """A video file at ``path`` that has one stream of pictures, each with its own time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        timescale = {"video_track_timescale": str(TICK.denominator)}
        self._output = av.open(str(path), "w", options=timescale)
        self._last = -1

    def _time(self, shown: Shown) -> int:
        """Return when to show a picture: at its time, or as soon as that goes on after another clock."""
        self._last = max(shown.pts, self._last + 1)
        return self._last


class Copied(_Mp4):
    """A video of JPEG files, which are copied."""

    _stream: Any = None

    def write(self, shown: Shown) -> int:
        """Write a picture; return its time in ticks."""
        file = shown.as_jpeg()
        if self._stream is None:
            with av.open(BytesIO(file), format="mjpeg") as template:
                self._stream = self._output.add_stream_from_template(template.streams.video[0])
            self._stream.time_base = TICK
        packet = av.Packet(file)
        packet.stream, packet.time_base = self._stream, TICK
        packet.pts = packet.dts = self._time(shown)
        packet.duration, packet.is_keyframe = shown.duration, True
        self._output.mux(packet)
        return self._last

    def close(self) -> None:
        """Finish the file."""
        self._output.close()


class H264(_Mp4):
    """A video of pictures that are coded as H.264, without B-frames: they come in the order of their times."""

    _stream: Any = None
    _pixels = ""
    _duration = 0

    def write(self, shown: Shown) -> int:
        """Write a picture; return its time in ticks."""
        picture = shown.decoded()
        if self._stream is None:
            self._begin(picture)
        coded = picture.reformat(
            format=self._pixels,
            dst_colorspace=Colorspace.ITU601,
            dst_color_range=ColorRange.MPEG,
        )
        coded.pts, coded.time_base = self._time(shown), TICK
        self._duration = shown.duration
        self._mux(coded)
        return self._last

    def close(self) -> None:
        """Code what is left, and finish the file."""
        if self._stream is not None:
            self._mux(None)
        self._output.close()

    def _begin(self, picture: VideoFrame) -> None:
        # Colours of half the resolution need even sides.
        odd = picture.width % 2 or picture.height % 2
        self._pixels = "yuv444p" if odd else "yuv420p"
        self._stream = self._output.add_stream(CODEC, options=CODEC_OPTIONS)
        self._stream.width, self._stream.height = picture.width, picture.height
        self._stream.pix_fmt = self._pixels
        self._stream.time_base = self._stream.codec_context.time_base = TICK
        self._stream.codec_context.color_range = ColorRange.MPEG
        self._stream.codec_context.colorspace = Colorspace.ITU601

    def _mux(self, picture: VideoFrame | None) -> None:
        for packet in self._stream.encode(picture):
            packet.duration = self._duration
            self._output.mux(packet)


def _messages(paths: Sequence[Path]) -> Iterator[Logged]:
    for path in in_order(paths):
        with RecordingFile(path) as file:
            yield from file.messages()


def _pair_rows(logged: Logged) -> Iterator[tuple[object, ...]]:
    """Yield a row for each source of a pair."""
    header = decode_announcement(logged.message.data)
    if isinstance(header, PairHeader):
        for source, clip in header.clips.items():
            pair = (header.window, header.start_ns, header.end_ns, int(header.complete))
            yield (*pair, source, clip.frames, clip.gaps, clip.missing or "")


def _table(stack: ExitStack, path: Path, columns: Sequence[str]) -> Any:
    _refuse_existing(path)
    writer = csv.writer(stack.enter_context(path.open("x", newline="")))
    writer.writerow(columns)
    return writer


def _refuse_existing(path: Path) -> None:
    if path.exists():
        raise Refused(f"{path} is there already: choose another directory with --to")
