"""Network streams: rtsp://, http:// and others that FFmpeg receives."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from framepair.nodes.producer.sources.source import Capture, SourceError
from framepair.nodes.producer.sources.uri import Opening, SourceUri, redact, split_scheme
from framepair.protocol.wire.frame import StampGrade

SCHEMES = frozenset({"rtsp", "rtsps", "http", "https", "rtmp", "udp", "tcp"})
USAGE = "rtsp://, http://, rtmp://, udp://, tcp://"
STAMPS: tuple[StampGrade, ...] = ("camera", "media", "arrival")

# What a server says must not lead anywhere else, or to this machine's files: no redirects, and no formats that
# are lists of other addresses (hls, dash, concat, sdp).
CONFINED_OPTIONS = {
    "max_redirects": "0",
    "protocol_whitelist": "http,https,tcp,tls,udp,rtp,crypto",
    "format_whitelist": "mpjpeg,mjpeg,jpeg_pipe,png_pipe,mpegts,mpeg,h264,hevc,m4v,flv,"
    "matroska,webm,mov,mp4,avi,ogg",
}
# RTSP and RTMP are protocols and formats of their own, with no lists in them.
CONFINED_SCHEMES = ("http:", "https:", "tcp:", "udp:")


def parse(uri: str) -> SourceUri | None:
    """Return what ``uri`` means if it names a stream; raises SourceError if it is no whole address."""
    scheme, rest = split_scheme(uri)
    if scheme not in SCHEMES:
        return None
    url = f"{scheme}://{rest}"
    # Not shown, because where a password with a space ends can't be told.
    if re.search(r"\s", url):
        raise SourceError("a stream's URL has a space in it: write %20")
    if not _is_complete(url):
        escapes = "with %40, %2F and %23 for @, / and # in a password"
        raise SourceError(
            f"{redact(url)!r} names no host, or a wrong port: write scheme://host:port/path, {escapes}"
        )
    return SourceUri("stream", url, live=True)


def open_capture(name: str, source: SourceUri, opening: Opening) -> Capture:
    """Open the stream; raises SourceError if that doesn't work, or takes too long."""
    # FFmpeg takes a while to load, which another kind of source should not have to wait for.
    from framepair.nodes.producer.sources.network_stream import NetworkStream

    confinement = {} if opening.allow_redirects else confined(source.location)
    return NetworkStream(name, source, opening, confinement)


def confined(url: str) -> dict[str, str]:
    """Return the options that keep FFmpeg at ``url``, whatever its server says."""
    return CONFINED_OPTIONS if url.startswith(CONFINED_SCHEMES) else {}


def _is_complete(url: str) -> bool:
    try:
        address = urlsplit(url)
        port = address.port
    except ValueError:
        return False
    return address.hostname is not None or port is not None
