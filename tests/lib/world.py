"""A combiner whose messages partly arrive, and a consumer, step by step."""

from __future__ import annotations

import contextlib
from collections import Counter

import numpy as np

from framepair.protocol.client.assembly import Assembly
from framepair.protocol.client.clip import Pair
from framepair.protocol.client.frame_store import WindowTooLarge
from framepair.protocol.memory.ring import slot_bytes
from tests.lib.stream import Stream, feed, pixels, spans

SOURCES = ("a", "b", "c")
# Each as often as it is here.
STEP_NAMES = (
    *["frame"] * 12, "damage", *["announce"] * 5, *["take"] * 3, "producer", "combiner", "end",
)  # fmt: skip


class World:
    """A combiner whose messages partly arrive, a consumer, and what the two of them know."""

    def __init__(self, keep: int, max_frames: int = 10**5) -> None:
        self.assembly = Assembly(keep, max_bytes=max_frames * slot_bytes((1, 1, 3)))
        self.combiners = 0
        self.producer_runs = dict.fromkeys(SOURCES, 1)
        self.announced: Counter[str] = Counter()
        self.delivered: Counter[str] = Counter()
        self.seen: set[tuple[str, int, int]] = set()
        self.lost_told = 0
        self.held: Pair | None = None
        self.window = 0
        self.combiner(0, 0, True)

    def combiner(self, _source: int, _ahead: int, _arrives: bool) -> None:
        """Start a new combiner; what the former had announced last is all that we will ever know of it."""
        self.combiners += 1
        self.stream = Stream(SOURCES, run=self.combiners, shape=(1, 1, 3))
        self.known = dict.fromkeys(SOURCES, 0)

    def producer(self, source: int, _ahead: int, _arrives: bool) -> None:
        self.producer_runs[SOURCES[source]] += 1

    def frame(self, source: int, ahead: int, arrives: bool) -> None:
        name = SOURCES[source]
        run = 100 * self.combiners + self.producer_runs[name]
        header = self.stream.frame(name, self.window + ahead, run=run)
        if arrives:
            feed(self.assembly, header)

    def damage(self, source: int, ahead: int, arrives: bool) -> None:
        """Let a frame come that turns out not to be what it should be."""
        name = SOURCES[source]
        run = 100 * self.combiners + self.producer_runs[name]
        header = self.stream.frame(name, self.window + ahead, run=run)
        if arrives:
            with contextlib.suppress(WindowTooLarge):
                self.assembly.reserve(header).drop_frame(header)

    def announce(self, _source: int, _ahead: int, arrives: bool) -> None:
        header = self.stream.pair(self.window)
        self.window += 1
        if arrives:
            feed(self.assembly, header)
            self.learn()

    def end(self, _source: int, _ahead: int, arrives: bool) -> None:
        if arrives:
            feed(self.assembly, self.stream.end("stopped"))
            self.learn()
        self.combiner(0, 0, True)

    def learn(self) -> None:
        """Take note of the totals that the subscriber has now heard of."""
        for source, totals in self.stream.totals.items():
            self.announced[source] += totals.paired - self.known[source]
            self.known[source] = totals.paired

    def take(self, _source: int, _ahead: int, _arrives: bool) -> None:
        pair = self.assembly.take()
        if pair is None:
            return
        self.held = pair
        self.lost_told += pair.lost
        for source, clip in pair.items():
            assert spans(clip.frames) == clip.header.spans
            self.delivered[source] += len(clip)
            for frame in clip.frames:
                assert (frame.source, frame.window) == (source, pair.index)
                assert (source, frame.run, frame.seq) not in self.seen
                self.seen.add((source, frame.run, frame.seq))

    def check(self) -> None:
        if self.held is not None:
            assert self.held.intact
            for clip in self.held.values():
                for frame, image in zip(clip.frames, clip.images, strict=True):
                    assert np.array_equal(image, pixels(frame))
        stats = self.assembly.stats()
        waiting = self.assembly._waiting
        for source in SOURCES:
            queued = sum(held.announced.clips[source].frames for held in waiting)
            lost = sum(stats.lost_frames.get(source, {}).values())
            damaged = stats.damaged_frames.get(source, 0)
            assert self.announced[source] == self.delivered[source] + damaged + lost + queued
            assert stats.delivered_frames.get(source, 0) == self.delivered[source]
            assert stats.waiting_frames.get(source, 0) == queued
            paired = stats.totals[source].paired if source in stats.totals else 0
            assert paired == self.announced[source], "over all combiners"
        still_to_tell = sum(held.pair.lost for held in waiting) + self.assembly._losses._lost
        assert stats.lost_pairs == self.lost_told + still_to_tell
