"""What the launcher tells the user, and what it passes on; never so that it has to wait for a reader."""

from __future__ import annotations

import contextlib
import os
import select
import sys

# What a pipe that has room takes at once.
CHUNK_BYTES = 4096
# A terminal or a pager that is slow gets so long; one that is stopped must not stop the launcher.
PATIENCE_MS = 50


def say(sentence: str) -> None:
    """Tell the user, if anybody still listens."""
    pass_on(f"framepair: {sentence}\n".encode())


def pass_on(text: bytes) -> None:
    """Write ``text`` to stderr; what nobody takes in time is lost."""
    with contextlib.suppress(OSError, ValueError):
        descriptor = sys.stderr.fileno()
        room = select.poll()
        room.register(descriptor, select.POLLOUT)
        for start in range(0, len(text), CHUNK_BYTES):
            if not room.poll(PATIENCE_MS):
                return
            os.write(descriptor, text[start : start + CHUNK_BYTES])
