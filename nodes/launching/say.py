"""What the launcher itself tells the user."""

from __future__ import annotations

import contextlib
import sys


def say(sentence: str) -> None:
    """Tell the user, if anybody still listens."""
    with contextlib.suppress(OSError):
        print(f"launch: {sentence}", file=sys.stderr, flush=True)
