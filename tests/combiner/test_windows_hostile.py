"""Stamps and counts that make no sense: they cost bounded time and memory, and spoil no other source."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from framepair.nodes.combiner.pace import Rules
from framepair.protocol.wire import pair
from framepair.protocol.wire.frame import Alive, FrameHeader, Pace, SourceEnd
from framepair.protocol.wire.frame import decode as frame_decode
from framepair.protocol.wire.header import MAX_INT
from framepair.protocol.wire.pair import StreamEnd, max_spans
from tests.lib.examples import examples
from tests.lib.feed import PERIOD_NS, Feed, alive, at, frame, frames, in_order_of_capture
from tests.lib.units import MS, S


def with_bad_right(feed: Feed, *bad: FrameHeader, seconds: int = 3) -> None:
    """Send whole seconds of left, and right's good frames with some bad ones in their middle."""
    right = frames("right", range(5)) + frames("right", range(5, seconds * 10), offset_ns=PERIOD_NS)
    good = in_order_of_capture(frames("left", range(seconds * 10)), right)
    half = len(good) // 2
    feed.send(*good[:half])
    feed.send(*bad, now_ns=feed.now_ns)
    feed.send(*good[half:])


def test_an_endless_promise_does_not_outlive_its_producer() -> None:
    """It only makes nobody wait: a source that says nothing any more is offline all the same."""
    feed = Feed()
    left = frames("left", range(90))
    right = [*frames("right", range(9)), frame("right", seq=9, next_ns=MAX_INT)]
    feed.send(*in_order_of_capture(left, right))
    missing = [pair.clips["right"].missing for pair in feed.pairs]
    assert missing[0] is None
    assert missing[4:] == ["offline"] * len(missing[4:])
    assert not any(pair.complete for pair in feed.pairs[4:])


def test_frames_after_an_endless_promise_are_paired_and_waited_for_again() -> None:
    feed = Feed()
    right = frames("right", range(60))
    right[13] = frame("right", seq=13, next_ns=MAX_INT)
    feed.send(*in_order_of_capture(frames("left", range(60)), right))
    assert [pair.clips["right"].frames for pair in feed.pairs] == [10] * 6
    assert all(pair.complete for pair in feed.pairs)
    assert feed.totals("right").late == 0
    # Right's promise is an ordinary one again, so windows wait for it.
    feed.send(*frames("left", range(60, 70)))
    assert len(feed.pairs) == 6


def test_what_is_lost_after_an_endless_promise_is_missed_nevertheless() -> None:
    feed = Feed()
    right = frames("right", [*range(4), *range(5, 20)])
    right[3] = frame("right", seq=3, next_ns=MAX_INT)
    feed.send(*in_order_of_capture(frames("left", range(20)), right))
    assert [pair.complete for pair in feed.pairs] == [False, True]
    assert feed.pairs[0].clips["right"].gaps == 1


def test_every_promise_is_endless() -> None:
    feed = Feed("left")
    feed.send(*[frame(seq=seq, next_ns=MAX_INT) for seq in range(35)])
    totals = feed.totals()
    assert totals.captured == 35
    assert len(feed.pairs) < 10


@pytest.mark.parametrize("captured_ns", [0, 1, at(0) - 3600 * S, 2**62, MAX_INT])
def test_a_senseless_stamp_does_not_keep_the_others_from_being_paired(captured_ns: int) -> None:
    feed = Feed()
    bad = frame("right", seq=1000, captured_ns=captured_ns, next_ns=captured_ns, run=2)
    with_bad_right(feed, bad, seconds=6)
    assert [pair.clips["left"].frames for pair in feed.pairs] == [10] * 6
    assert feed.pairs[-1].clips["right"].frames == 10
    assert feed.pairs[-1].complete


def test_a_single_stamp_from_the_past_is_no_outage() -> None:
    feed = Feed("left")
    headers = frames("left", range(30))
    headers[15] = frame(seq=15, captured_ns=0)
    feed.send(*headers)
    assert [pair.clips["left"].missing for pair in feed.pairs] == [None] * 3
    assert len(feed.accepted) == 29


@pytest.mark.parametrize("seq", [2**62, MAX_INT])
def test_a_seq_beyond_all_reason_is_rejected(seq: int) -> None:
    feed = Feed()
    with_bad_right(feed, frame("right", seq=seq, captured_ns=at(1.5)))
    assert feed.totals("right").rejected == 1
    assert feed.totals("right").captured == 30
    assert all(pair.complete for pair in feed.pairs[2:])


