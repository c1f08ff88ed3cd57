"""Decoding with PyAV: packets become frames and, where the data is damaged, gaps that are counted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, cast

import av
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from av.video.stream import VideoStream
from numpy.typing import NDArray

from framepair.nodes.producer.sources.source import SourceError
from framepair.nodes.producer.sources.uri import SourceUri

Image = NDArray[np.uint8]

# A file that isn't readable so often in a row is over.
MAX_UNREADABLE: Final = 100
# One thread: a picture is scaled in 4 ms, and other producers need the processors. PyAV 16 has one anyway.
ONE_THREAD: Final = {"threads": 1} if int(av.__version__.split(".")[0]) >= 17 else {}


@dataclass(frozen=True, slots=True)
class Decoded:
    """A frame in the order of showing, and its time and duration in ticks; ``frame`` is None if damaged."""

    pts: int | None
    duration: int
    frame: VideoFrame | None


def chosen(streams: Sequence[VideoStream], source: SourceUri, number: int | None) -> VideoStream:
    """Return the largest of ``streams``, or the one with this ``number``, from 0; raises SourceError."""
    if number is None:
        # FFmpeg's own choice goes by the rate of bits, which many containers don't tell.
        return max(streams, key=lambda stream: stream.width * stream.height)
    if number >= len(streams):
        raise SourceError(
            f"{source} has no video stream {number}: it has {len(streams)}, counted from 0:"
            " choose another --stream"
        )
    return streams[number]


def packets(container: InputContainer, stream: VideoStream) -> Iterator[Packet[VideoStream]]:
    """Read the packets of ``stream``, past places that can't be read; the last one is empty, and flushes."""
    unreadable = 0
    while unreadable < MAX_UNREADABLE:
        try:
            for packet in container.demux(stream):
                unreadable = 0
                yield packet
        except av.FFmpegError:
            unreadable += 1
        else:
            return
    yield cast(Packet[VideoStream], Packet())


def decoded(
    stream: VideoStream, coming: Iterable[Packet[VideoStream]], *, sorts: bool = False
) -> Iterator[Decoded]:
    """Decode packets to frames in the order of showing, with a gap for each one that is damaged.

    The decoder says that it failed, but with several threads not at which packet: it was one whose time
    has passed when a later frame comes out. ``sorts`` is for AVI, which has no times but those of decoding:
    the earliest one that is left is the frame's.
    """
    waiting: set[int] = set()
    failures = 0
    for packet in coming:
        time = packet.dts if sorts else packet.pts
        if time is not None:
            waiting.add(time)
        try:
            frames = stream.codec_context.decode(packet if packet.size else None)
        except av.FFmpegError:
            # After a failure at the end, PyAV doesn't give what the other threads hold.
            failures = failures + 1 if packet.size else max(failures + 1, len(waiting))
            continue
        for frame in frames:
            pts = min(waiting, default=None) if sorts else frame.pts
            damaged = _passed(waiting, pts)[-failures:] if failures else []
            failures -= len(damaged)
            yield from (Decoded(early, 0, None) for early in damaged)
            waiting -= {early for early in waiting if pts is None or early <= pts}
            yield Decoded(pts, frame.duration or 0, frame)
    rest: list[int | None] = [*sorted(waiting), *[None] * failures]
    yield from (Decoded(pts, 0, None) for pts in rest[:failures])


def _passed(waiting: set[int], pts: int | None) -> list[int]:
    return sorted(early for early in waiting if pts is None or early < pts)


class Pictures:
    """Decoded frames as BGR pictures, the right way up, in the memory that they travel in."""

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()

    def shape(self, frame: VideoFrame) -> tuple[int, int, int]:
        """Return the shape of the picture, (height, width, 3)."""
        turned = _quarter_turns(frame) % 2
        height, width = (frame.width, frame.height) if turned else (frame.height, frame.width)
        return height, width, 3

    def write(self, frame: VideoFrame, out: Image) -> None:
        """Write the picture into ``out``, of its shape; raises av.FFmpegError if it can't be converted.

        That is a copy more than swscale needs, 0.7 ms of 14 ms in 1080p: PyAV has it write into memory of
        its own only (PyAV #2294). Bicubic, as OpenCV has it: only chroma is scaled, if anything.
        """
        scaled = self._reformatter.reformat(
            frame, format="bgr24", interpolation=Interpolation.BICUBIC, **ONE_THREAD
        )
        np.copyto(out, np.rot90(_view(scaled), _quarter_turns(frame)))


def _view(frame: VideoFrame) -> Image:
    """Return the pixels of a bgr24 frame, (height, width, 3), valid as long as it is referred to."""
    plane = frame.planes[0]
    lines = np.frombuffer(memoryview(plane), np.uint8).reshape(frame.height, plane.line_size)
    return cast(Image, lines[:, : 3 * frame.width].reshape(frame.height, frame.width, 3))


def _quarter_turns(frame: VideoFrame) -> int:
    return round(frame.rotation / 90) % 4
