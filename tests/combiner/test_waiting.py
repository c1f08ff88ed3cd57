"""How early and how late a window closes in real time: by the clock, promises and the delays of its sources."""

from __future__ import annotations

from framepair.nodes.combiner.pace import Rules
from framepair.protocol.wire.header import MAX_INT
from tests.lib.feed import PERIOD_NS, Feed, alive, at, frame, frames, in_order_of_capture
from tests.lib.units import MS, S


def missing(feed: Feed, source: str) -> list[str | None]:
    """Return what each pair said of a source."""
    return [pair.clips[source].missing for pair in feed.pairs]


def early_ms(feed: Feed) -> list[float]:
    """Return how long before its end each pair was announced."""
    return [(pair.end_ns - pair.closed_ns) / MS for pair in feed.pairs]


def delay_ns(feed: Feed) -> int:
    """Return what the newest pair says of left's delay."""
    return feed.pairs[-1].clips["left"].delay_ns


def pass_time(feed: Feed, until_s: float, step_s: float = 0.1) -> None:
    """Look at the clock until then."""
    while feed.now_ns < at(until_s):
        feed.wake(min(at(until_s), feed.now_ns + round(step_s * S)))
        feed.tick()


def test_a_slow_source_s_promise_closes_no_window_early_for_one_that_returns() -> None:
    feed = Feed()
    slow = [frame("left", seq, fps=0.1) for seq in range(2)]
    fast = [frame("right", seq, fps=25.0) for seq in [*range(75), *range(200, 450)]]
    feed.send(*in_order_of_capture(slow, fast))
    assert max(early_ms(feed)) <= 50
    assert feed.totals("right").late == 0
    assert [pair.clips["right"].frames for pair in feed.pairs[8:]] == [25] * len(feed.pairs[8:])


def test_an_endless_promise_announces_no_window_before_its_end() -> None:
    feed = Feed("left")
    feed.send(frame(fps=1e-3, next_ns=MAX_INT))
    pass_time(feed, 20.0)
    assert len(feed.pairs) <= 20
    assert max(early_ms(feed)) <= 50
    assert missing(feed, "left")[-1] == "offline"


def test_a_promise_of_half_a_minute_is_believed_and_silence_counts_from_then() -> None:
    feed = Feed("left", Rules(idle_timeout_ns=2 * S))
    feed.send(frame(fps=25.0, next_ns=at(30)))
    pass_time(feed, 40.0)
    assert missing(feed, "left")[:30] == [None] * 30
    assert missing(feed, "left")[30] == "slow"
    assert set(missing(feed, "left")[31:]) == {"offline"}
    assert all(pair.complete for pair in feed.pairs[:30])


def test_signs_of_life_keep_a_source_that_pauses_for_minutes() -> None:
    feed = Feed("left")
    feed.send(frame(fps=25.0, next_ns=at(300)))
    for half in range(1, 600):
        feed.alive(alive("left", half / 2, 1, next_s=300))
    assert set(missing(feed, "left")) == {None}
    feed.send(frame(seq=1, captured_ns=at(300)))
    assert feed.totals().late == 0


def test_a_sign_of_life_moves_the_watermark() -> None:
    feed = Feed()
    feed.send(*frames("left", range(10)), *frames("right", range(3)))
    assert feed.pairs == []
    assert feed.alive(alive("right", 0.99, 3)) == []
    (pair,) = feed.alive(alive("right", 1.01, 3))
    assert pair.complete


def test_a_sign_of_life_is_not_believed_for_long() -> None:
    feed = Feed("left", Rules(idle_timeout_ns=2 * S))
    feed.send(frame(fps=25.0))
    feed.alive(alive("left", 0.5, 1, next_s=3600))
    pass_time(feed, 10.0)
    assert missing(feed, "left")[:2] == [None, "slow"]
    assert set(missing(feed, "left")[4:]) == {"offline"}


def test_a_sign_of_life_takes_no_promise_back() -> None:
    feed = Feed("left")
    feed.send(*frames("left", range(10)))
    feed.alive(alive("left", 1.2, 10, next_s=0.5))
    assert missing(feed, "left") == [None]
    assert [pair.complete for pair in feed.pairs] == [True]


def test_a_sign_of_life_tells_of_frames_that_got_lost() -> None:
    feed = Feed("left")
    feed.send(*frames("left", range(5)))
    feed.alive(alive("left", 1.0, 8))
    (pair,) = feed.pairs
    assert (pair.clips["left"].gaps, pair.complete) == (3, False)
    assert feed.totals().dropped == {"transport": 3}


