"""Network streams as captures: decoded by PyAV, stamped by their own media time, lost when they fall silent."""

from __future__ import annotations

import contextlib
import itertools
import logging
import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from framepair.nodes.producer.sources import stream_container
from framepair.nodes.producer.sources.arrivals import Arrivals, Arrived
from framepair.nodes.producer.sources.frame_rate import FrameRate
from framepair.nodes.producer.sources.live_times import GRADES, LiveTimes
from framepair.nodes.producer.sources.pictures import Pictures
from framepair.nodes.producer.sources.sender_reports import SenderReports
from framepair.nodes.producer.sources.served import Served
from framepair.nodes.producer.sources.source import (
    CaptureLost,
    Format,
    FrameLost,
    Position,
    SourceError,
    blaming,
)
from framepair.nodes.producer.sources.uri import MAX_FPS, MIN_FPS, Opening, SourceUri, Wanted
from framepair.protocol.clocks import clock

Image = NDArray[np.uint8]

USUAL_FPS: Final = 25.0
SECOND_NS: Final = 1_000_000_000
# A frame that had to be waited for is new; one that is there at once may be as old as the connection.
WAITED_PERIODS: Final = 0.25
MAX_BACKLOG_S: Final = 1.0
# Of a stream that does not say how fast it is, so many frames tell it, but no more than come in so long.
MEASURED_FRAMES: Final = 20
MEASURE_S: Final = 2.0
# Packets in a row: a client that joins between two key frames can't decode the first ones.
MAX_UNDECODABLE: Final = 1000

