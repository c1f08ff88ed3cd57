"""The pairs of the last five minutes, one cell each: whether it was complete, and if not, why not."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from framepair.protocol.client.clip import Pair
from framepair.protocol.wire.pair import ClipHeader, PairHeader

HORIZON_NS: Final = 300_000_000_000
# Short windows would make more cells than a page has room for.
MAX_CELLS: Final = 600

CellState = Literal["complete", "incomplete", "lost"]


@dataclass(frozen=True, slots=True)
class Cell:
    """One window: what became of its pair, and why, in words. ``lag_ns`` is None where no clock says it."""

    index: int
    start_ns: int
    end_ns: int
    state: CellState
    why: tuple[str, ...] = ()
    lag_ns: int | None = None
    interval_ns: int | None = None


class Strip:
    """The cells of the last five minutes, oldest first, and how many pairs there were in all."""

    def __init__(self) -> None:
        self.cells: deque[Cell] = deque(maxlen=MAX_CELLS)
        self.pairs: Counter[str] = Counter(true=0, false=0, unknown=0)
        """By whether they were complete; what got lost on its way to this monitor is unknown."""
        self._dropped: dict[str, Counter[str]] = {}
        self._run: int | None = None

    def add_pair(self, pair: Pair, lag_ns: int | None, interval_ns: int | None) -> Cell:
        """Add a pair, and the windows before it of which no announcement came; return its cell."""
        self._add_gap(pair)
        header = pair.header
        state: CellState = "complete" if header.complete else "incomplete"
        why = () if header.complete else tuple(self._reasons(header))
        cell = Cell(pair.index, pair.start_ns, pair.end_ns, state, why, lag_ns, interval_ns)
        self.cells.append(cell)
        self.pairs["true" if header.complete else "false"] += 1
        self.pairs["unknown"] += pair.lost
        self._note_dropped(header)
        while self.cells[0].end_ns < pair.end_ns - HORIZON_NS:
            self.cells.popleft()
        return cell

    def _add_gap(self, pair: Pair) -> None:
        if not self.cells:
            return
        window_ns = pair.end_ns - pair.start_ns
        first = max(self.cells[-1].index + 1, pair.index - MAX_CELLS)
        why = tuple(_reasons_of_gap(pair))
        for index in range(first, pair.index):
            start_ns = index * window_ns
            self.cells.append(Cell(index, start_ns, start_ns + window_ns, "lost", why))

    def _reasons(self, header: PairHeader) -> Iterator[str]:
        for source, clip in header.clips.items():
            if not clip.complete:
                yield from reasons_of_clip(source, clip, self._newly_dropped(source, clip, header))

    def _newly_dropped(self, source: str, clip: ClipHeader, header: PairHeader) -> Counter[str]:
        """Return the frames that were dropped since the pair before, by reason; none if it is not known."""
        if header.run != self._run or source not in self._dropped:
            return Counter()
        return Counter(clip.totals.dropped) - self._dropped[source]

    def _note_dropped(self, header: PairHeader) -> None:
        self._run = header.run
        self._dropped = {name: Counter(clip.totals.dropped) for name, clip in header.clips.items()}


def reasons_of_clip(source: str, clip: ClipHeader, dropped: Mapping[str, int]) -> Iterator[str]:
    """Say why a clip is not complete, in the words of its header; ``dropped`` is new in its totals."""
    said = False
    if clip.missing:
        said = True
        yield f"{source}: {clip.missing}"
    for reason, count in sorted(dropped.items()):
        said = True
        yield f"{source}: {_frames(count)} {reason}"
    if clip.late:
        yield f"{source}: {_frames(clip.late)} late"
    if clip.restamped:
        yield f"{source}: restamped"
    if clip.gaps and not dropped:
        yield f"{source}: {_frames(clip.gaps)} missing"
    elif not (said or clip.late or clip.restamped) and clip.complete is False:
        yield f"{source}: incomplete"


def _reasons_of_gap(pair: Pair) -> Iterator[str]:
    if pair.lost:
        yield f"{pair.lost} announced and lost on the way to the monitor"
    if pair.skipped or not pair.lost:
        yield f"{pair.skipped} not announced: no combiner, or no frames"


def _frames(count: int) -> str:
    return f"{count} frame" if count == 1 else f"{count} frames"
