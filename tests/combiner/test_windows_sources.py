"""Sources that come and go while pairs are announced."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from framepair.nodes.combiner.pace import Rules
from framepair.protocol.wire.frame import FrameHeader
from framepair.protocol.wire.limits import MAX_SOURCES
from framepair.protocol.wire.pair import PairHeader
from tests.lib.examples import examples
from tests.lib.feed import (
    BEGIN_NS,
    Feed,
    frame,
    frames,
    in_order_of_capture,
    index_of,
    seqs,
)
from tests.lib.units import MS, S


def windows_of(pairs: list[PairHeader], source: str) -> list[int]:
    """Return the seconds of the windows whose pair has ``source``."""
    return [pair.window - index_of(0) for pair in pairs if source in pair.clips]


def test_an_added_source_is_in_the_pairs_from_the_first_window_that_it_covers_from_its_start() -> (
    None
):
    feed = Feed("left")
    feed.send(*frames("left", range(15)))
    feed.windows.add_sources(["door"])
    door = frames("door", range(25), offset_ns=1550 * MS)
    feed.send(*in_order_of_capture(frames("left", range(15, 40)), door))
    assert windows_of(feed.pairs, "left") == [0, 1, 2, 3]
    assert windows_of(feed.pairs, "door") == [2, 3]
    first = feed.pairs[2].clips["door"]
    assert seqs(first) == list(range(5, 15))
    assert (first.complete, first.missing, feed.pairs[2].complete) == (True, None, True)
    assert feed.totals("door").dropped == {"startup": 5}


@pytest.mark.parametrize(("offset_ms", "first"), [(2000, 2), (2099, 2), (2100, 3)])
def test_less_than_a_period_into_a_window_is_its_start(offset_ms: int, first: int) -> None:
    feed = Feed("left")
    feed.send(*frames("left", range(15)))
    feed.windows.add_sources(["door"])
    door = frames("door", range(25), offset_ns=offset_ms * MS)
    feed.send(*in_order_of_capture(frames("left", range(15, 45)), door))
    assert windows_of(feed.pairs, "door")[0] == first
    assert feed.pairs[first].complete


def test_no_pair_waits_for_an_added_source_that_has_no_frame_yet() -> None:
    feed = Feed("left")
    feed.send(*frames("left", range(15)))
    feed.windows.add_sources(["door"])
    pairs = feed.send(*frames("left", range(15, 100)))
    assert [(pair.complete, set(pair.clips)) for pair in pairs] == [(True, {"left"})] * 9
    assert all(pair.closed_ns <= pair.end_ns for pair in pairs)


def test_a_removed_source_is_in_the_pairs_up_to_the_window_that_is_named() -> None:
    feed = Feed()
    feed.send(*in_order_of_capture(frames("left", range(15)), frames("right", range(15))))
    assert feed.windows.remove_source("right", feed.now_ns) == index_of(1)
    assert not feed.windows.has_left("right")
    feed.send(*in_order_of_capture(frames("left", range(15, 40)), frames("right", range(15, 30))))
    assert windows_of(feed.pairs, "right") == [0, 1]
    assert windows_of(feed.pairs, "left") == [0, 1, 2, 3]
    assert all(pair.complete for pair in feed.pairs)
    assert feed.windows.has_left("right")
    assert not feed.windows.has_ended("right")
    feed.end("right", 30, "stopped")
    assert feed.windows.has_ended("right")
    totals = feed.totals("right")
    assert (totals.captured, totals.paired, totals.dropped) == (30, 20, {"removed": 10})


def test_frames_that_were_published_for_a_later_window_are_in_its_pair() -> None:
    """A camera whose clock is ahead: the last window is a later one for it."""
    feed = Feed()
    feed.send(*in_order_of_capture(frames("left", range(12)), frames("right", range(12))))
    feed.send(*frames("right", range(12, 21)), now_ns=feed.now_ns)
    assert feed.windows.remove_source("right", feed.now_ns) == index_of(2)
    feed.send(*frames("left", range(12, 40)))
    assert windows_of(feed.pairs, "right") == [0, 1, 2]
    assert feed.totals("right").paired == 21


def test_a_source_that_is_silent_when_it_is_removed_is_missing_up_to_its_last_window() -> None:
    feed = Feed(rules=Rules(idle_timeout_ns=500 * MS))
    feed.send(*in_order_of_capture(frames("left", range(10)), frames("right", range(10))))
    feed.send(*frames("left", range(10, 35)))
    assert feed.windows.remove_source("right", feed.now_ns) == index_of(3)
    feed.send(*frames("left", range(35, 60)))
    assert windows_of(feed.pairs, "right") == [0, 1, 2, 3]
    missing = [pair.clips["right"].missing for pair in feed.pairs[:4]]
    assert missing[0] is None
    assert missing[2:] == ["offline"] * 2
    assert [pair.complete for pair in feed.pairs[4:]] == [True] * 2


def test_the_account_of_a_source_that_returns_goes_on_and_the_time_without_it_is_no_outage() -> (
    None
):
    feed = Feed()
    feed.send(*in_order_of_capture(frames("left", range(15)), frames("right", range(15))))
    feed.windows.remove_source("right", feed.now_ns)
    feed.send(*in_order_of_capture(frames("left", range(15, 30)), frames("right", range(15, 22))))
    feed.end("right", 22, "stopped")
    feed.windows.forget_source("right")
    feed.send(*frames("left", range(30, 60)))
    feed.windows.add_sources(["right"])
    again = frames("right", range(30), offset_ns=6050 * MS, run=2)
    feed.send(*in_order_of_capture(frames("left", range(60, 90)), again))
    assert windows_of(feed.pairs, "right") == [0, 1, 6, 7, 8]
    assert all(pair.complete for pair in feed.pairs)
    totals = feed.totals("right")
    assert (totals.captured, totals.paired, totals.runs, totals.outage_ns) == (52, 50, 2, 0)
    assert totals.dropped == {"removed": 2}
    feed.flush()
    assert feed.totals("right").open == 0


def test_a_producer_that_goes_on_meanwhile_returns_with_what_it_could_not_send_as_dropped() -> None:
    feed = Feed()
    feed.send(*in_order_of_capture(frames("left", range(15)), frames("right", range(15))))
    feed.windows.remove_source("right", feed.now_ns)
    feed.send(*frames("left", range(15, 30)))
    feed.windows.forget_source("right")
    feed.windows.add_sources(["right"])
    again = [frame("right", seq, dropped=15) for seq in range(30, 55)]
    feed.send(*in_order_of_capture(frames("left", range(30, 55)), again))
    assert windows_of(feed.pairs, "right") == [0, 1, 3, 4]
    assert feed.pairs[3].complete
    assert feed.totals("right").dropped == {"producer_dropped": 15}


def test_before_the_first_pair_an_added_source_is_waited_for_as_the_others() -> None:
    feed = Feed("left")
    feed.windows.add_sources(["door"])
    assert feed.send(*frames("left", range(15))) == []
    feed.send(*in_order_of_capture(frames("left", range(15, 35)), frames("door", range(15, 35))))
    assert feed.pairs[0].window == index_of(2)
    assert set(feed.pairs[0].clips) == {"left", "door"}


def test_before_the_first_pair_a_removed_source_is_waited_for_no_longer() -> None:
    feed = Feed("left right")
    feed.send(*frames("right", range(5)))
    assert feed.windows.remove_source("right", feed.now_ns) is None
    assert feed.windows.has_left("right")
    feed.send(*in_order_of_capture(frames("left", range(5, 25)), frames("right", range(5, 8))))
    assert [set(pair.clips) for pair in feed.pairs] == [{"left"}]
    assert feed.totals("right").dropped == {"startup": 5, "removed": 3}


def test_a_source_is_not_added_twice_nor_while_it_is_being_removed() -> None:
    feed = Feed()
    with pytest.raises(ValueError, match="left cannot be added twice"):
        feed.windows.add_sources(["left"])
    feed.windows.remove_source("right", feed.now_ns)
    with pytest.raises(ValueError, match="right cannot be added twice"):
        feed.windows.add_sources(["right"])


def test_no_more_sources_than_a_header_can_name_even_if_most_have_gone() -> None:
    feed = Feed("left")
    for number in range(MAX_SOURCES - 1):
        feed.windows.add_sources([f"s{number}"])
        feed.windows.remove_source(f"s{number}", feed.now_ns)
        feed.windows.forget_source(f"s{number}")
    with pytest.raises(ValueError, match=f"there would have been {MAX_SOURCES + 1} sources"):
        feed.windows.add_sources(["more"])
    feed.windows.add_sources(["s0"])


def test_the_end_of_the_others_is_the_end_once_a_source_that_goes_on_has_been_removed() -> None:
    feed = Feed()
    feed.send(*in_order_of_capture(frames("left", range(15)), frames("right", range(15))))
    feed.end("left", 15)
    assert not feed.windows.finished
    feed.windows.remove_source("right", feed.now_ns)
    assert feed.windows.finished


@dataclass(frozen=True)
class Life:
    """A source from when it is added until it is removed: tenths of seconds; frames begin and end within."""

    added: int
    begins: int
    phase_ms: int
    removed: int
    ends: int

    def frames(self, source: str, run: int) -> list[FrameHeader]:
        count = self.ends - self.begins
        offset_ns = self.begins * 100 * MS + self.phase_ms * MS
        return frames(source, range(count), offset_ns=offset_ns, run=run)


@st.composite
def lives(draw: st.DrawFn) -> list[Life]:
    """Draw lives of one source, one after the other."""
    drawn, time = [], draw(st.integers(12, 25))
    for _ in range(draw(st.integers(1, 2))):
        added = time
        begins = added + draw(st.integers(0, 15))
        removed = begins + draw(st.integers(-5, 40))
        removed = max(added + 1, removed)
        ends = max(begins, removed) + draw(st.integers(0, 25))
        drawn.append(Life(added, begins, draw(st.integers(0, 99)), removed, ends))
        # Its last window has closed by then.
        time = max(ends, removed + 16) + draw(st.integers(1, 10))
    return drawn


STABLE, LAST = ("left", "right"), 160


def run(schedule: dict[str, list[Life]]) -> tuple[Feed, dict[tuple[str, int], int | None]]:
    """Feed two sources that stay and those of ``schedule``; return what each life's last window was."""
    feed = Feed(" ".join(STABLE), Rules(idle_timeout_ns=500 * MS))
    last: dict[tuple[str, int], int | None] = {}
    coming = [header for source in STABLE for header in frames(source, range(LAST))]
    for source, its in schedule.items():
        coming += [header for run, life in enumerate(its, 1) for header in life.frames(source, run)]
    coming.sort(key=lambda header: header.captured_ns)
    for tenth in range(LAST):
        feed.wake(max(feed.now_ns, BEGIN_NS + tenth * 100 * MS))
        for source, its in schedule.items():
            for number, life in enumerate(its, 1):
                if tenth == life.added:
                    feed.windows.add_sources([source])
                if tenth == life.removed:
                    last[source, number] = feed.windows.remove_source(source, feed.now_ns)
                if tenth == max(life.ends, life.removed + 16):
                    assert feed.windows.has_left(source)
                    feed.end(source, life.ends - life.begins, "stopped", run=number)
                    feed.windows.forget_source(source)
        now_ns = BEGIN_NS + (tenth + 1) * 100 * MS
        while coming and coming[0].captured_ns < now_ns:
            feed.send(coming.pop(0))
    feed.flush()
    return feed, last


