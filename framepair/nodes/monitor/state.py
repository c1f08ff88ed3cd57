"""What the monitor knows of a pipeline: pure, as time is an argument and pairs are handed in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from framepair import __version__
from framepair.nodes.monitor.counters import FrameCounters, losses, restarts
from framepair.nodes.monitor.histogram import Histogram
from framepair.nodes.monitor.source_state import UP, S, SourceState, Word
from framepair.nodes.monitor.strip import Cell, Strip
from framepair.protocol.client import pace
from framepair.protocol.client.clip import Pair
from framepair.protocol.client.losses import SubscriberStats
from framepair.protocol.wire import reasons
from framepair.protocol.wire.pair import StreamEnd, Totals

# Of so many pairs the sentence at the top is; and it names so many rates one by one.
RECENT_PAIRS, MAX_RATES = 10, 4
# No pair is missed before two windows and this.
PATIENCE_NS: Final = 2 * S
# A source that captures less than this of its nominal rate is worth a word.
LEAST_RATE: Final = 0.8
HOPS: Final = ("send", "receive", "announce", "delivery")
WORDS: Final[dict[Word, str]] = {
    "silent": "has sent no frame",
    "slow": "is slow",
    "offline": "is offline",
    "not_started": "has not started",
    "ended": "has ended",
    "stopped": "was stopped",
}


class State:
    """A pipeline since this monitor's start, at ``now_ns``; without pairs for ``unhealthy_ns`` it is unhealthy.

    ``add_pair`` and ``add_end`` take what comes, all else asks. Times are UTC in nanoseconds.
    """

    def __init__(self, now_ns: int, unhealthy_ns: int) -> None:
        self.sources: dict[str, SourceState] = {}
        self.strip = Strip()
        self.lag = Histogram()
        self.hops = {hop: Histogram() for hop in HOPS}
        self.combiner_restarts = 0
        self._unhealthy_ns = unhealthy_ns
        self._came_ns = self._paired_ns = self._complete_ns = now_ns
        self._pair: Pair | None = None
        self._end: StreamEnd | None = None
        self._totals: Mapping[str, Totals] = {}
        self._own: Mapping[str, Mapping[str, int]] = {}
        # What was announced before this monitor had subscribed is not lost.
        self._own_before: dict[str, Counter[str]] = {}

    def add_pair(self, pair: Pair, stats: SubscriberStats, now_ns: int) -> None:
        """Add a pair that came at ``now_ns``, and the counts of the subscription that it came from."""
        header, former = pair.header, self._pair
        timed = pace.named(header.pace).timed
        self.combiner_restarts += former is not None and header.run != former.header.run
        self._count(stats, final=False)
        follows = former is not None and pair.index == former.index + 1
        ahead_ns = now_ns - pair.ready_ns if timed else None
        for name, source in self.sources.items():
            source.is_gone = name not in header.clips
        for name, clip in header.clips.items():
            self.sources[name].add_clip(clip, pair, ahead_ns, follows=follows)
        self._add_times(pair, former, timed=timed)
        self._pair, self._end, self._came_ns = pair, None, now_ns
        if any(clip.frames for clip in header.clips.values()):
            self._paired_ns = now_ns
            self._complete_ns = now_ns if header.complete else self._complete_ns

    def add_end(self, stats: SubscriberStats) -> None:
        """Note that the combiner has said its last word, if it has."""
        if stats.end is None or stats.end is self._end:
            return
        self._end = stats.end
        self._count(stats, final=True)
        for source in self.sources.values():
            source.over = "ended" if stats.end.reason == "finished" else "stopped"

    def present(self) -> dict[str, SourceState]:
        """Return the sources that the newest pair has; those that it had once keep their counters."""
        return {name: each for name, each in self.sources.items() if not each.is_gone}

    def is_silent(self, now_ns: int) -> bool:
        """Return whether no pair has come for longer than it should take."""
        pair = self._pair
        window_ns = pair.end_ns - pair.start_ns if pair else 0
        return now_ns - self._came_ns > 2 * window_ns + PATIENCE_NS

    def word(self, source: SourceState, now_ns: int) -> Word:
        """Return how a source is, as far as pairs tell."""
        return "unknown" if not source.over and self.is_silent(now_ns) else source.word(now_ns)

    def is_up(self, source: SourceState, now_ns: int) -> bool:
        """Return whether frames of a source come."""
        return self.word(source, now_ns) in UP

    def unhealthy(self, now_ns: int, *, complete: bool = False) -> str | None:
        """Return why the pipeline is of no use: no pair with frames, or no complete one; None: it is."""
        since_ns = now_ns - (self._complete_ns if complete else self._paired_ns)
        if since_ns <= self._unhealthy_ns:
            return None
        kind = "complete pair" if complete else "pair with frames"
        return f"no {kind} for {since_ns // S} s: {self.sentence(now_ns)}"

    def sentence(self, now_ns: int) -> str:
        """Return that all is well, or the one thing that is wrong most of all."""
        return next(self._problems(now_ns), None) or self._all_is_well()

    def snapshot(self, now_ns: int) -> dict[str, Any]:
        """Return all of it, to be shown as JSON; nanoseconds are text, as JavaScript has no such numbers."""
        problem = next(self._problems(now_ns), None)
        pair = self._pair
        return {
            "version": __version__,
            "now_ns": str(now_ns),
            "well": problem is None,
            "sentence": problem or self._all_is_well(),
            "window_ms": _ms(pair.end_ns - pair.start_ns) if pair else None,
            "sources": [self._row(name, now_ns) for name in self.present()],
            "pairs": [_cell(cell) for cell in self.strip.cells],
            "lag_ms": _distribution(self._lags_ns()),
            "interval_ms": _distribution(
                [cell.interval_ns for cell in self.strip.cells if cell.interval_ns is not None]
            ),
            "restarts": self.restarts(),
            "meanings": self._meanings(),
        }

    def restarts(self) -> dict[str, int]:
        """Return how often each node was started again since this monitor's start."""
        producers = {
            f"producer {name}": each.counters.restarts for name, each in self.sources.items()
        }
        return {**producers, "combiner": self.combiner_restarts}

    def _count(self, stats: SubscriberStats, *, final: bool) -> None:
        began = bool(self.sources)
        self._totals, self._own = stats.totals, stats.lost_frames
        for name, totals in stats.totals.items():
            own = stats.lost_frames.get(name, {})
            if name not in self.sources:
                # All of a source that comes later is of this monitor's time.
                first = (Totals(), {}) if began else (totals, own)
                self._own_before[name] = Counter(first[1])
                self.sources[name] = SourceState(FrameCounters(*first))
            self.sources[name].counters.update(totals, own, final=final)

    def _add_times(self, pair: Pair, former: Pair | None, *, timed: bool) -> None:
        header = pair.header
        newest = [clip for clip in header.clips.values() if clip.newest_ns]
        self.hops["delivery"].add_ns(pair.ready_ns - header.closed_ns)
        lag_ns = interval_ns = None
        if former and not pair.partial:
            interval_ns = max(0, pair.ready_ns - former.ready_ns)
        if timed:
            for clip in newest:
                self.hops["send"].add_ns(clip.sent_ns - clip.newest_ns)
                self.hops["receive"].add_ns(clip.received_ns - clip.sent_ns)
            if newest and not pair.partial:
                self.hops["announce"].add_ns(header.closed_ns - header.end_ns)
                lag_ns = pair.ready_ns - max(clip.newest_ns for clip in newest)
                self.lag.add_ns(lag_ns)
        self.strip.add_pair(pair, lag_ns, interval_ns)

    def _problems(self, now_ns: int) -> Iterator[str]:
        """Yield what is wrong, the worst first."""
        silent_ns = now_ns - self._came_ns
        if self._end is not None:
            if self._end.reason == "stopped":
                yield "The combiner was stopped: it may come back"
        elif self._pair is None:
            yield f"No pair has come yet, for {silent_ns // S} s"
        elif self.is_silent(now_ns):
            yield f"No pair has come for {silent_ns // S} s"
        else:
            yield from self._problems_of_sources(now_ns)
            yield from self._problems_of_pairs()

    def _problems_of_sources(self, now_ns: int) -> Iterator[str]:
        slow = []
        for name, source in self.present().items():
            word = source.word(now_ns)
            nominal, fps = source.described.fps, source.fps
            if word in WORDS:
                age_ns = source.age_ns(now_ns)
                age = f": its newest frame is {age_ns / S:.1f} s old" if age_ns else ""
                yield f"{name} {WORDS[word]}{age}"
            elif nominal and fps is not None and fps < LEAST_RATE * nominal:
                slow.append(f"{name} captures {fps:.1f} of {nominal:g} frames a second")
        yield from slow

    def _problems_of_pairs(self) -> Iterator[str]:
        recent = list(self.strip.cells)[-RECENT_PAIRS:]
        faulty = [cell for cell in recent if cell.state != "complete"]
        if faulty:
            lost = all(cell.state == "lost" for cell in faulty)
            verb = "did not come" if lost else f"{'is' if len(faulty) == 1 else 'are'} incomplete"
            why = ", ".join(faulty[-1].why)
            yield f"{len(faulty)} of the last {len(recent)} pairs {verb}: {why}"

    def _all_is_well(self) -> str:
        if self._end is not None:
            return f"The stream has finished: {self.strip.pairs.total()} pairs"
        rates = [source.fps for source in self.present().values()]
        said = [f"{len(rates)} {'source' if len(rates) == 1 else 'sources'}"]
        known = [round(rate) for rate in rates if rate is not None]
        if known:
            each = "/".join(map(str, known))
            said.append(each if len(known) <= MAX_RATES else f"{min(known)} to {max(known)} fps")
        lags_ns = self._lags_ns()
        if lags_ns:
            said.append(f"lag {_percentile(lags_ns, 50) / 1e6:.0f} ms")
        return f"All is well: {', '.join(said)}"

    def _lags_ns(self) -> list[int]:
        return [cell.lag_ns for cell in self.strip.cells if cell.lag_ns is not None]

    def _lost(self, name: str) -> Counter[str]:
        own = Counter(self._own.get(name, {})) - self._own_before.get(name, Counter())
        return +losses(self._totals.get(name, Totals()), own)

    def _row(self, name: str, now_ns: int) -> dict[str, Any]:
        source = self.sources[name]
        clip, age_ns = source.described, source.age_ns(now_ns)
        totals = self._totals.get(name, Totals())
        return {
            "name": name,
            "state": self.word(source, now_ns),
            "up": self.is_up(source, now_ns),
            "fps": None if source.fps is None else round(source.fps, 2),
            "nominal_fps": clip.fps,
            "width": clip.width or None,
            "height": clip.height or None,
            "age_ms": None if age_ns is None else _ms(age_ns),
            "stamp": clip.stamp,
            "uncertainty_ms": None if clip.uncertainty_ns is None else _ms(clip.uncertainty_ns),
            "captured": totals.captured,
            "paired": totals.paired,
            "open": totals.open,
            "lost": dict(sorted(self._lost(name).items())),
            "reopened": totals.reopened,
            "restarts": restarts(totals),
        }

    def _meanings(self) -> dict[str, str]:
        used = {reason for name in self.sources for reason in self._lost(name)}
        return {reason: text for reason, text in reasons.MEANINGS.items() if reason in used}


def _cell(cell: Cell) -> dict[str, Any]:
    return {
        "index": str(cell.index),
        "start_ns": str(cell.start_ns),
        "state": cell.state,
        "why": list(cell.why),
        "lag_ms": None if cell.lag_ns is None else _ms(cell.lag_ns),
    }


def _distribution(durations_ns: Sequence[int]) -> dict[str, Any]:
    if not durations_ns:
        return {"p50": None, "p99": None, "recent": []}
    return {
        "p50": _ms(_percentile(durations_ns, 50)),
        "p99": _ms(_percentile(durations_ns, 99)),
        "recent": [_ms(each) for each in durations_ns],
    }


def _percentile(durations_ns: Sequence[int], percent: int) -> int:
    """Return the smallest of ``durations_ns`` that ``percent`` of them don't exceed."""
    return sorted(durations_ns)[max(0, -(-percent * len(durations_ns) // 100) - 1)]


def _ms(duration_ns: int) -> float:
    return round(duration_ns / 1e6, 2)
