"""The bottom lines of a terminal, where a few lines stay while everything else scrolls above them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import IO

# Of everything else, at least: what is pinned must not fill the terminal.
MIN_SCROLLED = 5
SAVE, RESTORE = "\x1b7", "\x1b8"
CLEAR_LINE, CLEAR_BELOW = "\x1b[2K", "\x1b[J"
# Lines do not wrap while they are drawn: after a terminal has become narrower, one would push the others away.
NO_WRAP, WRAP = "\x1b[?7l", "\x1b[?7h"


class PinnedArea:
    """Draws lines at the bottom of a terminal, whose other lines scroll: other processes write there, too.

    Each drawing is one write, so that no other comes in between. ``close`` gives the lines back.
    """

    def __init__(self, terminal: IO[str]) -> None:
        self._terminal = terminal
        self._size: tuple[int, int] | None = None
        self._height = 0

    @property
    def size(self) -> tuple[int, int]:
        """Columns of the terminal, and the lines that may be pinned: 0 if it is too small."""
        columns, rows = os.get_terminal_size(self._terminal.fileno())
        return columns, max(0, rows - MIN_SCROLLED)

    def draw(self, lines: Sequence[str]) -> None:
        """Show ``lines``, as many as may be pinned; each fits into a line of the terminal."""
        columns, most = self.size
        lines = lines[:most]
        rows = most + MIN_SCROLLED
        text = self._make_room(columns, rows, len(lines))
        first = rows - len(lines) + 1
        drawn = (f"\x1b[{first + i};1H{CLEAR_LINE}{line}" for i, line in enumerate(lines))
        self._write(f"{text}{SAVE}{NO_WRAP}{''.join(drawn)}{WRAP}{RESTORE}")

    def close(self) -> None:
        """Let all lines scroll again, with nothing pinned."""
        if self._size is not None:
            first = self._size[1] - self._height + 1
            self._write(f"{SAVE}\x1b[r\x1b[{first};1H{CLEAR_BELOW}{RESTORE}")
            self._size, self._height = None, 0

    def _make_room(self, columns: int, rows: int, height: int) -> str:
        """Return what makes the lines above scroll by themselves, if it has to be said."""
        if (self._size, self._height) == ((columns, rows), height):
            return ""
        # Whatever a terminal of another size has made of what was pinned, it is below the cursor.
        clear = "" if self._size is None else f"{SAVE}\x1b[r{RESTORE}{CLEAR_BELOW}"
        self._size, self._height = (columns, rows), height
        # The cursor must be in the part that scrolls, below what is there; setting that part moves it.
        scroll = "\n" * height + f"\x1b[{height}A" if height else ""
        return f"{clear}{scroll}{SAVE}\x1b[1;{rows - height}r{RESTORE}"

    def _write(self, text: str) -> None:
        self._terminal.write(text)
        self._terminal.flush()
