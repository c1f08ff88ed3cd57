"""Decoding with PyAV: packets become frames and, where the data is damaged, gaps that are counted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from framepair.nodes.producer.sources.source import SourceError
from framepair.nodes.producer.sources.uri import SourceUri

# A file that isn't readable so often in a row is over.
MAX_UNREADABLE: Final = 100


def any_text(version: str) -> dict[str, Any]:
    """Return what PyAV has to be told at opening, as titles and the like may be in any encoding."""
    # From 19 on it takes them so, and refuses to be told.
    return {"metadata_errors": "replace"} if int(version.split(".")[0]) < 19 else {}


ANY_TEXT: Final = any_text(av.__version__)


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
