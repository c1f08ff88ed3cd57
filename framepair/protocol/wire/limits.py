"""What headers may say of sources and pictures. Light, as the launcher reads it, too: it decodes no header."""

from __future__ import annotations

import re
from typing import Final

NAME_PATTERN: Final = r"^[A-Za-z0-9_-]{1,64}\Z"
SOURCE_NAME: Final = re.compile(NAME_PATTERN)
# Of a pair, so that its header stays small.
MAX_SOURCES: Final = 256
MAX_SIDE: Final = 32768
# Frames a second that a header can name.
MIN_FPS: Final = 1e-3
MAX_FPS: Final = 10_000
# No frame takes more, in a message or once decoded.
MAX_FRAME_BYTES: Final = 128 * 1024 * 1024


class ProtocolError(ValueError):
    """A message that does not follow the wire format; the node that got it counts it and goes on."""


def source_name(value: str) -> str:
    """Return ``value`` if it can name a source; raises ProtocolError otherwise."""
    if not SOURCE_NAME.match(value):
        raise ProtocolError("a source's name has letters, digits, _ and - only, 64 at most")
    return value
