"""What a source's frames look like, as far as that can be known without starting anything."""

from __future__ import annotations

from contextlib import closing

import numpy as np

from nodes.capture import Capture, CaptureLost, FrameLost, SourceError, open_capture, parse
from nodes.sources.source import Format
from protocol import clock, jpeg


def probe(
    name: str, uri: str, quality: int | None, *, open_timeout_s: float, read_timeout_s: float
) -> tuple[Format | None, int | None]:
    """Return the format of what ``uri`` names, and how many bytes its first frame takes as JPEG.

    None, if it can't be opened or read now, or there is no ``quality``.
    """
    try:
        capture = open_capture(
            name, uri, loop=False, open_timeout_s=open_timeout_s, read_timeout_s=read_timeout_s
        )
    except SourceError:
        return None, None
    with closing(capture):
        return capture.format, None if quality is None else _jpeg_bytes(capture, quality)


def is_synthetic(uri: str) -> bool:
    """Tell whether ``uri`` names no video: raises SourceError if it names nothing."""
    return parse(uri).synthetic is not None


def _jpeg_bytes(capture: Capture, quality: int) -> int | None:
    try:
        if not capture.grab():
            return None
        memory = np.empty(capture.format.shape, np.uint8)
        return len(jpeg.encode(capture.retrieve(memory, 0, clock.now_ns()), quality))
    except (CaptureLost, FrameLost, SourceError):
        return None
