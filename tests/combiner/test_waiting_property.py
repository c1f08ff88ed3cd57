"""Sources of any rate, with any delay, in lumps, with outages: what the rule of when windows close promises.

No window closes more than 50 ms before its end, and no frame is late that was received before its window's end
and what that waits, unless its source was not waited for.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from framepair.nodes.combiner.pace import Rules
from framepair.protocol.wire.frame import Alive, FrameHeader
from framepair.protocol.wire.pair import ClipHeader, PairHeader
from tests.lib.examples import examples
from tests.lib.feed import BEGIN_NS, Feed, frame
from tests.lib.units import MS, S

SOURCES = ("left", "right", "top")
# How many frames, and how much time, an example has at most.
MOST_FRAMES, MOST_S = 400, 40
ALIVE_NS = S // 2


@dataclass(frozen=True)
class Stream:
    """A source of ``fps`` whose frames come ``delay_ms`` after their capture, in lumps of ``lump_ms``.

    One in twenty takes up to ``jitter_ms`` longer, and with it what comes behind it.
    With a chance of ``outage`` in each second it is away for up to 5 s: it captures nothing, or all gets lost.
    """

    seed: int
    fps: float
    delay_ms: int
    lump_ms: int
    jitter_ms: int
    begin_ms: int
    outage: float
    captures_meanwhile: bool


streams = st.builds(
    Stream,
    seed=st.integers(0, 2**32),
    fps=st.sampled_from([0.05, 0.2, 1.0, 7.5, 25.0, 60.0, 200.0]),
    delay_ms=st.sampled_from([0, 5, 40, 300, 1000, 3000]),
    lump_ms=st.sampled_from([0, 0, 40, 1000, 4000]),
    jitter_ms=st.sampled_from([0, 0, 100, 450]),
    begin_ms=st.integers(0, 3000),
    outage=st.sampled_from([0.0, 0.0, 0.1]),
    captures_meanwhile=st.booleans(),
)
rules = st.builds(
    Rules,
    window_ns=st.sampled_from([300 * MS, S]),
    max_wait_ns=st.sampled_from([0, S // 2, 5 * S, 8 * S]),
    idle_timeout_ns=st.sampled_from([S, 2 * S]),
    start_timeout_ns=st.sampled_from([0, 5 * S]),
)


@settings(
    deadline=None,
    derandomize=True,
    max_examples=examples(15),
    suppress_health_check=[HealthCheck.too_slow],
)
@given(st.lists(streams, min_size=1, max_size=3), rules)
def test_windows_close_neither_early_nor_without_what_they_wait_for(
    streams: list[Stream], rules: Rules
) -> None:
    feed = Feed(" ".join(SOURCES[: len(streams)]), rules)
    late: list[tuple[int, FrameHeader]] = []
    events = [e for i, stream in enumerate(streams) for e in travel(SOURCES[i], stream)]
    for arrival_ns, _, message in sorted(events, key=lambda event: event[:2]):
        feed.wake(arrival_ns)
        if isinstance(message, Alive):
            feed.windows.alive(message, arrival_ns)
        else:
            before = feed.totals(message.source).late
            feed.receive(message, arrival_ns)
            late += [(arrival_ns, message)] * (feed.totals(message.source).late - before)
        feed.tick()
    pairs = {pair.window: pair for pair in feed.pairs}
    for pair in feed.pairs:
        assert pair.closed_ns >= pair.end_ns - 50 * MS
    for arrival_ns, header in late:
        # It is there: only empty windows are passed over.
        pair = pairs[header.captured_ns // rules.window_ns]
        assert is_excused(pair, pair.clips[header.source], arrival_ns, rules)


def is_excused(pair: PairHeader, clip: ClipHeader, arrival_ns: int, rules: Rules) -> bool:
    """Return whether a frame that came at ``arrival_ns`` may be late for ``pair``."""
    if clip.missing in ("offline", "not_started", "ended") or clip.delay_ns > rules.max_wait_ns:
        return True
    waited_for = (c for c in pair.clips.values() if c.missing in (None, "slow"))
    delays_ns = [c.delay_ns for c in waited_for if c.delay_ns <= rules.max_wait_ns]
    wait_ns = min(rules.max_wait_ns, max(delays_ns) + S // 2)
    return arrival_ns >= pair.closed_ns >= pair.end_ns + wait_ns


def travel(source: str, stream: Stream) -> list[tuple[int, int, FrameHeader | Alive]]:
    """Return all messages of a source: when each arrives, its number, and the message."""
    chance = random.Random(stream.seed)
    period_ns = round(S / stream.fps)
    captured_ns = BEGIN_NS + stream.begin_ms * MS
    away_until_ns, came_ns, seq, arrivals = 0, 0, 0, []
    while seq < MOST_FRAMES and captured_ns < BEGIN_NS + MOST_S * S:
        if chance.random() < stream.outage / stream.fps:
            away_until_ns = captured_ns + chance.randrange(5 * S)
        if captured_ns >= away_until_ns:
            jitter_ns = chance.randint(0, stream.jitter_ms) * MS if chance.random() < 0.05 else 0
            came_ns = max(came_ns, arrival_ns(stream, captured_ns) + jitter_ns)
            header = frame(source, seq, captured_ns=captured_ns, fps=stream.fps)
            arrivals.append((came_ns, header))
            seq += 1
        elif stream.captures_meanwhile:
            seq += 1
        captured_ns += period_ns
    arrivals.sort(key=lambda arrival: (arrival[0], arrival[1].seq))
    messages: list[tuple[int, FrameHeader | Alive]] = [*arrivals, *signs_of_life(arrivals, stream)]
    messages.sort(key=lambda message: message[0])
    return [(at_ns, number, message) for number, (at_ns, message) in enumerate(messages)]


def arrival_ns(stream: Stream, captured_ns: int) -> int:
    """Return when a frame arrives: with the others of its lump."""
    lump_ns = max(1, stream.lump_ms * MS)
    return -(-captured_ns // lump_ns) * lump_ns + stream.delay_ms * MS


def signs_of_life(
    arrivals: list[tuple[int, FrameHeader]], stream: Stream
) -> Iterator[tuple[int, Alive]]:
    """Yield what a producer says while it gets no frame, for 5 s at most: then it is away itself."""
    for (before_ns, before), (after_ns, _) in itertools.pairwise(arrivals):
        most_ns = before_ns + max(5 * S, round(S / stream.fps))
        for said_ns in range(before_ns + ALIVE_NS, min(after_ns, most_ns), ALIVE_NS):
            yield said_ns, Alive(
                source=before.source, run=1, seq=before.seq + 1, dropped=0, sent_ns=said_ns,
                next_ns=before.next_ns,
            )  # fmt: skip