@functools.cache
def alone_feed() -> Feed:
    """Return what comes of the sources that stay if there are no others."""
    return run({})[0]


def clips_of(feed: Feed, source: str) -> list[tuple[int, object]]:
    return [
        (pair.window, (clip.spans, clip.missing, clip.complete))
        for pair in feed.pairs
        if (clip := pair.clips.get(source))
    ]


@settings(deadline=None, derandomize=True, max_examples=examples(25))
@given(st.fixed_dictionaries({"door": lives(), "yard": lives()}))
def test_sources_that_come_and_go_cost_the_others_nothing(schedule: dict[str, list[Life]]) -> None:
    feed, last = run(schedule)
    alone = alone_feed()
    for source in STABLE:
        assert clips_of(feed, source) == clips_of(alone, source)
    for source, its in schedule.items():
        expected: set[int] = set()
        counts = {"startup": 0, "removed": 0, "paired": 0}
        for number, life in enumerate(its, 1):
            headers = life.frames(source, number)
            end = last[source, number]
            if headers and end is not None:
                first = -(-(headers[0].captured_ns - 100 * MS + 1) // S)
                expected |= set(range(first, end + 1))
            for header in headers:
                window = header.captured_ns // S
                if end is None:
                    early = header.captured_ns < BEGIN_NS + life.removed * 100 * MS
                    counts["startup" if early else "removed"] += 1
                else:
                    reason = "removed" if window > end else "startup"
                    counts["paired" if window in expected else reason] += 1
        assert {window for window, _ in clips_of(feed, source)} == expected
        totals = feed.totals(source)
        told = {name: totals.dropped.get(name, 0) for name in ("startup", "removed")}
        assert {**told, "paired": totals.paired} == counts
        assert totals.captured == sum(counts.values())
        assert sum(totals.dropped.values()) == counts["startup"] + counts["removed"]
    assert all(pair.complete for pair in feed.pairs if set(pair.clips) == set(STABLE))