@pytest.mark.parametrize("seq", [2**62, MAX_INT])
def test_an_end_beyond_all_reason_is_rejected(seq: int) -> None:
    feed = Feed("left")
    feed.send(*frames("left", range(5)))
    feed.end("left", seq, dropped=MAX_INT)
    assert feed.totals().rejected == 1
    assert not feed.windows.finished
    feed.send(*frames("left", range(5, 10)))
    assert feed.pairs[0].complete


def test_an_end_that_claims_many_lost_frames_costs_nothing() -> None:
    feed = Feed()
    feed.send(*in_order_of_capture(frames("left", range(15)), frames("right", range(15))))
    feed.end("right", 10**4, dropped=10**4)
    feed.send(*frames("left", range(15, 40)))
    assert feed.totals("right").dropped == {"producer_dropped": 10**4 - 15}
    assert len(feed.flush()) <= 1


def test_counts_stay_within_what_a_header_can_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("framepair.nodes.combiner.pace.MAX_FPS", 10**12)
    feed = Feed("left")
    feed.send(
        *[frame(seq=10**12, run=run, captured_ns=at(3600)) for run in range(3000)], now_ns=at(0)
    )
    feed.send(*frames("left", range(12), run=10**6))
    assert feed.totals().captured > 2900 * 10**12
    assert feed.pairs[0].clips["left"].totals.captured <= MAX_INT


def test_counts_end_before_they_overflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("framepair.nodes.combiner.continuity.MAX_LOST", 2**62)
    monkeypatch.setattr("framepair.nodes.combiner.pace.MAX_LOST", 2**62)
    monkeypatch.setattr("framepair.nodes.combiner.pace.MAX_FPS", 2**62)
    feed = Feed("left")
    for run in range(5):
        feed.send(frame(seq=2**62 - 1, run=run, captured_ns=at(0)))
    assert feed.totals().captured == 2**62
    assert feed.totals().rejected == 4


def test_many_runs_are_summed_up_and_forgotten() -> None:
    feed = Feed("left")
    chance = random.Random(1)
    for i in range(2000):
        feed.send(frame(seq=chance.randrange(100), run=i, captured_ns=at(i / 500)))
    assert len(feed.windows._roster["left"].continuity._runs) <= 64


def test_a_run_that_goes_on_is_not_forgotten_for_many_short_ones() -> None:
    feed = Feed("left")
    for i in range(300):
        feed.send(frame(seq=i, captured_ns=at(i / 100), next_ns=at((i + 1) / 100)))
        feed.send(frame(seq=0, run=100 + i, captured_ns=at(i / 100), next_ns=at((i + 1) / 100)))
    feed.send(frame(seq=200, captured_ns=at(2.99)))
    assert feed.totals().rejected == 1
    assert feed.totals().gaps == 0


