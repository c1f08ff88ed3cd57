"""Whatever is lost on the way or taken late: every announced frame is delivered once, or counted."""

from __future__ import annotations

import contextlib
from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from framepair.protocol.client.assembly import Assembly
from framepair.protocol.client.clip import Pair
from framepair.protocol.client.frame_store import WindowTooLarge
from framepair.protocol.memory.ring import slot_bytes
from framepair.protocol.wire.header import ProtocolError
from framepair.protocol.wire.pair import PairHeader
from tests.lib.examples import examples
from tests.lib.stream import Stream, feed, pixels, spans

SOURCES = ("a", "b", "c")
STEP = st.tuples(
    st.sampled_from(
        ["frame"] * 12
        + ["damage"]
        + ["announce"] * 5
        + ["take"] * 3
        + ["producer", "combiner", "end"]
    ),
    st.integers(0, 2),  # which source
    st.integers(0, 1),  # how far ahead it is
    st.sampled_from([True] * 19 + [False]),  # whether the message arrives
)
# Short ones are easy to understand when they fail, long ones are more likely to.
STEPS = st.lists(STEP, max_size=20) | st.lists(STEP, min_size=50, max_size=300)


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


@settings(max_examples=examples(60), deadline=None)
@given(steps=STEPS, keep=st.integers(1, 3), max_frames=st.sampled_from([4, 10**5]))
def test_every_announced_frame_is_delivered_once_or_counted(
    steps: list[tuple[str, int, int, bool]], keep: int, max_frames: int
) -> None:
    world = World(keep, max_frames)
    for step, source, ahead, arrives in steps:
        getattr(world, step)(source, ahead, arrives)
        world.check()
    while world.assembly.queued:
        world.take(0, 0, True)
        world.check()
    assert_nothing_is_kept(world)


def assert_nothing_is_kept(world: World) -> None:
    """Announce a window far ahead, and take it: not a slot may be in use after it."""
    world.window += 1000
    feed(world.assembly, world.stream.pair(world.window))
    world.take(0, 0, True)
    for store in world.assembly._stores.values():
        ring = store._slots._newest
        assert len(store) == 0
        assert ring is None or len(ring.free) == ring.count


@settings(max_examples=examples(40), deadline=None)
@given(
    steps=STEPS,
    order=st.permutations(range(8)),
    numbers=st.lists(st.integers(0, 2**63 - 1), min_size=4, max_size=4),
)
def test_announcements_that_make_no_sense_never_break_it(
    steps: list[tuple[str, int, int, bool]], order: list[int], numbers: list[int]
) -> None:
    world = World(keep=2)
    for step, source, ahead, arrives in steps[:60]:
        getattr(world, step)(source, ahead, arrives)
    headers: list[PairHeader] = [world.stream.pair(n) for n in (world.window, *numbers)]
    for index in order:
        with contextlib.suppress(ProtocolError):
            feed(world.assembly, headers[index % len(headers)])
        world.assembly.take()
    stats = world.assembly.stats()
    assert all(count >= 0 for lost in stats.lost_frames.values() for count in lost.values())
