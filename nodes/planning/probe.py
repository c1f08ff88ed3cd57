"""What a source's frames look like, as far as that can be known without starting anything."""

from __future__ import annotations

from nodes.capture import SourceError, open_capture, parse
from nodes.sources.source import Format


def probe(name: str, uri: str, *, open_timeout_s: float, read_timeout_s: float) -> Format | None:
    """Return the format of what ``uri`` names, None if it can't be opened now."""
    try:
        capture = open_capture(
            name, uri, loop=False, open_timeout_s=open_timeout_s, read_timeout_s=read_timeout_s
        )
    except SourceError:
        return None
    try:
        return capture.format
    finally:
        capture.close()


def is_synthetic(uri: str) -> bool:
    """Tell whether ``uri`` names no video: raises SourceError if it names nothing."""
    return parse(uri).synthetic is not None
