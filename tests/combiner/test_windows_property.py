"""Whatever arrives, in whatever order: what Windows promises of every frame and every pair.

``Feed`` checks after every step what holds in any case: totals, windows, order, spans, nothing twice. Here
the frames that really were captured tell whether counts are true and which pairs may be called complete.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from framepair.nodes.combiner.pace import Rules
from framepair.protocol.wire.frame import Alive, FrameHeader, SourceEnd
from tests.lib.examples import examples
from tests.lib.feed import BEGIN_NS, Feed, Key, names
from tests.lib.units import MS, S
from tests.lib.weather import Journey, Overflowed, Rejected, Weather, travel

SOURCES = ("left", "right", "top")
TICK_NS = 130 * MS

moderate = settings(
    deadline=None,
    derandomize=True,
    max_examples=examples(40),
    suppress_health_check=[HealthCheck.too_slow],
)
seldom = st.sampled_from([0.0, 0.0, 0.05, 0.4])
calm = st.builds(
    Weather,
    seed=st.integers(0, 2**32),
    fps=st.sampled_from([2.0, 7.5, 10.0, 24.0]),
    steady=st.booleans(),
    runs=st.integers(1, 3),
    frames=st.integers(1, 40),
    begin_ms=st.integers(0, 3000),
    pause_ms=st.sampled_from([0, 700, 6000]),
    freeze_ms=st.sampled_from([0, 0, 500, 5000]),
    unsent=seldom,
    lost=seldom,
    corrupt=seldom,
    overflowed=seldom,
    repeated=seldom,
    killed=st.sampled_from([0.0, 0.5]),
)
rough = st.builds(
    replace,
    calm,
    latency_ms=st.sampled_from([-2500, -500, 5, 5, 900, 3000]),
    disorder_ms=st.sampled_from([0, 0, 50, 700, 4000]),
)
rules = st.builds(
    Rules,
    window_ns=st.sampled_from([300 * MS, 1000 * MS]),
    max_wait_ns=st.sampled_from([0, 500 * MS]),
    idle_timeout_ns=st.sampled_from([500 * MS, 2000 * MS]),
    start_timeout_ns=st.sampled_from([0, 5000 * MS]),
)


@moderate
@given(st.lists(rough, min_size=1, max_size=3), rules)
def test_whatever_arrives_in_real_time(weathers: list[Weather], rules: Rules) -> None:
    check(weathers, rules, BEGIN_NS)


@moderate
@given(st.lists(rough, min_size=1, max_size=3), rules)
def test_whatever_arrives_offline(weathers: list[Weather], rules: Rules) -> None:
    check(weathers, replace(rules, pace="max"), 0)


@moderate
@given(st.lists(calm, min_size=1, max_size=3), rules)
def test_offline_nothing_that_arrives_is_dropped(weathers: list[Weather], rules: Rules) -> None:
    weathers = [replace(weather, runs=1) for weather in weathers]
    feed = check(weathers, replace(rules, pace="max"), 0)
    for totals in feed.windows.totals().values():
        assert totals.late == 0
        assert not {"startup", "future"} & totals.dropped.keys()


@moderate
@given(st.lists(calm, min_size=1, max_size=3), rules)
def test_in_good_weather_every_pair_in_between_is_complete(
    weathers: list[Weather], rules: Rules
) -> None:
    good = [
        Weather(seed=w.seed, fps=w.fps, steady=w.steady, frames=40, begin_ms=w.begin_ms)
        for w in weathers
    ]
    feed = check(good, replace(rules, max_wait_ns=2000 * MS), BEGIN_NS)
    over_ns = min(journey.captured[-1].captured_ns for journey in journeys(good, BEGIN_NS).values())
    begun_ns = max(journey.captured[0].captured_ns for journey in journeys(good, BEGIN_NS).values())
    between = [p for p in feed.pairs if p.start_ns > begun_ns and p.end_ns <= over_ns]
    assert all(pair.complete for pair in between)


def journeys(weathers: list[Weather], begin_ns: int) -> dict[str, Journey]:
    """Return the journey of each source's frames."""
    sources = zip(SOURCES, weathers, strict=False)
    return {source: travel(source, weather, begin_ns) for source, weather in sources}


