"""Feeds Windows in tests, and checks after every step what holds whatever comes in."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable

from framepair.nodes.combiner.open_windows import ReceivedFrame
from framepair.nodes.combiner.pace import MAX_EARLY_NS, Rules
from framepair.nodes.combiner.windows import Accepted, Windows
from framepair.protocol.wire import pair
from framepair.protocol.wire.frame import Alive, FrameHeader, RunEndReason, SourceEnd
from framepair.protocol.wire.pair import ClipHeader, PairHeader, Totals
from tests.lib.units import MS, S

# Ten frames a second, so that ten are in a window.
PERIOD_NS = 100 * MS
# The start of some window.
BEGIN_NS = 1_000_000 * S
DELAY_NS = 5 * MS

Key = tuple[str, int, int]


def frame(
    source: str = "left",
    seq: int = 0,
    *,
    captured_ns: int | None = None,
    next_ns: int | None = None,
    offset_ns: int = 0,
    run: int = 1,
    fps: float = 10.0,
    dropped: int = 0,
) -> FrameHeader:
    """Return the header of frame ``seq``, captured ``seq`` periods and ``offset_ns`` after BEGIN_NS."""
    period_ns = round(1e9 / fps)
    captured_ns = BEGIN_NS + offset_ns + seq * period_ns if captured_ns is None else captured_ns
    return FrameHeader(
        source=source,
        run=run,
        seq=seq,
        captured_ns=captured_ns,
        next_ns=captured_ns + period_ns if next_ns is None else next_ns,
        sent_ns=captured_ns,
        shape=(2, 2, 3),
        fps=fps,
        dropped=dropped,
    )


def frames(
    source: str, seqs: Iterable[int], *, offset_ns: int = 0, run: int = 1
) -> list[FrameHeader]:
    """Return the headers of ``seqs``."""
    return [frame(source, seq, offset_ns=offset_ns, run=run) for seq in seqs]


def in_order_of_capture(*sources: list[FrameHeader]) -> list[FrameHeader]:
    """Return the frames of several sources as they come if all are equally fast."""
    merged = [header for source in sources for header in source]
    return sorted(merged, key=lambda header: header.captured_ns)


def at(seconds: float) -> int:
    """Return the time ``seconds`` after BEGIN_NS."""
    return BEGIN_NS + round(seconds * S)


def index_of(seconds: float) -> int:
    """Return the index of the window that begins ``seconds`` after BEGIN_NS, if windows last a second."""
    return at(seconds) // S


def seqs(clip: ClipHeader) -> list[int]:
    """Return the seq of each frame of a clip."""
    return [span.first + i for span in clip.spans for i in range(span.count)]


def is_balanced(totals: Totals) -> bool:
    """Return whether each frame that was captured is accounted for."""
    elsewhere = totals.open + totals.late + sum(totals.dropped.values())
    return totals.captured == totals.paired + elsewhere


class Feed:
    """Windows with a clock that follows the frames that are sent, unless a test sets it."""

    def __init__(
        self,
        sources: str = "left right",
        rules: Rules | None = None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.rules = rules or Rules()
        self.windows: Windows[str] = Windows(
            sources.split(), self.rules, run=9, say=lambda _, message: say(message)
        )
        self.now_ns = BEGIN_NS
        self.accepted: list[FrameHeader] = []
        self.pairs: list[PairHeader] = []
        self._open: defaultdict[int, set[Key]] = defaultdict(set)
        self._seen: set[Key] = set()

    def send(self, *headers: FrameHeader, now_ns: int | None = None) -> list[PairHeader]:
        """Send frames, each right after its capture or all at ``now_ns``; return the pairs they close.

        Those are announced when they are due, which may be up to 50 ms after the last frame.
        """
        before = len(self.pairs)
        for header in headers:
            if now_ns is None:
                self.wake(max(self.now_ns, header.captured_ns + DELAY_NS))
            else:
                self.now_ns = now_ns
            self.receive(header)
            self.tick()
        if now_ns is None:
            self.wake(self.now_ns + MAX_EARLY_NS, stay=True)
        return self.pairs[before:]

    def receive(self, header: FrameHeader, received_ns: int | None = None) -> None:
        """Receive a frame, now unless told otherwise, without looking at the clock."""
        received_ns = self.now_ns if received_ns is None else received_ns
        self._accept(self.windows.frame(ReceivedFrame(header, "pixels", received_ns)))

    def alive(self, alive: Alive, now_ns: int | None = None) -> list[PairHeader]:
        """Receive a sign of life, at ``now_ns`` or when it was sent; return the pairs that this closes."""
        before = len(self.pairs)
        self.wake(max(self.now_ns, alive.sent_ns if now_ns is None else now_ns))
        self.windows.alive(alive, self.now_ns)
        self.tick()
        return self.pairs[before:]

    def wake(self, until_ns: int, *, stay: bool = False) -> None:
        """Look at the clock whenever a window is due until then; it shows that then, or ``stay`` behind."""
        while (due_ns := self.windows.due_ns(self.now_ns)) is not None and due_ns <= until_ns:
            before = len(self.pairs)
            self.tick(max(self.now_ns, due_ns))
            if len(self.pairs) == before:
                break
        self.now_ns = self.now_ns if stay else until_ns

    def end(
        self,
        source: str,
        seq: int,
        reason: RunEndReason = "finished",
        *,
        run: int = 1,
        dropped: int = 0,
    ) -> list[PairHeader]:
        """End a run of ``seq`` frames; return the pairs that this closes."""
        self.windows.end(SourceEnd(source, run, seq, dropped, reason), self.now_ns)
        return self.tick()

    def tick(self, now_ns: int | None = None) -> list[PairHeader]:
        """Look at the clock; return the pairs that are due."""
        self.now_ns = self.now_ns if now_ns is None else now_ns
        before = len(self.pairs)
        self._accept(self.windows.release(self.now_ns))
        for header in self.windows.closed(self.now_ns):
            self._announce(header)
        self.check_totals()
        return self.pairs[before:]

    def flush(self, *, stop: bool = True) -> list[PairHeader]:
        """End everything; return the pairs that were open. Without ``stop``, held frames are lost."""
        before = len(self.pairs)
        if stop:
            self._accept(self.windows.stop(self.now_ns))
        for header in self.windows.flush(self.now_ns):
            self._announce(header)
        self.check_totals()
        assert all(totals.open == 0 for totals in self.windows.totals().values())
        return self.pairs[before:]

    def totals(self, source: str = "left") -> Totals:
        """Return what became of a source's frames."""
        return self.windows.totals()[source]

    def check_totals(self) -> None:
        """Check that every frame is accounted for."""
        totals = self.windows.totals().values()
        assert all(is_balanced(source) for source in totals), totals

    def _accept(self, accepted: list[Accepted[str]]) -> None:
        for item in accepted:
            header, key = item.header, (item.header.source, item.header.run, item.header.seq)
            assert header.window == header.captured_ns // self.rules.window_ns
            assert header.window_ns == self.rules.window_ns
            assert header.received_ns is not None
            assert key not in self._seen, f"{key} came out twice"
            assert not self.pairs or header.window > self.pairs[-1].window, (
                f"{key} came out too late"
            )
            self._seen.add(key)
            self._open[header.window].add(key)
            self.accepted.append(header)

    def _announce(self, header: PairHeader) -> None:
        self.check_totals()
        assert pair.decode(header.encode()) == header
        assert header.seq == len(self.pairs)
        assert not self.pairs or header.window > self.pairs[-1].window
        assert header.start_ns == header.window * self.rules.window_ns
        assert header.end_ns == header.start_ns + self.rules.window_ns
        assert all(is_balanced(clip.totals) for clip in header.clips.values())
        assert names(header) == sorted(self._open.pop(header.window, ()))
        assert header.previous == (self.pairs[-1].window if self.pairs else None)
        self.pairs.append(header)


def alive(
    source: str, seconds: float, seq: int, *, next_s: float | None = None, run: int = 1
) -> Alive:
    """Return what a producer says ``seconds`` after BEGIN_NS, when it has captured ``seq`` frames."""
    next_ns = at(seconds if next_s is None else next_s)
    return Alive(source=source, run=run, seq=seq, dropped=0, sent_ns=at(seconds), next_ns=next_ns)


def names(header: PairHeader) -> list[Key]:
    """Return source, run and seq of each frame of a pair."""
    names = [
        (source, span.run, span.first + i)
        for source, clip in header.clips.items()
        for span in clip.spans
        for i in range(span.count)
    ]
    return sorted(names)