def test_a_producer_that_has_captured_nothing_yet_covers_nothing() -> None:
    feed = Feed(rules=Rules(start_timeout_ns=0))
    feed.send(*frames("left", range(5)))
    for half in range(1, 6):
        feed.alive(alive("right", half / 2, 0, run=7))
        feed.send(*frames("left", range(5 * half, 5 * half + 5)))
    assert missing(feed, "right") == ["not_started"] * len(feed.pairs)
    # And one that starts again, after the former was killed.
    feed = Feed()
    feed.send(*in_order_of_capture(frames("left", range(10)), frames("right", range(10))))
    for second in range(1, 6):
        feed.send(*frames("left", range(10 * second, 10 * second + 10)))
        feed.alive(alive("right", second + 1, 0, run=2))
    feed.send(*frames("right", range(10), run=2, offset_ns=6 * S))
    assert missing(feed, "right")[:1] == [None]
    assert None not in missing(feed, "right")[1:-1]


class Lumps:
    """A camera, left, and right, whose frames come in lumps of ``lump_s``, as a stream in segments does."""

    def __init__(self, max_wait_ns: int, *, lump_s: int = 6, behind_s: float = 1.0) -> None:
        self.said: list[str] = []
        rules = Rules(max_wait_ns=max_wait_ns, start_timeout_ns=10 * S)
        self.feed = Feed(rules=rules, say=self.said.append)
        self._lump, self._behind_ns = 10 * lump_s, round(behind_s * S)
        self._sent = self._tenth = 0

    def play(self, seconds: int) -> None:
        """Let so much time pass."""
        feed = self.feed
        for _ in range(10 * seconds):
            feed.wake(at(self._tenth / 10) + 5 * MS)
            feed.receive(frame("left", self._tenth))
            feed.tick()
            if (feed.now_ns - self._behind_ns - at(self._sent / 10)) >= self._lump * PERIOD_NS:
                for header in frames("right", range(self._sent, self._sent + self._lump)):
                    feed.receive(header)
                feed.tick()
                self._sent += self._lump
            elif self._sent and self._tenth % 5 == 0:
                said = (feed.now_ns - at(0)) / S
                feed.alive(alive("right", said, self._sent, next_s=self._sent / 10))
            self._tenth += 1


def test_a_stream_in_lumps_is_waited_for_as_long_as_it_takes() -> None:
    lumps = Lumps(8 * S)
    lumps.play(40)
    feed = lumps.feed
    assert feed.totals("left").late == feed.totals("right").late == 0
    assert len(feed.pairs) > 20
    assert all(pair.complete for pair in feed.pairs[1:])
    clip = feed.pairs[-1].clips["right"]
    assert 7.0 <= clip.delay_ns / S <= 7.2
    assert 5.9 <= clip.pause_ns / S <= 6.1
    assert feed.pairs[-1].clips["left"].delay_ns <= 6 * MS
    assert lumps.said == []


def test_a_stream_beyond_the_bound_is_named_once_and_not_waited_for() -> None:
    lumps = Lumps(5 * S)
    lumps.play(60)
    feed = lumps.feed
    assert lumps.said == [
        "right delivers 7.0 s late, longer than a pair waits: its frames will be late,"
        " unless you give --max-wait 8"
    ]
    assert feed.totals("right").late > 300
    newest = feed.pairs[-20:]
    assert max(pair.closed_ns - pair.end_ns for pair in newest) <= 0
    assert [pair.clips["right"].missing for pair in newest] == ["slow"] * 20
    assert [pair.clips["left"].frames for pair in newest] == [10] * 20


def test_a_pause_of_the_combiner_itself_makes_no_source_too_slow() -> None:
    """What had queued up comes at once, of both sources, and later than any window waits."""
    said: list[str] = []
    feed = Feed(rules=Rules(), say=said.append)
    feed.send(*in_order_of_capture(frames("left", range(20)), frames("right", range(20))))
    queued = in_order_of_capture(frames("left", range(20, 80)), frames("right", range(20, 80)))
    feed.send(*queued, now_ns=at(8))
    feed.send(*in_order_of_capture(frames("left", range(80, 120)), frames("right", range(80, 120))))
    assert said == []
    assert all(pair.complete for pair in feed.pairs[-3:])


def test_without_a_late_source_no_window_waits_for_the_bound() -> None:
    feed = Feed(rules=Rules(max_wait_ns=60 * S))
    feed.send(*in_order_of_capture(frames("left", range(12)), frames("right", range(5))))
    feed.wake(at(5))
    assert feed.pairs[0].closed_ns <= at(1.51)


def test_a_delay_is_forgotten_after_a_minute() -> None:
    feed = Feed("left", Rules(max_wait_ns=5 * S))
    feed.send(*frames("left", range(10)))
    feed.send(*frames("left", range(10, 30)), now_ns=at(5))
    assert 3.9 <= delay_ns(feed) / S <= 4.1
    feed.send(*frames("left", range(50, 700)))
    assert delay_ns(feed) <= 6 * MS


def test_one_frame_in_a_thousand_may_be_late() -> None:
    feed = Feed("left", Rules(max_wait_ns=5 * S))
    feed.send(*[frame(seq=seq, fps=100.0) for seq in range(3000)])
    feed.send(frame(seq=3000, fps=100.0), now_ns=feed.now_ns + S)
    feed.send(*[frame(seq=seq, fps=100.0) for seq in range(3200, 3300)])
    assert delay_ns(feed) <= 6 * MS
