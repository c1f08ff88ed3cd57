"""Opening network streams with PyAV: what FFmpeg is told, and a sentence for what goes wrong."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from framepair.nodes.producer.sources.decoding import ANY_TEXT, chosen
from framepair.nodes.producer.sources.source import AccessRefused, SourceError
from framepair.nodes.producer.sources.uri import MIN_FPS, Opening, SourceUri

# FFmpeg's own choice for RTSP is UDP, which loses packets and hangs behind a firewall (opencv/opencv#27091).
# With sound in the session it derives times from the sender's clock, and they jump.
# Nor is the rate measured at opening, which takes 20 frames: it is measured later.
RTSP_OPTIONS: Final = {
    "rtsp_flags": "prefer_tcp",
    "allowed_media_types": "video",
    "fpsprobesize": "0",
}
# Of these, FFmpeg's parser looks for the end of each picture.
PARSED_FORMATS: Final = frozenset({"rtsp", "mpegts", "mpeg", "h264", "hevc", "m4v"})
PARSED_CODECS: Final = frozenset({"h264", "hevc", "mpeg4", "mpeg2video", "mpeg1video"})
# libavformat's AVFMT_NOTIMESTAMPS: what FFmpeg hands out as times are numbers by a rate that it guesses.
NO_TIMESTAMPS: Final = 0x0080
# A rate above this may be the tick of a clock.
MAX_USUAL_FPS: Final = 120.0


def _size(container: InputContainer) -> int:
    """Return its length in bytes; 0 or less if it isn't known, which PyAV 19 calls None."""
    known: int | None = container.size
    return known or 0


def open_stream(
    source: SourceUri, opening: Opening, confinement: Mapping[str, str]
) -> InputContainer:
    """Open a stream; raises SourceError if that doesn't work, or takes too long, and if it is a recording."""
    options = RTSP_OPTIONS if source.location.startswith("rtsp") else {}
    asked_s = time.monotonic()
    try:
        container: InputContainer = av.open(
            source.location,
            options={**options, **confinement},
            timeout=(opening.open_timeout_s, opening.read_timeout_s),
            **ANY_TEXT,
        )
    except (av.FFmpegError, ValueError) as error:
        timeout_s = opening.open_timeout_s
        slow = time.monotonic() - asked_s >= timeout_s
        raise _refusal(source, error, timeout_s if slow else None) from None
    if source.location.startswith("http") and _has_length(container):
        container.close()
        raise SourceError(
            f"{source} is a recording, not a live stream: download it and name the file"
        )
    return container


def _has_length(container: InputContainer) -> bool:
    """Return whether a stream says how long it is; in bytes, motion JPEG and playlists may, which are none."""
    in_bytes = has_times(container) and container.format.name != "hls" and _size(container) > 0
    return bool(container.duration) or in_bytes


def _refusal(source: SourceUri, error: Exception, timeout_s: float | None) -> SourceError:
    if isinstance(error, av.error.HTTPUnauthorizedError | av.error.HTTPForbiddenError):
        return AccessRefused(
            f"{source} cannot be opened: check the user and the password, which it refuses"
        )
    return SourceError(_why_not(source, error, timeout_s))


def _why_not(source: SourceUri, error: Exception, timeout_s: float | None) -> str:
    if timeout_s is not None:
        return f"{source} did not answer within {timeout_s:g} s: is it on, and the address right?"
    if isinstance(error, av.error.HTTPNotFoundError):
        return f"{source} cannot be opened: check the address, there is nothing under this path"
    if isinstance(error, ConnectionRefusedError):
        return f"{source} cannot be opened: check the address, nothing answers on this port"
    return (
        f"{source} cannot be opened: check the address, user and password, and that it is sending;"
        " where it redirects or sends a playlist, --allow-redirects"
    )


def video_of(container: InputContainer, source: SourceUri, number: int | None) -> VideoStream:
    """Return the video to play, the largest or ``number`` ``number``; raises SourceError if there is none."""
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


def has_times(container: InputContainer) -> bool:
    """Return whether frames have media times of the sender's, which FFmpeg has not made up."""
    name = container.format.name
    return not (container.format.flags & NO_TIMESTAMPS or name.endswith("_pipe"))


def holds_frames_back(container: InputContainer, stream: VideoStream) -> bool:
    """Return whether FFmpeg hands a picture out when it sees the next one begin."""
    formats = set(container.format.name.split(","))
    return bool(formats & PARSED_FORMATS) and stream.codec.canonical_name in PARSED_CODECS


def may_be_recorded(container: InputContainer, source: SourceUri) -> bool:
    """Return whether what comes may be a recording: of HLS, the list says that it is none."""
    return source.location.startswith("http") and container.format.name != "hls"


def named_fps(stream: VideoStream) -> float | None:
    """Return how many frames a second the stream says that it has; None if that can't be right."""
    rate = stream.average_rate or stream.guessed_rate
    fps = float(rate) if rate else 0.0
    return fps if MIN_FPS <= fps <= MAX_USUAL_FPS else None
