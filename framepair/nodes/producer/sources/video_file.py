"""Video files as captures: every frame once, with its own time, decoded by PyAV."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Final

import av
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition
from av.video.stream import VideoStream
from numpy.typing import NDArray

from framepair.nodes.producer.sources.decoding import Decoded, chosen, decoded, packets
from framepair.nodes.producer.sources.file_container import PATIENCE_S, open_container, refusal
from framepair.nodes.producer.sources.media_times import SECOND_NS, MediaTimes
from framepair.nodes.producer.sources.pictures import Pictures
from framepair.nodes.producer.sources.source import (
    Format,
    FrameLost,
    Position,
    SourceError,
    blaming,
)
from framepair.nodes.producer.sources.uri import AS_IT_IS, SourceUri, Wanted
from framepair.protocol.wire.limits import MAX_FPS, MIN_FPS

Image = NDArray[np.uint8]

USUAL_FPS: Final = 25.0
# So many packets are read ahead to see how fast frames come: 1.6 s at 30 fps.
MEASURED_PACKETS: Final = 50
# A rate that the container names is right if frames come about as fast.
RATE_TOLERANCE: Final = 0.1
# Containers know their length roughly; a file that lacks more than a tenth is damaged.
WHOLE: Final = 0.9
# libavformat's AVFMT_TS_DISCONT: times may jump, as they do in MPEG-TS where two recordings are joined.
TS_DISCONT: Final = 0x0200
# Renders text as pictures: nothing that is meant by a video.
NO_VIDEO_FORMATS: Final = frozenset({"tty"})

log = logging.getLogger(__name__)


class VideoFile:
    """A video file, from its first frame to its last, or over and over again with ``loop``.

    ``wanted`` says what pictures are made of it; its ``fps`` is the rate of frames without times only. A pipe
    may be without a word for ``patience_s``.
    """

    # It never fails: what can't be read is over.
    reopened = skipped = 0

    def __init__(
        self,
        name: str,
        source: SourceUri,
        *,
        loop: bool = False,
        wanted: Wanted = AS_IT_IS,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._name, self._source, self._loop = name, source, loop
        self._wanted, self._patience_s = wanted, patience_s
        self._pictures = Pictures(name, wanted)
        self._said = False
        self._open(base_ns=0)
        self.format: Format = self._pictures.format(self._pass.first_frame, self._pass.format)
        if loop or wanted.start_ns:
            self.format = replace(self.format, total=0, start_ns=wanted.start_ns)

    @property
    def position(self) -> Position:
        """Time of the grabbed frame within the video, and of the next one."""
        return self._pass.position

    def grab(self) -> bool:
        """Go on to the next frame; False after the last one. Raises SourceError if looping it fails."""
        if self._pass.grab():
            return True
        if not self._loop:
            self._warn_if_short()
            return False
        # Opened again rather than sought, because not every container can be sought in exactly.
        end_ns = self._pass.position.next_ns
        self.close()
        self._open(base_ns=end_ns)
        return self._pass.grab()

    def retrieve(self, out: Image, seq: int, captured_ns: int) -> Image:  # noqa: ARG002
        """Decode the grabbed frame into ``out``; see Capture."""
        frame = self._pass.current.frame
        if frame is None:
            raise FrameLost(f"source {self._name}: a frame is damaged")
        picture, self.format = self._pictures.retrieve(frame, out, self.format)
        return picture

    def close(self) -> None:
        """Close the file."""
        self._pass.close()

    def _open(self, base_ns: int) -> None:
        with blaming(self._name):
            self._pass = Pass(
                self._source, self._wanted, self._patience_s, base_ns=base_ns, say=self._say
            )

    def _say(self, what: str) -> None:
        if not self._said:
            self._said = True
            log.warning("source %s: %s %s", self._name, self._source, what)

    def _warn_if_short(self) -> None:
        played_s, whole_s = self._pass.played_s, self._pass.whole_s
        played_s += self._wanted.start_ns / SECOND_NS
        if whole_s is None or played_s >= WHOLE * whole_s:
            return
        frames = f", {self._pass.count} of {self.format.total} frames" if self.format.total else ""
        message = "source %s ended after %.3g of %.3g s%s: the file is damaged or cut short"
        log.warning(message, self._name, played_s, whole_s, frames)


class Pass:
    """One pass through a file: its frames in the order of showing, each with its time.

    One frame is decoded ahead, so that ``position`` knows when the next one comes. Raises SourceError if
    there is no file, or no frame in it.
    """

    def __init__(
        self,
        source: SourceUri,
        wanted: Wanted,
        patience_s: float,
        *,
        base_ns: int,
        say: Callable[[str], None],
    ) -> None:
        self._container = open_container(source, wanted.fps, patience_s)
        self._stream = stream = _video_stream(self._container, source, wanted.stream)
        stream.thread_type = "AUTO"
        coming = packets(self._container, stream)
        first = list(itertools.islice(coming, MEASURED_PACKETS))
        self.fps = nominal_fps(stream, first, wanted.fps)
        self._period_ns = round(SECOND_NS / self.fps)
        self._times = MediaTimes(
            period_ns=self._period_ns,
            tick=stream.time_base or Fraction(1, SECOND_NS),
            start=_start(self._container),
            discontinuous=bool(self._container.format.flags & TS_DISCONT),
            base_ns=base_ns,
            say=say,
        )
        self._base_ns, self._start_ns = base_ns, wanted.start_ns
        read: Iterator[Packet[VideoStream]] = itertools.chain(first, coming)
        if wanted.start_ns:
            beginning = _start(self._container) + Fraction(wanted.start_ns, SECOND_NS)
            read = _from_keyframe(read, stream, beginning)
        self._coming = self._placed(decoded(stream, read, sorts=self._is_avi()))
        self.count = 0
        self._ahead: Placed | None = self._first()
        self.format = self._format()

    @property
    def current(self) -> Decoded:
        """The grabbed frame."""
        return self._current.decoded

    @property
    def position(self) -> Position:
        """Time of the grabbed frame, and of the next one."""
        return Position(self._current.at_ns, self._next_ns)

    @property
    def played_s(self) -> float:
        """How much of the video has been played, in seconds."""
        return (self._next_ns - self._base_ns) / SECOND_NS

    @property
    def whole_s(self) -> float | None:
        """How long the video is, as the container says; None if it doesn't know."""
        stream, only = self._stream, len(self._container.streams) == 1
        if self._guessed() or stream.time_base is None:
            return None
        if self._is_avi():
            # Of a file without its index, FFmpeg guesses the duration.
            return float(stream.frames * stream.time_base)
        if stream.duration is not None:
            late = Fraction(stream.start_time or 0) * stream.time_base - _start(self._container)
            return float(stream.duration * stream.time_base + late)
        # Of several streams, another may be the longest.
        known = self._container.duration if only else None
        return None if known is None else known / av.time_base

    def grab(self) -> bool:
        """Go on to the next frame; return whether there is one."""
        if self._ahead is None:
            return False
        self._current = self._ahead
        self._ahead = next(self._coming, None)
        self._next_ns = self._ahead.at_ns if self._ahead else self._end_ns()
        self.count += self._current.decoded.frame is not None
        return True

    def close(self) -> None:
        """Close the file."""
        self._container.close()

    def _first(self) -> Placed:
        """Return the first frame that can be decoded, or what comes before it."""
        before = []
        for placed in self._coming:
            before.append(placed)
            if placed.decoded.frame is not None:
                self.first_frame = placed.decoded.frame
                self._coming = itertools.chain(before[1:], self._coming)
                return before[0]
        self.close()
        if self._start_ns:
            raise SourceError(
                f"--start {self._start_ns / SECOND_NS:g}s: it ends before that: begin earlier"
            )
        raise SourceError(
            "it can be opened, but not one frame of it can be decoded: try it in a player"
        )

    def _placed(self, coming: Iterator[Decoded]) -> Iterator[Placed]:
        for each in coming:
            at_ns = self._times.place(each.pts) - self._start_ns
            if at_ns >= self._base_ns:
                yield Placed(at_ns, each)

    def _end_ns(self) -> int:
        """Return when the last frame ends."""
        tick, last = self._stream.time_base or Fraction(0), self._current
        # A single tick is what containers say that don't know.
        known = last.decoded.duration > 1
        ns = round(last.decoded.duration * tick * SECOND_NS) if known else self._period_ns
        return last.at_ns + ns

    def _format(self) -> Format:
        total = 0 if self._guessed() else _frame_count(self._stream)
        fps = min(max(self.fps, MIN_FPS), MAX_FPS)
        return Format((0, 0, 0), fps=fps, total=total)

    def _is_avi(self) -> bool:
        return self._container.format.name == "avi"

    def _guessed(self) -> bool:
        """Return whether the container's length is a guess from its rate of bits."""
        return bool(self._container.format.flags & TS_DISCONT) or self._stream.time_base is None


