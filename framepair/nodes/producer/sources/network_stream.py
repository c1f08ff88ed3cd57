"""Network streams as captures: decoded by PyAV, stamped by their own media time, lost when they fall silent."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import av
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from framepair.nodes.producer.sources.decoding import chosen
from framepair.nodes.producer.sources.live_times import LiveTimes
from framepair.nodes.producer.sources.pictures import Pictures
from framepair.nodes.producer.sources.source import (
    CaptureLost,
    Format,
    Position,
    SourceError,
    blaming,
)
from framepair.nodes.producer.sources.uri import MAX_FPS, MIN_FPS, Opening, SourceUri
from framepair.protocol.clocks import clock

Image = NDArray[np.uint8]

USUAL_FPS: Final = 25.0
SECOND_NS: Final = 1_000_000_000
# FFmpeg's own choice for RTSP is UDP, which loses packets and hangs behind a firewall (opencv/opencv#27091).
# With sound in the session it derives times from the sender's clock, and they jump.
RTSP_OPTIONS: Final = {"rtsp_flags": "prefer_tcp", "allowed_media_types": "video"}
# Of these, FFmpeg's parser looks for the end of each picture.
PARSED_FORMATS: Final = frozenset({"rtsp", "mpegts"})
PARSED_CODECS: Final = frozenset({"h264", "hevc", "mpeg4", "mpeg2video", "mpeg1video"})
# A frame that had to be waited for is new; one that is there at once may be as old as the connection.
WAITED_PERIODS: Final = 0.25
MAX_BACKLOG_S: Final = 1.0
# Packets in a row: a client that joins between two key frames can't decode the first ones.
MAX_UNDECODABLE: Final = 1000

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Arrived:
    """A decoded frame, its media time, and when its packet came; nanoseconds."""

    frame: VideoFrame
    pts_ns: int | None
    arrived_ns: int


class _Arrivals:
    """When each picture began to come, by its media time.

    FFmpeg's parser hands a picture out when it sees the next one begin (``parsed``): that one came then.
    """

    def __init__(self, *, parsed: bool) -> None:
        self._parsed = parsed
        self._came: dict[int, int] = {}
        self._handed_out_ns: int | None = None
        self._newest_ns = 0

    def add(self, pts: int | None, now_ns: int) -> None:
        """Add a packet that was handed out just now."""
        before_ns = self._handed_out_ns if self._parsed else None
        self._came_ns = now_ns if before_ns is None else before_ns
        self._handed_out_ns = now_ns
        if pts is not None:
            self._came[pts] = self._came_ns

    def pop(self, pts: int | None) -> int:
        """Return when the frame that is shown next came, and what is shown before it, too."""
        own_ns = self._came_ns if pts is None else self._came.get(pts, self._came_ns)
        self._came = {late: at_ns for late, at_ns in self._came.items() if late > (pts or 0)}
        self._newest_ns = max(self._newest_ns, own_ns)
        return self._newest_ns


class NetworkStream:
    """A network stream, whose frames come when they come, stamped by media time.

    One thread decodes it: with several, FFmpeg holds back a frame for each of them, so that on a machine with
    16 processors frames come 0.6 s late.
    """

    # Another capture takes its place when it is opened again.
    reopened = skipped = 0

    def __init__(
        self,
        name: str,
        source: SourceUri,
        opening: Opening,
        confinement: Mapping[str, str],
    ) -> None:
        self._name, self._source = name, source
        self._read_timeout_s = opening.read_timeout_s
        self._pictures = Pictures(name, opening.wanted)
        self._caught_up = False
        self._undecodable = 0
        with blaming(name):
            self._container = _opened(source, opening, confinement)
            self._stream = _video(self._container, source, opening.wanted.stream)
            self._frames = self._read()
            try:
                self._ahead: Arrived | None = next(self._frames, None)
            except CaptureLost:
                self._ahead = None
            if self._ahead is None:
                self.close()
                raise SourceError(
                    "it can be opened, but not one frame of it can be decoded: try it in a player"
                )
        fps = _fps(name, self._stream)
        known = Format((0, 0, 0), fps=fps, live=True)
        self.format: Format = self._pictures.format(self._ahead.frame, known)
        self._times = LiveTimes(round(SECOND_NS / fps), best="media", say=self._say)
        self._position: Position | None = None

    @property
    def position(self) -> Position | None:
        """When the grabbed frame was captured, in UTC."""
        return self._position

    def grab(self) -> bool:
        """Wait for a frame; raises CaptureLost if the stream breaks off or sends nothing for too long."""
        if self._caught_up:
            self._take()
        else:
            self._catch_up()
        return True

    def retrieve(self, out: Image, seq: int, captured_ns: int) -> Image:  # noqa: ARG002
        """Decode the grabbed frame into ``out``; see Capture."""
        picture, self.format = self._pictures.retrieve(self._current.frame, out, self.format)
        return picture

    def close(self) -> None:
        """Close the connection."""
        self._container.close()

    def _catch_up(self) -> None:
        """Leave out what piled up since the stream was opened; it only shows when frames come."""
        self._caught_up = True
        new_s = WAITED_PERIODS / self.format.fps
        started_s = asked_s = time.monotonic()
        while True:
            self._take()
            now_s = time.monotonic()
            # The very first packets of RTSP may have no media time yet.
            is_new = self._current.pts_ns is not None and now_s - asked_s >= new_s
            if is_new or now_s - started_s >= MAX_BACKLOG_S:
                return
            asked_s = now_s

    def _take(self) -> None:
        """Go on to the next frame, and place it in time."""
        taken, self._ahead = self._ahead or next(self._frames), None
        self._current = taken
        placed = self._times.place(taken.pts_ns, taken.arrived_ns)
        # A frame may come early, but not by half a period.
        next_ns = placed.captured_ns + round(0.5 * SECOND_NS / self.format.fps)
        known = None if placed.grade == "arrival" else placed.uncertainty_ns
        self._position = Position(placed.captured_ns, next_ns, placed.grade, known)

    def _read(self) -> Iterator[Arrived]:
        """Yield frames in the order of showing, as they come; raises CaptureLost when the stream is lost."""
        arrivals = _Arrivals(parsed=self._holds_frames_back())
        heard_s = time.monotonic()
        with contextlib.suppress(av.FFmpegError):
            for packet in self._container.demux(self._stream):
                if time.monotonic() - heard_s >= self._read_timeout_s:
                    # The read has timed out; what the parser still held is of before.
                    break
                arrivals.add(packet.pts, clock.now_ns())
                for frame in self._decode(packet):
                    yield Arrived(frame, self._ns(frame.pts), arrivals.pop(frame.pts))
                heard_s = time.monotonic()
        waited_s = time.monotonic() - heard_s
        silent = waited_s >= self._read_timeout_s
        how = f"has sent nothing for {waited_s:.1f} s" if silent else "has broken off"
        raise CaptureLost(f"source {self._name}: {self._source} {how}")

    def _decode(self, packet: av.Packet[VideoStream]) -> list[VideoFrame]:
        """Return the frames that come out; raises av.FFmpegError if too many packets in a row are damaged."""
        try:
            frames = packet.decode()
        except av.FFmpegError:
            self._undecodable += 1
            if self._undecodable > MAX_UNDECODABLE:
                raise
            return []
        self._undecodable = 0
        return frames

    def _ns(self, pts: int | None) -> int | None:
        tick = self._stream.time_base
        return None if pts is None or tick is None else round(pts * tick * SECOND_NS)

    def _holds_frames_back(self) -> bool:
        formats = set(self._container.format.name.split(","))
        return bool(formats & PARSED_FORMATS) and self._stream.codec.canonical_name in PARSED_CODECS

    def _say(self, what: str) -> None:
        log.warning("source %s: its %s", self._name, what)


def _opened(source: SourceUri, opening: Opening, confinement: Mapping[str, str]) -> InputContainer:
    options = RTSP_OPTIONS if source.location.startswith("rtsp") else {}
    asked_s = time.monotonic()
    try:
        container = av.open(
            source.location,
            options={**options, **confinement},
            timeout=(opening.open_timeout_s, opening.read_timeout_s),
            metadata_errors="replace",
        )
    except (av.FFmpegError, ValueError) as error:
        timeout_s = opening.open_timeout_s
        slow = time.monotonic() - asked_s >= timeout_s
        raise SourceError(_why_not(source, error, timeout_s if slow else None)) from None
    if source.location.startswith("http") and container.duration:
        container.close()
        raise SourceError(
            f"{source} is a recording, not a live stream: download it and name the file"
        )
    return container


def _why_not(source: SourceUri, error: Exception, timeout_s: float | None) -> str:
    if timeout_s is not None:
        return f"{source} did not answer within {timeout_s:g} s: is it on, and the address right?"
    if isinstance(error, av.error.HTTPUnauthorizedError | av.error.HTTPForbiddenError):
        return f"{source} cannot be opened: check the user and the password, which it refuses"
    if isinstance(error, av.error.HTTPNotFoundError):
        return f"{source} cannot be opened: check the address, there is nothing under this path"
    if isinstance(error, ConnectionRefusedError):
        return f"{source} cannot be opened: check the address, nothing answers on this port"
    return (
        f"{source} cannot be opened: check the address, user and password, and that it is sending;"
        " where it redirects or sends a playlist, --allow-redirects"
    )


def _video(container: InputContainer, source: SourceUri, number: int | None) -> VideoStream:
    streams = container.streams.video
    try:
        if not streams:
            raise SourceError(f"{source} has no video in it: check the address")
        stream = chosen(streams, source, number)
    except SourceError:
        container.close()
        raise
    stream.codec_context.thread_count = 1
    return stream


def _fps(name: str, stream: VideoStream) -> float:
    rate = stream.average_rate or stream.guessed_rate
    fps = float(rate) if rate else 0.0
    if MIN_FPS <= fps <= MAX_FPS:
        return fps
    log.warning(
        "source %s: a rate of %g frames a second can't be right, using %g", name, fps, USUAL_FPS
    )
    return USUAL_FPS
