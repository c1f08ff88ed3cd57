"""Recordings: a path to an MCAP file, with #NAME for one of its sources."""

from __future__ import annotations

from pathlib import Path

from framepair.nodes.producer.sources.source import Capture
from framepair.nodes.producer.sources.uri import Opening, SourceUri, split_scheme
from framepair.protocol.recording.names import is_recording
from framepair.protocol.wire.frame import StampGrade

USAGE = "a recording (.mcap)"
STAMPS: tuple[StampGrade, ...] = ()


def parse(uri: str) -> SourceUri | None:
    """Return what ``uri`` means if it names a recording."""
    path = uri[5:] if uri[:5].lower() == "file:" else uri
    if split_scheme(path)[0] or not is_recording(path):
        return None
    return SourceUri("recording", str(Path(path).expanduser()) if path.startswith("~/") else path)


def open_capture(name: str, source: SourceUri, opening: Opening) -> Capture:
    """Open the recording; raises SourceError if that doesn't work."""
    # FFmpeg takes a while to load, which another kind of source should not have to wait for.
    from framepair.nodes.producer.sources.recording_file import open_track

    return open_track(name, source, opening.wanted, loop=opening.loop)
