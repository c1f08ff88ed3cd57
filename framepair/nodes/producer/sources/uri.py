"""What names a source: a path, a camera, the URL of a stream, or a synthetic format."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast
from urllib.parse import parse_qsl, unquote, urlsplit

from framepair.nodes.producer.sources.pattern import MIN_HEIGHT, MIN_WIDTH
from framepair.nodes.producer.sources.source import Format, SourceError
from framepair.protocol.wire.frame import CHANNELS, MAX_SIDE, Encoding

Kind = Literal["file", "camera", "stream", "synthetic"]

STREAM_SCHEMES = frozenset({"rtsp", "rtsps", "http", "https", "rtmp", "udp", "tcp"})
KNOWN = "name a path, a camera's number, rtsp://, http://, rtmp://, udp://, tcp:// or synthetic://"
MIN_FPS, MAX_FPS = 0.01, 1000.0
SYNTHETIC = re.compile(
    r"(?:(?P<width>\d{1,5})x(?P<height>\d{1,5}))?(?:@(?P<fps>\d{1,4}(?:\.\d{1,9})?))?/?", re.ASCII
)
SYNTHETIC_DEFAULT = ("1920", "1080", "25")
SYNTHETIC_USAGE = "write synthetic://1280x720@30?encoding=mono8&frames=250, or only parts of that"

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

# Up to the last @, because there are passwords with @ and / in them, although they ought to be escaped.
CREDENTIALS = re.compile(r"((?<!synthetic)(?<!file)://)\S*@", re.IGNORECASE)
# Behind the host, as far as an address goes in a sentence: rtsps://host:7441/TOKEN needs no other password.
PATH = re.compile(r"((?<!synthetic)(?<!file)://[^\s/?#'\"]+)[/?#][^\s'\")]+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class SourceUri:
    """What a URI means: a file's path, a camera's device, a stream's URL, or a synthetic format.

    ``location`` may hold a password and is therefore left out of the repr; ``str()`` is fit for a log.
    """

    kind: Kind
    location: str = field(repr=False)
    synthetic: Format | None = None

    @property
    def live(self) -> bool:
        """Whether frames come at their own time."""
        return self.kind in ("camera", "stream")

    @property
    def confinement(self) -> dict[str, str]:
        """The options that keep FFmpeg at this address, whatever its server says."""
        return CONFINED_OPTIONS if self.location.startswith(CONFINED_SCHEMES) else {}

    def __str__(self) -> str:
        return redact(self.location) if self.kind == "stream" else self.location


def redact(text: str) -> str:
    """Return ``text``, a URI or a message with some in it, with scheme and host alone of network addresses."""
    return PATH.sub(r"\1/…", CREDENTIALS.sub(r"\1", text))


def parse(uri: str) -> SourceUri:
    """Return what ``uri`` means, without looking whether it is there; raises SourceError if nothing."""
    if not uri:
        raise SourceError(f"a source's URI is empty: {KNOWN}")
    # OpenCV crashes on what cannot be encoded, and a zero byte ends its strings.
    if "\0" in uri or uri != uri.encode(errors="replace").decode():
        raise SourceError("a source's URI is not UTF-8, or has a zero byte in it: rename the file")
    if re.fullmatch("[0-9]{1,4}", uri):
        return SourceUri("camera", f"/dev/video{int(uri)}")
    if uri.startswith("/dev/"):
        return SourceUri("camera", uri)
    scheme, _, rest = uri.partition(":")
    if scheme.lower() == "file" and rest:
        return SourceUri("file", _file_path(uri, rest))
    if not rest.startswith("//"):
        return SourceUri("file", str(Path(uri).expanduser()) if uri.startswith("~/") else uri)
    if scheme.lower() == "synthetic":
        return SourceUri("synthetic", uri, _synthetic(uri, rest.removeprefix("//")))
    if scheme.lower() in STREAM_SCHEMES:
        return SourceUri("stream", _stream_url(f"{scheme.lower()}:{rest}"))
    raise SourceError(f"{scheme}:// is no kind of source: {KNOWN}")


def _file_path(uri: str, rest: str) -> str:
    if not rest.startswith("//"):
        return rest
    host, slash, path = rest.removeprefix("//").partition("/")
    if host not in ("", "localhost") or not path or "%00" in path:
        raise SourceError(f"{uri!r} names no file on this host: write file:///directory/name")
    return unquote(slash + path)


def _stream_url(uri: str) -> str:
    # Not shown, because where a password with a space ends can't be told.
    if re.search(r"\s", uri):
        raise SourceError("a stream's URL has a space in it: write %20")
    try:
        address = urlsplit(uri)
        port = address.port
        complete = address.hostname is not None or port is not None
    except ValueError:
        complete = False
    if not complete:
        escapes = "with %40, %2F and %23 for @, / and # in a password"
        raise SourceError(
            f"{redact(uri)!r} names no host, or a wrong port: write scheme://host:port/path, {escapes}"
        )
    return uri


def _synthetic(uri: str, rest: str) -> Format:
    size, _, query = rest.partition("?")
    matched = SYNTHETIC.fullmatch(size)
    options = {"encoding": "bgr8", "frames": "0"}
    given = dict(parse_qsl(query, keep_blank_values=True))
    if matched is None or not given.keys() <= options.keys():
        raise SourceError(f"{uri!r} is no synthetic source: {SYNTHETIC_USAGE}")
    options |= given
    if options["encoding"] not in CHANNELS or not re.fullmatch("[0-9]{1,18}", options["frames"]):
        raise SourceError(f"{uri!r} has a bad encoding or number of frames: {SYNTHETIC_USAGE}")
    parts = zip(matched.groups(), SYNTHETIC_DEFAULT, strict=True)
    width, height, fps = (float(part or default) for part, default in parts)
    if not (MIN_WIDTH <= width <= MAX_SIDE and MIN_HEIGHT <= height <= MAX_SIDE):
        limits = f"{MIN_WIDTH}x{MIN_HEIGHT} to {MAX_SIDE}x{MAX_SIDE}"
        raise SourceError(f"{uri!r} has a bad size: synthetic pictures have {limits} pixels")
    if not MIN_FPS <= fps <= MAX_FPS:
        raise SourceError(
            f"{uri!r} has a bad rate: {MIN_FPS} to {MAX_FPS:.0f} frames a second can be had"
        )
    shape = (int(height), int(width), CHANNELS[options["encoding"]])
    return Format(shape, cast(Encoding, options["encoding"]), fps, total=int(options["frames"]))
