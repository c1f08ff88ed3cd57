"""Cameras of this machine: a number, or a device such as /dev/video0."""

from __future__ import annotations

import re

from framepair.nodes.producer.sources.source import Capture
from framepair.nodes.producer.sources.uri import Opening, SourceUri

USAGE = "a camera's number"


def parse(uri: str) -> SourceUri | None:
    """Return what ``uri`` means if it names a camera."""
    if re.fullmatch("[0-9]{1,4}", uri):
        return SourceUri("camera", f"/dev/video{int(uri)}", live=True)
    return SourceUri("camera", uri, live=True) if uri.startswith("/dev/") else None


def open_capture(name: str, source: SourceUri, opening: Opening) -> Capture:
    """Open the camera; raises SourceError if that doesn't work."""
    # OpenCV needs libraries of the system that a server may lack.
    from framepair.nodes.producer.sources.video import LiveVideo

    return LiveVideo(name, source, opening)
