"""What can happen to a source's frames on their way, at random, for property tests."""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass, field

from msgspec.structs import replace

from framepair.protocol.wire.frame import Alive, EndReason, FrameHeader, SourceEnd
from tests.lib.feed import frame
from tests.lib.units import MS


@dataclass(frozen=True)
class Weather:
    """How one source fares: times in milliseconds, and chances for each message.

    ``disorder_ms``: messages overtake each other. ``killed``: the chance of a run to end without a word.
    """

    seed: int = 0
    fps: float = 10.0
    steady: bool = True
    runs: int = 1
    frames: int = 20
    begin_ms: int = 0
    pause_ms: int = 500
    freeze_ms: int = 0
    latency_ms: int = 5
    disorder_ms: int = 0
    unsent: float = 0.0
    lost: float = 0.0
    corrupt: float = 0.0
    overflowed: float = 0.0
    repeated: float = 0.0
    killed: float = 0.0


@dataclass(frozen=True)
class Rejected:
    """A message that can't be read."""

    source: str


@dataclass(frozen=True)
class Overflowed:
    """A message that the combiner had to drop."""

    source: str


Message = FrameHeader | Alive | SourceEnd | Rejected | Overflowed


# How often a producer says that it is alive while it has no frame to send, in milliseconds.
ALIVE_MS = 500


@dataclass
class Journey:
    """All that a source captured, and which messages arrive when."""

    captured: list[FrameHeader] = field(default_factory=list)
    arrivals: list[tuple[int, Message]] = field(default_factory=list)


def travel(source: str, weather: Weather, begin_ns: int) -> Journey:
    """Return the journey of a source's frames, all of whose producers keep their promises."""
    chance = random.Random(weather.seed)
    journey = Journey()
    run_begin_ns = begin_ns + weather.begin_ms * MS
    for run in range(weather.runs):
        headers = _capture(source, run, weather, run_begin_ns, chance)
        journey.captured += headers
        journey.arrivals += _send(headers, weather, chance)
        run_begin_ns = headers[-1].next_ns + chance.randrange(weather.pause_ms + 1) * MS
    journey.arrivals.sort(key=lambda arrival: arrival[0])
    return journey


def _capture(
    source: str, run: int, weather: Weather, begin_ns: int, chance: random.Random
) -> list[FrameHeader]:
    period_ns = round(1e9 / weather.fps)
    # All that a camera can promise is that the next frame does not come within half a period.
    apart_ns = period_ns if weather.steady else period_ns // 2
    frozen = chance.randrange(weather.frames)
    captured_ns, headers = begin_ns, []
    for seq in range(weather.frames):
        next_ns = captured_ns + apart_ns
        fps = weather.fps
        headers.append(
            frame(source, seq, captured_ns=captured_ns, next_ns=next_ns, run=run, fps=fps)
        )
        captured_ns = next_ns + chance.randint(0, 2 * (period_ns - apart_ns))
        captured_ns += weather.freeze_ms * MS if seq == frozen else 0
    return headers


def _send(
    headers: list[FrameHeader], weather: Weather, chance: random.Random
) -> list[tuple[int, Message]]:
    """Return what arrives of a run, and when; its headers come to know what their producer dropped."""
    arrivals: list[tuple[int, Message]] = []
    is_killed = chance.random() < weather.killed
    taken_along = chance.randrange(len(headers)) if is_killed else 0
    dropped = 0
    for header in headers[: len(headers) - taken_along]:
        if chance.random() < weather.unsent:
            dropped += 1
            continue
        arrivals += [
            (_arrival_ns(header.captured_ns, weather, chance), message)
            for message in _arriving(replace(header, dropped=dropped), weather, chance)
        ]
    for before, after in itertools.pairwise(headers[: len(headers) - taken_along]):
        arrivals += [
            (_arrival_ns(word.sent_ns, weather, chance), word)
            for word in _alive(before, after)
            if chance.random() >= weather.lost
        ]
    if not is_killed:
        last = headers[-1]
        reasons: tuple[EndReason, ...] = ("finished", "stopped")
        reason = chance.choice(reasons)
        end = SourceEnd(last.source, last.run, len(headers), dropped, reason)
        arrivals.append((_arrival_ns(last.captured_ns, weather, chance), end))
    return arrivals


def _alive(before: FrameHeader, after: FrameHeader) -> list[Alive]:
    """Return what a producer says between two frames; one that is frozen says nothing."""
    if after.captured_ns - before.captured_ns > 2 * before.period_ns:
        return []
    sent = range(before.captured_ns + ALIVE_MS * MS, after.captured_ns, ALIVE_MS * MS)
    return [
        Alive(
            source=before.source,
            run=before.run,
            seq=before.seq + 1,
            dropped=0,
            sent_ns=sent_ns,
            next_ns=max(before.next_ns, sent_ns),
        )
        for sent_ns in sent
    ]


def _arriving(header: FrameHeader, weather: Weather, chance: random.Random) -> list[Message]:
    if chance.random() < weather.lost:
        return []
    if chance.random() < weather.corrupt:
        return [Rejected(header.source)]
    if chance.random() < weather.overflowed:
        return [Overflowed(header.source)]
    return [header, header] if chance.random() < weather.repeated else [header]


def _arrival_ns(captured_ns: int, weather: Weather, chance: random.Random) -> int:
    return captured_ns + (weather.latency_ms + chance.randint(0, weather.disorder_ms)) * MS