def check(weathers: list[Weather], rules: Rules, begin_ns: int) -> Feed:
    """Let the frames of all sources travel, and check what becomes of them."""
    travels = journeys(weathers, begin_ns)
    feed = Feed(" ".join(travels), rules)
    deliver(feed, travels)
    feed.flush()
    for source, journey in travels.items():
        check_counts(feed, source, journey)
    check_completeness(feed, travels)
    return feed


def deliver(feed: Feed, travels: dict[str, Journey]) -> None:
    """Feed all messages in order of arrival, and look at the clock every now and then."""
    arrivals = sorted(
        (arrival for journey in travels.values() for arrival in journey.arrivals),
        key=lambda arrival: arrival[0],
    )
    tick_ns = arrivals[0][0] if arrivals else 0
    for arrival_ns, message in arrivals:
        for _ in range(200):
            if tick_ns < arrival_ns:
                tick_ns += TICK_NS
                feed.tick(max(0, tick_ns))
        feed.now_ns = max(0, arrival_ns)
        match message:
            case FrameHeader():
                feed.send(message, now_ns=feed.now_ns)
            case Alive():
                feed.windows.alive(message, feed.now_ns)
            case SourceEnd():
                feed.windows.end(message, feed.now_ns)
            case Rejected(source):
                feed.windows.reject(source)
            case Overflowed(source):
                feed.windows.overflow(source, 1)
        feed.tick()


def check_counts(feed: Feed, source: str, journey: Journey) -> None:
    """Check that a source's totals are what really happened."""
    totals = feed.totals(source)
    frames = [(ns, m) for ns, m in journey.arrivals if isinstance(m, FrameHeader)]
    came = Counter((header.run, header.seq) for _, header in frames)
    assert totals.captured == known_captured(journey)
    backpressure = sum(known_dropped(journey).values())
    assert totals.dropped.get("producer_dropped", 0) == backpressure
    if all(header.captured_ns - arrival_ns < S for arrival_ns, header in frames):
        unreadable = sum(isinstance(message, Rejected) for _, message in journey.arrivals)
        assert totals.gaps == totals.captured - len(came)
        assert totals.rejected == came.total() - len(came) + unreadable


def known_captured(journey: Journey) -> int:
    """Return how many frames of a source can be known of, by what arrived."""
    known: Counter[int] = Counter()
    for _, message in journey.arrivals:
        if isinstance(message, FrameHeader):
            known[message.run] = max(known[message.run], message.seq + 1)
        elif isinstance(message, Alive | SourceEnd):
            known[message.run] = max(known[message.run], message.seq)
    return known.total()


def known_dropped(journey: Journey) -> Counter[int]:
    """Return how many frames each run could not send, by what arrived."""
    known: Counter[int] = Counter()
    for _, message in journey.arrivals:
        if isinstance(message, FrameHeader | SourceEnd):
            known[message.run] = max(known[message.run], message.dropped)
    return known


def check_completeness(feed: Feed, travels: dict[str, Journey]) -> None:
    """Check that a pair is complete only if it has all that any source captured in its window."""
    captured: dict[int, set[Key]] = {}
    for journey in travels.values():
        # Nobody can know of a producer that was killed before anything of its source came through.
        known = [
            message.run
            for _, message in journey.arrivals
            if isinstance(message, FrameHeader | SourceEnd)
        ]
        for header in journey.captured:
            if header.run < min(known, default=0):
                continue
            index = header.captured_ns // feed.rules.window_ns
            captured.setdefault(index, set()).add((header.source, header.run, header.seq))
    for pair in feed.pairs:
        if pair.complete:
            assert set(names(pair)) == captured.get(pair.window, set())
