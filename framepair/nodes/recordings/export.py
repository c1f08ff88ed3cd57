"""Recordings as files that anything plays: an mp4 for each source, tables of frames and pairs."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import av
import numpy as np

from framepair.nodes.common.runtime import Refused
from framepair.nodes.recordings.judge import in_order
from framepair.protocol.memory import jpeg
from framepair.protocol.recording import images
from framepair.protocol.recording.ledger import decode_announcement
from framepair.protocol.recording.reading import Logged, RecordingFile, source_of
from framepair.protocol.recording.segment import PAIRS
from framepair.protocol.wire import frame
from framepair.protocol.wire.frame import FrameHeader
from framepair.protocol.wire.pair import PairHeader

# Of presentation times: an mp4's can be so fine, an mkv's are always milliseconds.
TICK: Final = Fraction(1, 1_000_000)
TICK_NS: Final = 1000
USUAL_PERIOD_NS: Final = 40_000_000
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


def export(paths: Sequence[Path], directory: Path) -> list[Path]:
    """Write the recording in ``paths`` to new files in ``directory``; return the videos.

    Raises Refused if one of them is there already, OSError or NotARecording for what can't be read or written.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        frames = _table(stack, directory / "frames.csv", FRAME_COLUMNS)
        pairs = _table(stack, directory / "pairs.csv", PAIR_COLUMNS)
        videos = Videos(directory)
        stack.callback(videos.close)
        for logged in _messages(paths):
            if logged.topic == PAIRS:
                pairs.writerows(_pair_rows(logged))
            elif logged.schema in images.FIELDS:
                frames.writerow(videos.add(logged))
        return videos.paths


class Videos:
    """The mp4 files of all sources: JPEG as it is, with the times of capture since the recording's first frame.

    A source whose frames change their size goes on in another file.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._writing: dict[str, tuple[str, Any, Any]] = {}
        self._begins_ns: int | None = None
        self.paths: list[Path] = []

    def add(self, logged: Logged) -> tuple[object, ...]:
        """Add a frame; return its row of the table of frames."""
        image = images.decode(logged.schema, logged.message.data)
        found = frame.decode(image.header) if image.header else None
        header = found if isinstance(found, FrameHeader) else None
        at_ns, source = logged.message.log_time, source_of(logged.channel)
        self._begins_ns = at_ns if self._begins_ns is None else self._begins_ns
        pts = max(0, at_ns - self._begins_ns) // TICK_NS
        file = _as_jpeg(image, header)
        size = (
            logged.channel.metadata.get("width", "")
            + "x"
            + logged.channel.metadata.get("height", "")
        )
        name = self._write(source, size, file, pts, header)
        if header is None:
            return (source, "", "", at_ns, "", "", "", name, pts)
        known = (header.stamp or "", header.stamp_uncertainty_ns, header.window)
        return (source, header.run, header.seq, at_ns, *known, name, pts)

    def close(self) -> None:
        """Finish all files."""
        for _, output, _ in self._writing.values():
            output.close()
        self._writing.clear()

    def _write(
        self, source: str, size: str, file: bytes, pts: int, header: FrameHeader | None
    ) -> str:
        if source not in self._writing or self._writing[source][0] != size:
            self._begin(source, size, file)
        _, output, stream = self._writing[source]
        packet = av.Packet(file)
        packet.stream, packet.time_base = stream, TICK
        packet.pts = packet.dts = pts
        # The last frame is shown for so long; without, players leave it out.
        packet.duration = (header.period_ns if header else USUAL_PERIOD_NS) // TICK_NS
        packet.is_keyframe = True
        output.mux(packet)
        return Path(output.name).name

    def _begin(self, source: str, size: str, file: bytes) -> None:
        if source in self._writing:
            self._writing.pop(source)[1].close()
        count = sum(path.stem.partition(".")[0] == source for path in self.paths)
        path = self._directory / f"{source}{f'.{count + 1}' if count else ''}.mp4"
        _refuse_existing(path)
        timescale = {"video_track_timescale": str(TICK.denominator)}
        output = av.open(str(path), "w", options=timescale)
        with av.open(BytesIO(file), format="mjpeg") as template:
            stream = output.add_stream_from_template(template.streams.video[0])
        stream.time_base = TICK
        self._writing[source] = size, output, stream
        self.paths.append(path)


def _messages(paths: Sequence[Path]) -> Iterator[Logged]:
    for path in in_order(paths):
        with RecordingFile(path) as file:
            yield from file.messages()


def _as_jpeg(image: images.Image, header: FrameHeader | None) -> bytes:
    """Return a picture as a JPEG file: as it is, or coded."""
    if image.kind == images.COMPRESSED:
        if image.format not in ("jpeg", "jpg"):
            raise Refused(
                f"frames of format {image.format} cannot be exported: play them, and record that"
            )
        return bytes(image.data)
    if header is None:
        raise Refused(
            "raw frames of another program cannot be exported: play them, and record that"
        )
    pixels = np.frombuffer(image.data, np.uint8).reshape(header.shape)
    return jpeg.encode(pixels, jpeg.DEFAULT_QUALITY, header.encoding)


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
