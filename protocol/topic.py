"""The topics that the combiner publishes under.

SUB matches topics by prefix, so each ends in a byte that no source's name contains: ``frame.cam1.`` does not
match the frames of ``cam10``.
"""

from __future__ import annotations

FRAMES = b"frame."
PAIR = b"pair."
END = b"end."


def frame(source: str) -> bytes:
    """Return the topic of ``source``'s frames."""
    return f"frame.{source}.".encode()
