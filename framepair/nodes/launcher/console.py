"""What the launcher tells the user, and what it passes on from its nodes; never waiting for a reader."""

from __future__ import annotations

import contextlib
import sys

from framepair.nodes.common import log_format
from framepair.nodes.common.log_format import Level
from framepair.nodes.common.streams import visible


def say(sentence: str, level: Level = "info") -> None:
    """Tell the user, if stderr still has a reader."""
    pass_on(f"{log_format.current().sentence('framepair', level, visible(sentence))}\n".encode())


def pass_on(text: bytes) -> None:
    """Write ``text`` to stderr as it is."""
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.buffer.write(text)
        sys.stderr.buffer.flush()
