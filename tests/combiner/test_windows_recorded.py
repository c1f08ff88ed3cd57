"""A replay: its pairs are those that were announced when it was recorded, whatever had happened then."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from framepair.nodes.combiner.pace import Rules
from framepair.nodes.producer.sources.pair_records import PairRecords
from framepair.protocol.client.losses import TotalsSum
from framepair.protocol.wire import recorded
from framepair.protocol.wire.frame import FrameHeader
from framepair.protocol.wire.pair import PairHeader, Totals
from framepair.protocol.wire.recorded import RecordedClip
from tests.lib.examples import examples
from tests.lib.feed import Feed, alive, at, frame, is_balanced
from tests.lib.recorded import Line, Recorder, restarted, seconds
from tests.lib.units import S

SOURCES = ("left", "right")
Played = FrameHeader | RecordedClip


def plays(recorder: Recorder, source: str) -> Iterator[tuple[int, Played]]:
    """Give what the producer of ``source`` sends, and the time that its turn comes by."""
    records = PairRecords(source)
    yield 0, RecordedClip(source, 1)
    for item in recorder.written:
        if isinstance(item, FrameHeader):
            if item.source == source:
                records.add_frame(item.run, item.seq, item.captured_ns)
                yield item.captured_ns, replace(item, pace="max")
        elif retold := records.add_announcement(*item):
            word = RecordedClip(
                source, 1, retold.start_ns, retold.end_ns or 0, retold.previous_ns,
                retold.partial, retold.frames, retold.clip, dict(retold.lost),
            )  # fmt: skip
            assert recorded.decode(word.encode()) == word
            yield retold.end_ns or 0, word


def replayed(recorder: Recorder) -> Feed:
    """Return what a combiner makes of it with pace max."""
    feed = Feed(" ".join(SOURCES), Rules(pace="max"))
    streams = {source: list(plays(recorder, source)) for source in SOURCES}
    places = dict.fromkeys(SOURCES, 0)
    heads = [(0, source) for source in SOURCES]
    while heads:
        _, source = heapq.heappop(heads)
        _, message = streams[source][places[source]]
        if isinstance(message, FrameHeader):
            feed.receive(message)
        else:
            feed.windows.retell(message, feed.now_ns)
        feed.tick()
        places[source] += 1
        if places[source] < len(streams[source]):
            heapq.heappush(heads, (streams[source][places[source]][0], source))
        else:
            feed.end(source, 10**6)
    feed.flush()
    return feed


def headers(recorder: Recorder) -> list[PairHeader]:
    announced = [item[0] for item in recorder.written if isinstance(item, tuple)]
    return [header for header in announced if isinstance(header, PairHeader)]


def all_but(pair: PairHeader, totals: dict[str, Totals]) -> PairHeader:
    """Return what is the same of a pair when it is played again, its totals over all combiners."""
    clips = {
        source: replace(clip, received_ns=0, totals=totals[source])
        for source, clip in pair.clips.items()
    }
    return replace(pair, run=0, seq=0, previous=None, closed_ns=0, pace="realtime", clips=clips)


def as_recorded(recorder: Recorder) -> list[PairHeader]:
    total, pairs = TotalsSum(), []
    for pair in headers(recorder):
        total.update(pair.run, {s: c.totals for s, c in pair.clips.items()}, ended=False)
        pairs.append(all_but(pair, total.sum()))
    return pairs


def as_played(feed: Feed) -> list[PairHeader]:
    return [all_but(pair, {s: c.totals for s, c in pair.clips.items()}) for pair in feed.pairs]


def test_a_run_without_faults() -> None:
    recorder = Recorder()
    recorder.take(seconds(Line(), 0, 6))
    feed = replayed(recorder)
    # The last window was open, and is worked out.
    assert as_played(feed)[: len(headers(recorder))] == as_recorded(recorder)
    assert [pair.window for pair in feed.pairs] == [at(i) // S for i in range(6)]


def test_windows_without_a_frame_are_those_that_were_announced() -> None:
    line, recorder = Line(), Recorder()
    recorder.take(seconds(line, 0, 3))
    # Left is away for a quarter of an hour, and right from its second minute on.
    for seq in range(30, 1000):
        line.send(frame("right", seq))
    line.tick(at(1000))
    recorder.take(line.take())
    recorder.take(seconds(line, 1000, 3))
    found = headers(recorder)
    assert any(early.window + 1 < late.window for early, late in itertools.pairwise(found))
    assert as_played(replayed(recorder))[: len(found)] == as_recorded(recorder)


@pytest.mark.parametrize("away", [False, True])
def test_a_combiner_that_was_restarted(away: bool) -> None:
    line, recorder = Line(), Recorder()
    recorder.take(seconds(line, 0, 3))
    if away:
        recorder.restart()
    recorder.take(seconds(restarted(line), 4, 4))
    found = as_recorded(recorder)
    assert as_played(replayed(recorder))[: len(found)] == found


def test_what_is_not_on_disk_is_missing_for_the_recorders_reasons() -> None:
    recorder = Recorder()
    for message in seconds(Line(), 0, 6):
        if isinstance(message, FrameHeader) and message.source == "left":
            if message.seq in (31, 32):
                recorder.lose(message)
                continue
            if message.seq == 41:
                continue
        recorder.take([message])
    pair = {pair.window: pair for pair in replayed(recorder).pairs}
    third, fourth = pair[at(3) // S], pair[at(4) // S]
    assert (third.complete, third.clips["left"].gaps, third.clips["left"].frames) == (False, 2, 8)
    assert third.clips["right"].complete
    assert third.clips["left"].totals.dropped == {"recorder_slow": 2}
    assert (fourth.complete, fourth.clips["left"].gaps) == (False, 1)
    assert fourth.clips["left"].totals.dropped == {"recorder_slow": 2, "publisher_overflow": 1}


def test_a_window_whose_header_is_not_on_disk_is_worked_out() -> None:
    recorder = Recorder()
    recorder.take(seconds(Line(), 0, 6))
    gone = headers(recorder)[2]
    recorder.written = [
        item for item in recorder.written if not (isinstance(item, tuple) and item[0] is gone)
    ]
    pairs = {pair.window: pair for pair in replayed(recorder).pairs}
    assert pairs[gone.window].clips["left"].spans == gone.clips["left"].spans
    assert list(pairs) == [at(i) // S for i in range(6)]


def test_a_combiner_that_comes_in_between_counts_from_then_on() -> None:
    """In real time a combiner may be started again: the one before has counted what was lost till then."""
    recorder, line = Recorder(), Line()
    recorder.take(seconds(line, 0, 6, leave_out=range(24, 29)))
    feed = Feed("left right", Rules(pace="max"))
    messages = sorted(
        (
            (time_ns, place, message)
            for source in SOURCES
            for place, (time_ns, message) in enumerate(plays(recorder, source))
            if time_ns >= at(3)
        ),
        key=lambda item: item[:2],
    )
    for _, _, message in messages:
        if isinstance(message, FrameHeader):
            feed.receive(message)
        else:
            feed.windows.retell(message, feed.now_ns)
        feed.tick()
    feed.flush()
    assert feed.pairs
    assert feed.totals("left").dropped.get("transport", 0) == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"end_ns": at(0.5)},
        {"start_ns": at(0.5), "end_ns": at(1.5)},
    ],
)
def test_a_window_of_another_length_is_rejected(wrong: dict[str, int]) -> None:
    feed, recorder = Feed("left right", Rules(pace="max")), Recorder()
    recorder.take(seconds(Line(), 0, 3))
    word = next(
        message
        for _, message in plays(recorder, "left")
        if isinstance(message, RecordedClip) and message.end_ns
    )
    feed.windows.retell(replace(word, **{"start_ns": at(0)} | wrong), feed.now_ns)
    assert feed.totals("left").rejected == 1


def history(chance: random.Random, combiners: int) -> Recorder:
    """Record some seconds in which much goes wrong; there are so many ``combiners`` at most."""
    line, recorder, combiner = Line(), Recorder(), 1
    runs, first, dropped = (dict.fromkeys(SOURCES, value) for value in (1, 0, 0))
    held: list[FrameHeader] = []
    for place, source in itertools.product(range(70), SOURCES):
        fate = chance.randrange(40)
        if fate == 1:
            runs[source] += 1
            first[source], dropped[source] = place, 0
        dropped[source] += fate == 2
        seq = place - first[source]
        header = frame(
            source,
            seq,
            captured_ns=at(place / 10),
            run=runs[source],
            dropped=min(dropped[source], seq),
        )
        if fate == 3:
            held.append(header)
        elif fate == 4:
            line.alive(alive(source, place / 10, seq, run=runs[source]))
        elif fate == 5 and combiner < combiners:
            combiner += 1
            line = restarted(line, 9 + combiner)
        elif fate not in (2, 6):
            line.send(header)
        if fate == 7 and held:
            line.send(held.pop(0))
        recorder.take(line.take())
    line.flush()
    recorder.take(line.take())
    return recorder


@pytest.mark.parametrize("seed", range(examples(30)))
def test_whatever_happened_is_told_again(seed: int) -> None:
    """Frames are lost, late or dropped by producers, which go and come back; so does the combiner."""
    recorder = history(random.Random(seed), combiners=1 + seed % 3)
    found, told = as_recorded(recorder), as_played(replayed(recorder))
    # What a combiner had not announced when it was killed for the last time is worked out.
    windows = [pair.window for pair in told][: len({pair.window for pair in found})]
    assert windows == sorted({pair.window for pair in found})
    # Two combiners may have announced the same window.
    if len(windows) == len(found):
        assert told[: len(found)] == found
    for pair in told:
        assert all(is_balanced(clip.totals) for clip in pair.clips.values())