@dataclass(frozen=True, slots=True)
class Placed:
    """A decoded frame and its time, nanoseconds since the video's beginning."""

    at_ns: int
    decoded: Decoded


def _frame_count(stream: VideoStream) -> int:
    """Return how many frames a file has, 0 if it doesn't know; AVI counts those, too, that were dropped."""
    entries = stream.index_entries
    whole = len(entries) > 0 and entries[-1].timestamp + 1 == stream.frames
    return len(entries) if whole else stream.frames


def nominal_fps(
    stream: VideoStream, first: Sequence[Packet[VideoStream]], asked: float | None = None
) -> float:
    """Return how many frames a second come usually: measured, since containers may say anything.

    A rate that the container names is taken if it fits, because it isn't rounded. Without times it is what was
    ``asked`` for.
    """
    named = [float(rate) for rate in (stream.average_rate, stream.guessed_rate) if rate]
    times = sorted(packet.pts for packet in first if packet.pts is not None)
    gaps = sorted(later - early for early, later in itertools.pairwise(times))
    if asked is not None and not any(gaps):
        return asked
    if not any(gaps) or stream.time_base is None:
        return next((fps for fps in named if MIN_FPS <= fps <= MAX_FPS), USUAL_FPS)
    # The shorter one of the two in the middle: memory for many frames is better than for few.
    gap: float = gaps[(len(gaps) - 1) // 2]
    if not gaps[0]:
        # Several frames share a tick, so that a single gap says little.
        gap = (times[-1] - times[0]) / (len(times) - 1)
    measured = 1 / (float(stream.time_base) * gap)
    return next((fps for fps in named if abs(fps / measured - 1) < RATE_TOLERANCE), measured)


def _start(container: InputContainer) -> Fraction:
    """Return when the container begins, in seconds, exactly: FFmpeg rounds it to microseconds."""
    if container.start_time is None:
        return Fraction(0)
    start = Fraction(container.start_time, av.time_base)
    exact = [
        stream.start_time * stream.time_base
        for stream in container.streams
        if stream.start_time is not None and stream.time_base is not None
    ]
    return next((at for at in exact if abs(at - start) <= Fraction(1, av.time_base)), start)


def _video_stream(container: InputContainer, source: SourceUri, number: int | None) -> VideoStream:
    """Return the stream to play, the largest or ``number`` ``number`` of them; raises SourceError."""
    streams = [
        stream
        for stream in container.streams.video
        if not stream.disposition & Disposition.attached_pic
    ]
    if not streams or container.format.name in NO_VIDEO_FORMATS:
        kinds = " and ".join(sorted({stream.type for stream in container.streams}))
        kinds = "text" if container.format.name in NO_VIDEO_FORMATS else kinds or "nothing"
        raise refusal(source, f"it has no video in it, only {kinds}")
    return chosen(streams, source, number)


def _from_keyframe(
    coming: Iterator[Packet[VideoStream]], stream: VideoStream, start: Fraction
) -> Iterator[Packet[VideoStream]]:
    """Leave out packets that are not needed to decode what is shown from ``start`` on, in seconds.

    Read through rather than sought, because not every container can be sought in exactly.
    """
    tick = stream.time_base or Fraction(1, SECOND_NS)
    held: list[Packet[VideoStream]] = []
    for packet in coming:
        if packet.is_keyframe and packet.pts is not None and packet.pts * tick <= start:
            held.clear()
        held.append(packet)
        if packet.dts is None or packet.dts * tick > start:
            break
    yield from held
    yield from coming
