"""The terminal, pipe or file that a sink shows pairs on."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from nodes.reporting.pair_line import Layout, frames, words
from protocol.clip import Pair

# Wide enough that no table is squeezed into a pipe or a file as it would be into 80 columns.
PIPED_WIDTH = 200

log = logging.getLogger(__name__)


class Screen:
    """The terminal, pipe or file that pairs are shown on, a line each."""

    def __init__(self) -> None:
        self.console = Console(highlight=False, markup=False, emoji=False)
        if not self.console.is_terminal:
            self.console.width = PIPED_WIDTH
        self._layout: Layout | None = None
        self._progress: OfflineProgress | None = None

    def __enter__(self) -> Screen:
        return self

    def __exit__(self, *_: object) -> None:
        if self._progress:
            self._progress.stop()

    @contextlib.contextmanager
    def printing(self) -> Iterator[None]:
        """Go on measuring if what is printed meanwhile can't be, because a disk is full, say."""
        try:
            yield
        except BrokenPipeError:
            raise
        except OSError as error:
            log.error("nothing can be printed any more: %s", error.strerror)
            # What is left in buffers would fail again at the exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    def show(self, pair: Pair, interval_ns: int | None, waits_ms: dict[str, float]) -> None:
        """Print the line of ``pair``, below the names of its columns if it is the first."""
        with self.printing():
            self._show(pair, interval_ns, waits_ms)

    def _show(self, pair: Pair, interval_ns: int | None, waits_ms: dict[str, float]) -> None:
        if self._layout is None or self._layout.sources != tuple(pair):
            self._layout = Layout(pair)
            self.console.print(self._layout.heading(), soft_wrap=True)
        line = self._layout.line(pair, interval_ns, waits_ms)
        missing = words(pair)
        if (
            missing
            and self.console.is_terminal
            and line.cell_len + missing.cell_len > self.console.width
        ):
            line.append("\n    ")
        self.console.print(line + missing, soft_wrap=True)
        if self.console.is_terminal and pair.header.pace == "max":
            self._progress = self._progress or OfflineProgress(self.console)
            self._progress.add(pair)


class OfflineProgress:
    """A bar of the frames that came, below the lines of the pairs."""

    def __init__(self, console: Console) -> None:
        columns = TextColumn("frames"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
        self._progress = Progress(*columns, console=console, transient=True)
        self._task = self._progress.add_task("", total=None)
        self._totals: dict[str, int] = {}
        self._progress.start()

    def add(self, pair: Pair) -> None:
        """Count the frames of ``pair``. There is no end in sight unless every source says how many it has."""
        self._totals |= {
            source: clip.frames[-1].total for source, clip in pair.items() if clip.frames
        }
        total = sum(self._totals.values()) if all(self._totals.values()) else None
        self._progress.update(self._task, total=total, advance=frames(pair))

    def stop(self) -> None:
        """Take the bar off the terminal."""
        self._progress.stop()
