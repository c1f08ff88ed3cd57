"""Cameras of this machine: a number, or a device such as /dev/video0."""

from __future__ import annotations

import re

from framepair.nodes.common.runtime import Refused
from framepair.nodes.producer.sources.source import Capture
from framepair.nodes.producer.sources.uri import Opening, SourceUri
from framepair.protocol.wire.frame import StampGrade

USAGE = "a camera's number"
# Not a device, but what this process has open: a file or pipe.
OPEN_FILE = re.compile(r"/dev/(stdin|fd/\d+)")
STAMPS: tuple[StampGrade, ...] = ("driver", "arrival")


def parse(uri: str) -> SourceUri | None:
    """Return what ``uri`` means if it names a camera."""
    if re.fullmatch("[0-9]{1,4}", uri):
        return SourceUri("camera", f"/dev/video{int(uri)}", live=True)
    is_device = uri.startswith("/dev/") and not OPEN_FILE.fullmatch(uri)
    return SourceUri("camera", uri, live=True) if is_device else None


def open_capture(name: str, source: SourceUri, opening: Opening) -> Capture:
    """Open the camera; raises SourceError if that doesn't work, Refused if OpenCV is missing."""
    # OpenCV needs libraries of the system that a server may lack.
    try:
        from framepair.nodes.producer.sources.video import LiveVideo
    except ImportError as error:
        raise Refused(
            f"source {name}: OpenCV, which reads cameras, cannot be loaded ({error}): install its libraries"
            " (Debian: apt-get install libgl1 libglib2.0-0), or the package opencv-python-headless in place"
            " of opencv-python"
        ) from None

    return LiveVideo(name, source, opening)
