"""The running view on a terminal: one table of the sources and the pairs, as they are now."""

from __future__ import annotations

import time
from collections import Counter

from rich.console import Console
from rich.table import Table
from rich.text import Text

from framepair.nodes.common.streams import visible
from framepair.nodes.sink.pinned_area import PinnedArea
from framepair.protocol.client.clip import Clip, Pair
from framepair.protocol.clocks import clock
from framepair.protocol.wire import reasons

REFRESH_S = 0.25
# The heading, and the line of the pairs.
OTHER_LINES = 3
STATES = {
    None: "ok",
    "offline": "offline",
    "not_started": "not started",
    "ended": "ended",
    "slow": "slow",
}
COLUMNS = ("state", "frames", "fps", "lag ms", "age s")


class LiveTable:
    """What is known of a stream by its newest pair."""

    def __init__(self) -> None:
        self._pair: Pair | None = None
        self._captured_ns: dict[str, int] = {}
        self._interval_ns: int | None = None
        self._pairs = self._complete = self._lost = 0

    def add_pair(self, pair: Pair, interval_ns: int | None) -> None:
        """Take the next pair, and the time since the one before."""
        self._pair, self._interval_ns = pair, interval_ns
        self._captured_ns |= {
            source: clip.frames[-1].captured_ns for source, clip in pair.items() if clip.frames
        }
        self._pairs += 1
        self._complete += pair.complete
        self._lost += pair.lost

    def table(self, now_ns: int, most: int) -> Table:
        """Return a row for each source, ``most`` at most, as things are at ``now_ns``."""
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
        table.add_column("source", no_wrap=True, max_width=20)
        for name in COLUMNS:
            table.add_column(name, justify="left" if name == "state" else "right", no_wrap=True)
        table.add_column("lost", no_wrap=True, overflow="ellipsis")
        clips = list((self._pair or {}).items())
        for source, clip in clips[:most]:
            table.add_row(source, *self._cells(source, clip, now_ns), style=_style(clip))
        if len(clips) > most:
            table.add_row(f"and {len(clips) - most} more")
        return table

    def sentence(self) -> Text:
        """Return what there is to say of the pairs."""
        pair = self._pair
        lag = f"{pair.lag_ns / 1e6:.1f}" if pair is not None and any(pair.values()) else "-"
        interval = "-" if self._interval_ns is None else f"{self._interval_ns / 1e9:.3f}"
        return Text(
            f"pairs {self._pairs}  complete {self._complete}  lost {self._lost}"
            f"  lag {lag} ms  interval {interval} s"
        )

    def _cells(self, source: str, clip: Clip, now_ns: int) -> tuple[str, ...]:
        pair, captured_ns = self._pair, self._captured_ns.get(source)
        window_ns = pair.end_ns - pair.start_ns if pair else 1
        lag = f"{(clip.ready_ns - clip.frames[-1].captured_ns) / 1e6:.1f}" if clip.frames else "-"
        age = "-" if captured_ns is None else f"{max(0, now_ns - captured_ns) / 1e9:.1f}"
        frames, fps = f"{len(clip)}/{clip.expected}", f"{len(clip) * 1e9 / window_ns:.1f}"
        return STATES[clip.missing], frames, fps, lag, age, _lost(clip)


def _lost(clip: Clip) -> str:
    """Return how many frames were lost for which reason; those before the first pair are no loss."""
    totals = clip.header.totals
    lost = Counter(totals.dropped) + Counter(late=totals.late)
    del lost[reasons.STARTUP]
    return ", ".join(f"{visible(reason)} {count}" for reason, count in lost.most_common()) or "0"


def _style(clip: Clip) -> str:
    if not clip.frames:
        return "red"
    return "yellow" if clip.missing or clip.gaps else ""


class TableView:
    """Shows the table at the bottom of a terminal, some times a second."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._area = PinnedArea(console.file)
        self._table = LiveTable()
        self._next_s = 0.0

    def show(self, pair: Pair, interval_ns: int | None, waits_ms: dict[str, float]) -> None:  # noqa: ARG002
        """Show a pair, now."""
        self._table.add_pair(pair, interval_ns)
        self._next_s = 0.0
        self.tick()

    def tick(self) -> None:
        """Show how things are now, if it is time for that; to be called several times a second."""
        now_s = time.monotonic()
        if now_s >= self._next_s:
            self._next_s = now_s + REFRESH_S
            self._draw()

    def end(self) -> None:
        """Take the table off the terminal."""
        self._area.close()

    def _draw(self) -> None:
        columns, most = self._area.size
        # A line that ends in the last column would wrap on some terminals.
        width, table = max(1, columns - 1), self._table
        with self._console.capture() as captured:
            self._console.print(
                table.table(clock.now_ns(), max(1, most - OTHER_LINES)), width=width, crop=True
            )
            self._console.print(table.sentence(), width=width, no_wrap=True, overflow="ellipsis")
        self._area.draw(captured.get().splitlines())
