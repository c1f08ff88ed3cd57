"""Files: a path, or file:///directory/name."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote

from framepair.nodes.producer.sources.source import Capture, SourceError
from framepair.nodes.producer.sources.uri import Opening, SourceUri, split_scheme
from framepair.protocol.wire.frame import StampGrade

USAGE = "a path"
STAMPS: tuple[StampGrade, ...] = ()


def parse(uri: str) -> SourceUri | None:
    """Return what ``uri`` means if it names a file, as all does that has no scheme."""
    if uri[:5].lower() == "file:" and uri[5:]:
        return SourceUri("file", _path(uri, uri[5:]))
    if split_scheme(uri)[0]:
        return None
    return SourceUri("file", str(Path(uri).expanduser()) if uri.startswith("~/") else uri)


def open_capture(name: str, source: SourceUri, opening: Opening) -> Capture:
    """Open the file; raises SourceError if that doesn't work."""
    # FFmpeg takes a while to load, which another kind of source should not have to wait for.
    from framepair.nodes.producer.sources.video_file import VideoFile

    return VideoFile(
        name, source, loop=opening.loop, wanted=opening.wanted, patience_s=opening.open_timeout_s
    )


def _path(uri: str, rest: str) -> str:
    if not rest.startswith("//"):
        return rest
    host, slash, path = rest.removeprefix("//").partition("/")
    if host not in ("", "localhost") or not path or "%00" in path:
        raise SourceError(f"{uri!r} names no file on this host: write file:///directory/name")
    return unquote(slash + path)