log = logging.getLogger(__name__)


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
        self._position: Position | None = None
        self._reports = SenderReports()
        served = Served(clock.now_ns())
        with blaming(name):
            self._container = container = stream_container.open_stream(source, opening, confinement)
            self._stream = stream_container.video_of(container, source, opening.wanted.stream)
            self._served = served if stream_container.may_be_recorded(container, source) else None
            self._has_times = stream_container.has_times(container)
            self._times = self._live_times(opening.wanted)
            self._frames = self._read()
            first, self._ahead = self._read_ahead()
        named = stream_container.named_fps(self._stream) or self._first_fps()
        self._rate = FrameRate(named, by_arrival=not self._has_times)
        known = Format((0, 0, 0), fps=named, live=True)
        self.format: Format = self._pictures.format(first, known)
        self._times.set_period(round(SECOND_NS / named))

    @property
    def position(self) -> Position | None:
        """When the grabbed frame was captured, in UTC."""
        return self._position

    def grab(self) -> bool:
        """Wait for a frame; raises CaptureLost if the stream breaks off or sends nothing for too long.

        Raises SourceError if it turns out to be a recording.
        """
        with blaming(self._name):
            if self._caught_up:
                self._take()
            else:
                self._catch_up()
            self._place()
        return True

    def retrieve(self, out: Image, seq: int, captured_ns: int) -> Image:  # noqa: ARG002
        """Decode the grabbed frame into ``out``; see Capture."""
        frame = self._current.frame
        if frame is None:
            raise FrameLost(f"source {self._name}: a frame was held back when the stream stalled")
        picture, self.format = self._pictures.retrieve(frame, out, self.format)
        return picture

    def close(self) -> None:
        """Close the connection."""
        self._container.close()

    def _catch_up(self) -> None:
        """Leave out what piled up since the stream was opened; it only shows when frames come.

        It tells nothing of how long frames take, and so isn't placed in time.
        """
        self._caught_up = True
        new_s = WAITED_PERIODS / self.format.fps
        started_s = asked_s = time.monotonic()
        while True:
            self._take()
            now_s = time.monotonic()
            # The very first packets of RTSP may have no media time yet.
            has_time = self._current.pts_ns is not None or not self._has_times
            is_new = has_time and now_s - asked_s >= new_s
            if is_new or now_s - started_s >= MAX_BACKLOG_S:
                return
            asked_s = now_s

    def _take(self) -> None:
        """Go on to the next frame."""
        self._current = self._ahead.popleft() if self._ahead else next(self._frames)
        self._measure(self._current)

    def _place(self) -> None:
        """Find the time of the frame."""
        placed = self._times.place(self._current.pts_ns, self._current.arrived_ns)
        # A frame may come early, but not by half of what lies between two of them.
        gap_ns = min(SECOND_NS / self.format.fps, self._rate.least_gap_ns or SECOND_NS)
        known = None if placed.grade == "arrival" else placed.uncertainty_ns
        next_ns = placed.captured_ns + round(0.5 * gap_ns)
        self._position = Position(placed.captured_ns, next_ns, placed.grade, known)

    def _measure(self, taken: Arrived) -> None:
        """See how fast frames come, and say so if that is not what the stream says."""
        at_ns = taken.arrived_ns if taken.pts_ns is None else taken.pts_ns
        if self._rate.add_frame(at_ns):
            fps = min(max(self._rate.fps, MIN_FPS), MAX_FPS)
            log.info(
                "source %s sends %.4g frames a second, not %.4g",
                self._name,
                fps,
                self.format.fps,
            )
            self.format = replace(self.format, fps=fps)
            self._times.set_period(round(SECOND_NS / fps))

    def _read(self) -> Iterator[Arrived]:
        """Yield frames in the order of showing, as they come; raises CaptureLost when the stream is lost."""
        parsed = stream_container.holds_frames_back(self._container, self._stream)
        arrivals = Arrivals(parsed=parsed)
        heard_s = time.monotonic()
        with contextlib.suppress(av.FFmpegError):
            for packet in self._container.demux(self._stream):
                if time.monotonic() - heard_s >= self._read_timeout_s:
                    # The read has timed out; what the parser still held is of before, and may lack its end.
                    if packet.pts is not None:
                        arrivals.add(packet.pts, clock.now_ns())
                        yield Arrived(None, self._ns(packet.pts), arrivals.pop(packet.pts))
                    break
                self._note(packet)
                arrivals.add(packet.pts, clock.now_ns())
                for frame in self._decode(packet):
                    yield Arrived(frame, self._ns(frame.pts), arrivals.pop(frame.pts))
                heard_s = time.monotonic()
        waited_s = time.monotonic() - heard_s
        silent = waited_s >= self._read_timeout_s
        if not silent:
            self._refuse_recording(is_over=True)
        how = f"has sent nothing for {waited_s:.1f} s" if silent else "has broken off"
        raise CaptureLost(f"source {self._name}: {self._source} {how}")

    def _note(self, packet: av.Packet[VideoStream]) -> None:
        """Note what a packet says of the camera's clock, and of whether this is a live stream."""
        pts_ns = self._ns(packet.pts)
        if report := self._reports.take(packet, pts_ns):
            self._times.add_report(report.pts_ns, report.camera_ns)
        if self._served is not None:
            self._served.add(pts_ns, clock.now_ns())
            self._refuse_recording(is_over=False)

    def _refuse_recording(self, *, is_over: bool) -> None:
        """Raise SourceError if what comes, or came until it was over, is no live stream."""
        served = self._served
        if served and (served.was_recorded if is_over else served.is_ahead):
            raise SourceError(
                f"{self._source} is a recording, not a live stream: it comes faster than it plays; download it"
                " and name the file"
            )

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
        """Return a media time in nanoseconds; None if it is not the sender's."""
        tick = self._stream.time_base
        if pts is None or tick is None or not self._has_times:
            return None
        return round(pts * tick * SECOND_NS)

    def _read_ahead(self) -> tuple[VideoFrame, deque[Arrived]]:
        """Return the first frame, and all that was read: where the rate is not known, enough to tell it.

        Raises SourceError if there is none.
        """
        wanted = 1 if stream_container.named_fps(self._stream) else MEASURED_FRAMES
        ahead: deque[Arrived] = deque()
        until_s = time.monotonic() + MEASURE_S
        with contextlib.suppress(CaptureLost):
            while len(ahead) < wanted and (not ahead or time.monotonic() < until_s):
                ahead.append(next(self._frames))
        first = ahead[0].frame if ahead else None
        if first is None:
            self.close()
            raise SourceError(
                "it can be opened, but not one frame of it can be decoded: try it in a player"
            )
        return first, ahead

    def _first_fps(self) -> float:
        """Return how fast the first frames came, as the stream does not say it."""
        times = [each.arrived_ns if each.pts_ns is None else each.pts_ns for each in self._ahead]
        gaps = [late - early for early, late in itertools.pairwise(times)]
        fps = SECOND_NS * len(gaps) / sum(gaps) if gaps and min(gaps) >= 0 < sum(gaps) else 0.0
        return fps if MIN_FPS <= fps <= MAX_FPS else USUAL_FPS

    def _live_times(self, wanted: Wanted) -> LiveTimes:
        """Return what stamps frames: by the best clock that there may be, or as the user decides."""
        says_time = self._source.location.startswith("rtsp")
        best = GRADES.get(wanted.stamp or "", "camera" if says_time else "media")
        period_ns = round(SECOND_NS / USUAL_FPS)
        return LiveTimes(period_ns, best=best, by_hand=wanted.stamp == "camera", say=self._say)

    def _say(self, what: str) -> None:
        log.warning("%s's %s", self._name, what)
