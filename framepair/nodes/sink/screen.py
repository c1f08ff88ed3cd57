"""The terminal, pipe or file that a sink shows pairs on."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import sys
from collections.abc import Iterator
from datetime import datetime
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from framepair.nodes.sink.live_table import TableView
from framepair.nodes.sink.stampings import cells as cells_of
from framepair.protocol.client import pace
from framepair.protocol.client.clip import Clip, Pair

# Beyond so many characters, a line sums sources up and names only those with something missing.
MAX_ITEMISED_WIDTH = 36
MAX_NAMED = 4
MAX_STAMPS_WIDTH = 60
STAMPS_NAME = "stamps ± ms, delay ms"
# Of a lag, and of one that may be wrong because clocks of several machines are compared.
ONE_CLOCK_WIDTH, TWO_CLOCKS_WIDTH = 6, 11
MISSING_WORDS = {
    "offline": " offline",
    "not_started": " not started",
    "ended": " ended",
    "slow": " too slow",
}
CLOCKS = {"camera": "its camera's clock", "media": "media time", "arrival": "arrival"}


class Layout:
    """Where a line has what, for the sources of one pair and of those after it."""

    def __init__(self, pair: Pair) -> None:
        self.sources = tuple(pair)
        cells = [_clip_cell(source, clip) for source, clip in pair.items()]
        self._itemised = sum(len(cell) + 2 for cell in cells) <= MAX_ITEMISED_WIDTH
        self._widths = {source: len(cell) for source, cell in zip(self.sources, cells, strict=True)}
        self._frames_width = max(len("frames"), self._frames_cell(pair).cell_len)
        self._wait_name = "wait ms" if self._itemised else "max wait ms"
        self._wait_width = max(len(self._wait_name), 5 * len(cells) - 1 if self._itemised else 0)
        self._pair_width = len(_window_time(pair))
        self._stamps_width = max(len(STAMPS_NAME), len(_stamps(pair))) if cells_of(pair) else 0
        self._lag_width = ONE_CLOCK_WIDTH if pair.lag_uncertainty_ns == 0 else TWO_CLOCKS_WIDTH

    def fits(self, pair: Pair) -> bool:
        """Return whether a line of ``pair`` has the same columns."""
        return self.sources == tuple(pair) and (self._stamps_width > 0 or not cells_of(pair))

    def heading(self) -> Text:
        """Return the names of the columns."""
        pair = "pair".ljust(self._pair_width)
        frames = "frames".ljust(self._frames_width)
        wait = self._wait_name.rjust(self._wait_width)
        lag = "lag ms".rjust(self._lag_width)
        stamps = f"{STAMPS_NAME.ljust(self._stamps_width)}  " if self._stamps_width else ""
        line = f"{'time':12}  {pair}  {frames} {lag} {'interval s':>10}  {wait}  {stamps}missing"
        return Text(line, style="bold")

    def line(self, pair: Pair, interval_ns: int | None, waits_ms: dict[str, float]) -> Text:
        """Return what there is to say of ``pair`` in numbers."""
        measured = pace.named(pair.header.pace).timed and not pair.partial and frames(pair)
        lag = "-" if not measured else _lag(pair)
        interval = "-" if interval_ns is None else f"{interval_ns / 1e9:.3f}"
        cell = self._frames_cell(pair)
        cell.pad_right(self._frames_width - cell.cell_len)
        shown = waits_ms.values() if self._itemised else [max(waits_ms.values(), default=0.0)]
        wait = " ".join(f"{wait:4.1f}" for wait in shown)
        return Text.assemble(
            f"{_wall_time(pair.ready_ns)}  {_window_time(pair):{self._pair_width}}  ",
            cell,
            f" {lag:>{self._lag_width}} {interval:>10}  {wait:>{self._wait_width}}  ",
            f"{_stamps(pair):{self._stamps_width}}  " if self._stamps_width else "",
        )

    def _frames_cell(self, pair: Pair) -> Text:
        if not self._itemised:
            expected = sum(clip.expected for clip in pair.values())
            cell = f"{len(pair)} sources, {frames(pair)}/{expected}"
            return Text(cell, style="green" if pair.complete else "yellow")
        cells = (
            Text(_clip_cell(source, clip).ljust(self._widths[source]), style=_clip_style(clip))
            for source, clip in pair.items()
        )
        return Text("  ").join(cells)


def _lag(pair: Pair) -> str:
    uncertainty_ns = pair.lag_uncertainty_ns
    if uncertainty_ns == 0:
        return f"{pair.lag_ns / 1e6:.1f}"
    return f"{pair.lag_ns / 1e6:.1f}±{'?' if uncertainty_ns is None else f'{uncertainty_ns / 1e6:.1f}'}"


def _stamps(pair: Pair) -> str:
    """Return by which clock sources are stamped, or of many, which of them may be the most wrong."""
    cells = cells_of(pair)
    itemised = "  ".join(f"{source} {cell}" for source, cell in cells.items())
    if len(itemised) <= MAX_STAMPS_WIDTH:
        return itemised
    worst = max(cells, key=lambda source: _most_ns(pair[source]))
    return f"{worst} {cells[worst]} at most"


def _most_ns(clip: Clip) -> float:
    return math.inf if clip.uncertainty_ns is None else clip.uncertainty_ns


def frames(pair: Pair) -> int:
    """Return how many frames a pair has."""
    return sum(len(clip.frames) for clip in pair.values())


def _clip_cell(source: str, clip: Clip) -> str:
    return f"{source} {len(clip.frames):{len(str(clip.expected))}}/{clip.expected}"


def _clip_style(clip: Clip) -> str:
    if not clip.frames:
        return "red"
    return "yellow" if clip.missing or clip.gaps else "green"


def _window_time(pair: Pair) -> str:
    """Return the window's start: time of day, or position in the video with pace max."""
    whole_seconds = (pair.end_ns - pair.start_ns) % 1_000_000_000 == 0
    digits = -4 if whole_seconds else None
    if not pace.named(pair.header.pace).timed:
        minutes, milliseconds = divmod(pair.start_ns // 1_000_000, 60_000)
        time_of_video = f"{minutes // 60}:{minutes % 60:02}:{milliseconds / 1000:06.3f}"
        return time_of_video[:digits]
    return _wall_time(pair.start_ns)[:digits]


def _wall_time(utc_ns: int) -> str:
    local = datetime.fromtimestamp(utc_ns // 1_000_000_000)
    return f"{local:%H:%M:%S}.{utc_ns // 1_000_000 % 1000:03}"


def words(pair: Pair) -> Text:
    """Say what is missing, and why."""
    faults: dict[str, list[str]] = {}
    for source, clip in pair.items():
        for fault in _faults(clip, pair.partial):
            faults.setdefault(fault, []).append(source)
    said = [f"{_names(sources)}{fault}" for fault, sources in faults.items()]
    if pair.lost:
        said.append(f"{_count(pair.lost, 'pair')} lost before this one")
    if pair.partial:
        said.append("cut short by the end of the stream")
    if not said and not pair.complete:
        said.append("incomplete")
    serious = pair.lost or not all(clip.frames for clip in pair.values())
    return Text("; ".join(said), style="red" if serious else "yellow")


def _faults(clip: Clip, partial: bool) -> Iterator[str]:
    # Every source ends where the stream does; that is said once, of the pair.
    if clip.missing and not (partial and clip.missing == "ended"):
        yield MISSING_WORDS[clip.missing]
    if clip.gaps:
        yield f": {_count(clip.gaps, 'frame')} missing"
    if clip.header.restamped:
        yield f" is stamped by {CLOCKS.get(clip.stamp or '', 'another clock')} from now on"
    if clip.header.late:
        yield f": {_count(clip.header.late, 'frame')} late"


def _names(sources: list[str]) -> str:
    named = ", ".join(sources[:MAX_NAMED])
    more = len(sources) - MAX_NAMED
    return f"{named} and {more} more" if more > 0 else named


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


# Wide enough that no table is squeezed into a pipe or a file as it would be into 80 columns.
PIPED_WIDTH = 200

log = logging.getLogger(__name__)


class View(Protocol):
    """How pairs are shown while they come."""

    def show(self, pair: Pair, interval_ns: int | None, waits_ms: dict[str, float]) -> None:
        """Show a pair."""

    def tick(self) -> None:
        """Show how things are now; called several times a second."""

    def end(self) -> None:
        """Show nothing more."""


class Screen:
    """The terminal, pipe or file that pairs are shown on: in a table on a terminal, else a line each.

    ``lines`` asks for lines on a terminal, too, ``quiet`` for neither.
    """

    def __init__(
        self, *, to_stderr: bool = False, lines: bool = False, quiet: bool = False
    ) -> None:
        self.console = Console(highlight=False, markup=False, emoji=False, stderr=to_stderr)
        if not self.console.is_terminal:
            self.console.width = PIPED_WIDTH
        self._lines, self._quiet = lines, quiet
        self._view: View | None = None

    def __enter__(self) -> Screen:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    @contextlib.contextmanager
    def printing(self) -> Iterator[None]:
        """Go on measuring if what is printed meanwhile can't be, because a disk is full, say."""
        try:
            yield
        except BrokenPipeError:
            raise
        except OSError as error:
            log.error("nothing can be printed any more: %s", error.strerror)
            self._view = Nothing()
            # What is left in buffers would fail again at the exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    def show(self, pair: Pair, interval_ns: int | None, waits_ms: dict[str, float]) -> None:
        """Show a pair."""
        with self.printing():
            self._view = self._view or self._choose(pair)
            self._view.show(pair, interval_ns, waits_ms)

    def tick(self) -> None:
        """Show how things are now; to be called several times a second."""
        if self._view is not None:
            with self.printing():
                self._view.tick()

    def end(self) -> None:
        """Show no more pairs: what is printed from now on follows what was shown."""
        if self._view is not None:
            with self.printing():
                self._view.end()
            self._view = None

    def _choose(self, pair: Pair) -> View:
        if self._quiet:
            return Nothing()
        lossless = pace.named(pair.header.pace).lossless
        if self._lines or lossless or not _moves_cursor(self.console):
            return Lines(self.console)
        return TableView(self.console)


def _moves_cursor(console: Console) -> bool:
    return console.is_terminal and not console.is_dumb_terminal and os.isatty(console.file.fileno())


class Nothing:
    """Shows nothing."""

    def show(self, pair: Pair, interval_ns: int | None, waits_ms: dict[str, float]) -> None:
        """Do nothing."""

    def tick(self) -> None:
        """Do nothing."""

    def end(self) -> None:
        """Do nothing."""


class Lines:
    """Shows a line for each pair, below the names of the columns."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._layout: Layout | None = None
        self._progress: OfflineProgress | None = None

    def show(self, pair: Pair, interval_ns: int | None, waits_ms: dict[str, float]) -> None:
        """Print the line of ``pair``."""
        console = self._console
        if self._layout is None or not self._layout.fits(pair):
            self._layout = Layout(pair)
            console.print(self._layout.heading(), soft_wrap=True)
        line = self._layout.line(pair, interval_ns, waits_ms)
        missing = words(pair)
        if missing and console.is_terminal and line.cell_len + missing.cell_len > console.width:
            line.append("\n    ")
        console.print(line + missing, soft_wrap=True)
        if console.is_terminal and pace.named(pair.header.pace).lossless:
            self._progress = self._progress or OfflineProgress(console)
            self._progress.add(pair)

    def tick(self) -> None:
        """Do nothing: there is a line for each pair."""

    def end(self) -> None:
        """Take the progress bar off the terminal."""
        if self._progress:
            self._progress.stop()
            self._progress = None


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