@pytest.mark.parametrize("pace", ["realtime", "max"])
@pytest.mark.parametrize("seed", range(5))
def test_noise_is_accounted_for(seed: int, pace: Pace) -> None:
    """Every field at random, on all sources, with a clock that jumps too."""
    chance = random.Random(seed)
    feed = Feed("left right", Rules(pace=pace))
    small = range(20)
    edges = [0, 1, at(0), at(1), at(1) + 1, 2**53, 2**62, MAX_INT - 1, MAX_INT]
    for _ in range(500):
        source = chance.choice(["left", "right"])
        seq = chance.choice([*small, *edges, chance.randrange(10**6)])
        stamp = chance.choice([*edges, feed.now_ns + chance.randrange(-5 * S, 5 * S)])
        captured_ns = min(max(0, stamp), MAX_INT)
        header = frame(
            source,
            seq,
            captured_ns=captured_ns,
            next_ns=chance.choice([captured_ns, MAX_INT, min(captured_ns + S, MAX_INT)]),
            run=chance.choice([1, 2, 3, chance.randrange(100), MAX_INT]),
            fps=chance.choice([1e-3, 1.0, 25.0, 1e4]),
            dropped=chance.choice([0, seq, seq // 2]),
        )
        now_ns = max(0, feed.now_ns + chance.choice([0, MS, S, -S, 3600 * S]))
        event = chance.randrange(10)
        if event == 0:
            feed.windows.reject(source)
        elif event == 1:
            feed.windows.overflow(source, chance.choice([1, 1000]))
        elif event == 2:
            end = SourceEnd(source, header.run, seq, header.dropped, "finished")
            feed.windows.end(end, now_ns)
        else:
            feed.send(header, now_ns=now_ns)
    assert len(feed.pairs) < 20 * 500
    feed.flush()


def test_a_clip_in_too_many_pieces_leaves_the_announcement_readable() -> None:
    sources = [f"cam{i}" for i in range(256)]
    feed = Feed(" ".join(sources))
    feed.send(*[frame(source, captured_ns=at(0)) for source in sources])
    pieces = max_spans(256) + 20
    step_ns = S // pieces
    for i in range(1, pieces):
        feed.receive(frame("cam0", run=100 + i, captured_ns=at(0) + i * step_ns), at(0.9))
    (announced,) = feed.windows.closed(at(2))
    assert pair.decode(announced.encode()) == announced
    assert announced.clips["cam0"].frames == max_spans(256)
    assert feed.totals("cam0").dropped == {"fragmented": 20}
    assert not announced.complete
    feed.check_totals()


def test_a_clip_in_too_many_pieces_is_not_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("framepair.nodes.combiner.windows.max_spans", lambda sources: 2)
    feed = Feed("left")
    for seq, stamp in enumerate([0.0, 0.2, 0.1, 0.3]):
        header = frame(seq=seq, captured_ns=at(stamp), next_ns=at(1 if seq == 3 else stamp))
        feed.receive(header, at(0.9))
    (announced,) = feed.windows.closed(at(0.99))
    assert announced.clips["left"].missing is None
    assert (announced.clips["left"].frames, announced.complete) == (2, False)


def test_outages_that_are_over_are_forgotten() -> None:
    feed = Feed("left")
    feed.send(*[frame(seq=seq, captured_ns=at(seq)) for seq in range(100)])
    assert len(feed.windows._roster["left"].outages) <= 2


def test_a_span_never_counts_more_frames_than_a_header_allows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("framepair.protocol.wire.pair.MAX_SPAN_FRAMES", 4)
    feed = Feed("left")
    (announced,) = feed.send(*frames("left", range(10)))
    assert [(s.first, s.count) for s in announced.clips["left"].spans] == [(0, 4), (4, 4), (8, 2)]


def test_a_window_so_short_that_it_is_empty_most_of_the_time() -> None:
    feed = Feed("left", Rules(window_ns=7 * MS))
    feed.send(*frames("left", range(30)))
    assert [p.window for p in feed.pairs] == list(
        itertools.islice(itertools.count(feed.pairs[0].window), len(feed.pairs))
    )
    assert all(p.complete for p in feed.pairs)


@pytest.mark.parametrize("runs", [3, 100])
def test_reopenings_that_add_up_to_more_than_a_header_can_say(runs: int) -> None:
    feed = Feed("left")
    for run in range(runs):
        feed.send(replace(frame(seq=0, run=run, captured_ns=at(run / 10)), reopened=MAX_INT))
    feed.send(frame(seq=0, run=runs, captured_ns=at(runs)))
    assert feed.pairs[-1].clips["left"].totals.reopened == MAX_INT


@pytest.mark.parametrize("jump", [10**6, 10**11, 10**12 - 1])
def test_a_seq_that_no_source_can_have_reached_is_rejected(jump: int) -> None:
    said: list[str] = []
    feed = Feed("left", say=said.append)
    feed.send(*frames("left", range(15)))
    feed.send(frame(seq=15 + jump, captured_ns=at(1.5)))
    feed.send(*frames("left", range(15, 30)))
    assert (feed.totals().captured, feed.totals().rejected) == (30, 1)
    assert [pair.complete for pair in feed.pairs] == [True] * 3
    (message,) = said
    assert message.startswith(
        f"left: refused a message: it says that {jump} frames were captured in"
    )


@pytest.mark.parametrize("jump", [10**11, 10**12 - 1])
def test_words_that_claim_what_no_source_can_have_captured_are_rejected(jump: int) -> None:
    feed = Feed("left")
    feed.send(*frames("left", range(5)))
    feed.alive(alive("left", 0.41, jump))
    feed.end("left", jump)
    assert (feed.totals().captured, feed.totals().rejected) == (5, 2)
    assert not feed.windows.finished


def test_a_source_that_was_away_for_long_may_have_captured_much() -> None:
    feed = Feed("left")
    feed.send(frame(fps=1000.0))
    feed.send(frame(seq=3_600_000, fps=1000.0), now_ns=at(3600.1))
    assert feed.totals().rejected == 0
    assert feed.totals().captured == 3_600_001


def test_a_clock_that_is_ahead_is_said_once_with_by_how_much() -> None:
    said: list[str] = []
    feed = Feed("left", say=said.append)
    feed.send(*frames("left", range(50), offset_ns=5000 * MS), now_ns=at(0))
    assert said == [
        "left: refused frames that are stamped 5.0 s ahead of this clock: let its producer compare clocks"
        " (--sync), or restart it"
    ]


def test_frames_that_are_held_take_two_windows_at_most() -> None:
    """All of one window, whatever their number: the first window is not known as right has not begun."""
    feed = Feed(rules=Rules(start_timeout_ns=3600 * S))
    feed.send(*[frame(seq=seq, captured_ns=at(0.5)) for seq in range(500)], now_ns=at(0.6))
    assert (feed.totals().open, feed.totals().dropped) == (20, {"startup": 480})
    # Their window has a hole, so that it cannot be the first.
    feed.send(*frames("right", range(20)), now_ns=at(1.9))
    feed.send(*frames("left", range(510, 520), offset_ns=-50 * S), now_ns=at(1.95))
    assert feed.pairs[0].window == at(1) // S


def test_frames_that_are_held_take_no_more_than_max_bytes() -> None:
    feed = Feed(rules=Rules(start_timeout_ns=3600 * S, max_bytes=50_000))
    feed.send(*[frame(seq=seq, captured_ns=at(0.5)) for seq in range(500)], now_ns=at(0.6))
    assert 1 < feed.totals().open * 4096 <= 50_000


EDGES = st.sampled_from([0, 1, 2**31, 2**53, 2**62, MAX_INT - 1, MAX_INT])
counters = EDGES | st.integers(0, 40)


@st.composite
def extreme(draw: st.DrawFn) -> FrameHeader | Alive | SourceEnd:
    """Return any message that a decoder lets through."""
    run, seq = draw(st.integers(0, 3) | EDGES), draw(counters)
    dropped = min(seq, draw(counters))
    near = st.integers(-3, 3).map(lambda seconds: at(0) + seconds * S)
    captured_ns = draw(near | EDGES)
    next_ns = draw(near | EDGES)
    kind = draw(st.integers(0, 5))
    if kind == 0:
        return SourceEnd("left", run, seq, dropped, draw(st.sampled_from(["finished", "stopped"])))
    if kind == 1:
        return Alive("left", run, seq=seq, dropped=dropped, sent_ns=captured_ns, next_ns=next_ns)
    fps = draw(st.sampled_from([1e-3, 1.0, 25.0, 1e4]))
    header = frame(
        seq=seq, captured_ns=captured_ns, next_ns=max(captured_ns, next_ns), run=run, fps=fps
    )
    counts = {name: draw(counters) for name in ("total", "reopened", "offset_ns", "uncertainty_ns")}
    return replace(header, dropped=dropped, sent_ns=next_ns, **counts)


@settings(deadline=None, derandomize=True, max_examples=examples(60))
@given(
    st.sampled_from(["realtime", "max"]),
    st.sampled_from([300 * MS, S, 10**18]),
    st.lists(st.tuples(extreme(), st.integers(0, 2 * S)), min_size=1, max_size=40),
)
def test_what_the_combiner_says_can_be_read_whatever_it_is_told(
    pace: Pace, window_ns: int, messages: list[tuple[FrameHeader | Alive | SourceEnd, int]]
) -> None:
    """``Feed`` decodes each pair; here are the frames and the end."""
    feed = Feed("left", Rules(window_ns=window_ns, pace=pace))
    for message, passed_ns in messages:
        message = frame_decode(message.encode())
        feed.wake(feed.now_ns + passed_ns)
        if isinstance(message, FrameHeader):
            feed.receive(message)
        elif isinstance(message, Alive):
            feed.windows.alive(message, feed.now_ns)
        else:
            feed.windows.end(message, feed.now_ns)
        feed.tick()
    feed.flush()
    for header in feed.accepted:
        assert frame_decode(header.encode()) == header
    end = StreamEnd(run=9, seq=len(feed.pairs), reason="stopped", totals=feed.windows.totals())
    assert pair.decode(end.encode()) == end
