"""Whatever happens to producers, combiners and the consumer, in any order: the ledger balances all the time."""

from __future__ import annotations

import random
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from framepair.nodes.combiner.open_windows import ReceivedFrame
from framepair.nodes.combiner.pace import Rules
from framepair.nodes.combiner.windows import Accepted, Windows
from framepair.nodes.sink.ledger import Account, Ledger
from framepair.protocol.client.assembly import Assembly
from framepair.protocol.wire.frame import FrameHeader, SourceEnd
from framepair.protocol.wire.pair import PairHeader, StreamEnd
from tests.lib.examples import examples
from tests.lib.feed import BEGIN_NS
from tests.lib.units import MS

PERIOD_NS = 100 * MS
RULES = Rules(window_ns=500 * MS, max_wait_ns=100 * MS, idle_timeout_ns=400 * MS)
SOURCES = ("left", "right")


@dataclass
class Producer:
    """What a producer knows of itself."""

    run: int
    seq: int = 0
    dropped: int = 0


@dataclass
class World:
    """Two producers, a combiner and a consumer, each of which may be killed, with losses between them."""

    chance: random.Random
    unsent: float
    lost: float
    unpublished: float
    now_ns: int = BEGIN_NS
    runs: int = 0

    def __post_init__(self) -> None:
        self.ledger = Ledger()
        self.assembly = Assembly(keep=2, max_bytes=10**6)
        self.producers = {source: self.producer() for source in SOURCES}
        self.combiner()

    def producer(self) -> Producer:
        self.runs += 1
        return Producer(self.runs)

    def combiner(self) -> None:
        self.runs += 1
        self.run = self.runs
        self.windows: Windows[None] = Windows(SOURCES, RULES, self.run)

    def kill_producer(self) -> None:
        source = self.chance.choice(SOURCES)
        if self.chance.random() < 0.5:
            old = self.producers[source]
            end = SourceEnd(source, old.run, old.seq, old.dropped, "stopped")
            self.windows.end(end, self.now_ns)
        self.producers[source] = self.producer()

    def kill_combiner(self) -> None:
        if self.chance.random() < 0.5:
            self.end()
        self.combiner()

    def frames(self) -> None:
        """Let each producer capture a frame, and the combiner do what is due."""
        self.now_ns += PERIOD_NS
        for source, producer in self.producers.items():
            producer.seq += 1
            if self.chance.random() < self.unsent:
                producer.dropped += 1
            elif self.chance.random() >= self.lost:
                header = FrameHeader(
                    source, producer.run, producer.seq - 1, self.now_ns, self.now_ns + PERIOD_NS,
                    self.now_ns, (2, 2, 3), fps=10.0, dropped=producer.dropped,
                )  # fmt: skip
                self.publish(self.windows.frame(ReceivedFrame(header, None, self.now_ns)))
        self.publish(self.windows.release(self.now_ns))
        self.announce(list(self.windows.closed(self.now_ns)))

    def publish(self, accepted: list[Accepted[None]]) -> None:
        for frame in accepted:
            if self.chance.random() >= self.unpublished:
                place = self.assembly.reserve(frame.header)
                self.assembly.add_frame(frame.header, place, self.now_ns)

    def announce(self, pairs: list[PairHeader]) -> None:
        for pair in pairs:
            if self.chance.random() >= self.unpublished:
                self.assembly.add_pair(pair, self.now_ns)

    def end(self) -> None:
        self.publish(self.windows.stop(self.now_ns))
        self.announce(list(self.windows.flush(self.now_ns)))
        end = StreamEnd(self.run, self.windows.announced, "stopped", self.windows.totals())
        self.assembly.end_stream(end)

    def consume(self) -> None:
        if pair := self.assembly.take():
            self.ledger.add_pair(pair)

    def accounts(self) -> dict[str, Account]:
        return self.ledger.accounts(self.assembly.stats())


EVENTS = ("frames", "consume", "kill_producer", "kill_combiner")


@settings(max_examples=examples(60), deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32),
    weights=st.tuples(st.integers(1, 8), st.integers(0, 1), st.integers(0, 1)),
    unsent=st.sampled_from([0.0, 0.1, 0.5]),
    lost=st.sampled_from([0.0, 0.1]),
    unpublished=st.sampled_from([0.0, 0.02, 0.3]),
)
def test_the_ledger_balances_all_the_time(
    seed: int, weights: tuple[int, int, int], unsent: float, lost: float, unpublished: float
) -> None:
    world = World(random.Random(seed), unsent, lost, unpublished)
    consume, kill_producer, kill_combiner = weights
    names = world.chance.choices(EVENTS, (30, consume, kill_producer, kill_combiner), k=300)
    for name in names:
        getattr(world, name)()
        for account in world.accounts().values():
            assert account.balanced, (name, account)
            assert min(account.dropped.values(), default=0) >= 0
    world.end()
    while world.assembly.queued:
        world.consume()
    for account in world.accounts().values():
        assert account.ended
        assert account.balanced


@settings(max_examples=examples(40), deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32), unsent=st.sampled_from([0.0, 0.3]))
def test_combiners_that_are_killed_hide_no_frame(seed: int, unsent: float) -> None:
    world = World(random.Random(seed), unsent, lost=0.0, unpublished=0.0)
    for _ in range(4):
        for _ in range(world.chance.randrange(5, 60)):
            world.frames()
            world.consume()
        world.combiner()
    for _ in range(20):
        world.frames()
    for source, producer in world.producers.items():
        world.windows.end(
            SourceEnd(source, producer.run, producer.seq, producer.dropped, "stopped"), world.now_ns
        )
    world.end()
    while world.assembly.queued:
        world.consume()
    for source, account in world.accounts().items():
        producer = world.producers[source]
        assert account.captured == producer.seq
        assert account.dropped.get("producer_dropped", 0) == producer.dropped
        assert account.balanced
