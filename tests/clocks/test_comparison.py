"""Comparing clocks: whatever clocks and delays there are, the truth is within the uncertainty."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from framepair.protocol.clocks.comparison import STEP_NS, Comparison, Offset, Steering
from framepair.protocol.wire import frame
from framepair.protocol.wire.frame import SLEW_PPM, FrameHeader
from framepair.protocol.wire.header import MAX_INT, ProtocolError
from framepair.protocol.wire.sync import Pong
from tests.lib.malformed import moderate
from tests.lib.pipeline import stamped_ns

MS, S = 1_000_000, 1_000_000_000


def exchanged(comparison: Comparison, at_ns: int, there_ns: int, back_ns: int, clock: Clock) -> int:
    """Have a question leave at ``at_ns``, true time; return when its answer was here."""
    arrived_ns = at_ns + there_ns
    left_ns = arrived_ns + 20_000
    here_ns = left_ns + back_ns
    pong = Pong(clock.read(at_ns), arrived_ns, left_ns, combiner=1)
    comparison.add(pong, clock.read(here_ns))
    return here_ns


class Clock:
    """A clock that is ``ahead_ns`` ahead of the combiner's, which is right, and gains ``ppm``."""

    def __init__(self, ahead_ns: int, ppm: float) -> None:
        self._ahead_ns = ahead_ns
        self._ppm = ppm

    def read(self, true_ns: int) -> int:
        return true_ns + self._ahead_ns + round(self._ppm * true_ns / 1e6)

    def offset_ns(self, true_ns: int) -> int:
        return true_ns - self.read(true_ns)


@moderate
@given(
    ahead_ns=st.integers(-3600 * S, 3600 * S),
    ppm=st.floats(-400, 400),
    delays=st.lists(
        st.tuples(st.integers(0, 300 * MS), st.integers(0, 300 * MS), st.integers(MS, 20 * S)),
        min_size=1,
        max_size=100,
    ),
)
def test_the_truth_is_within_the_uncertainty(
    ahead_ns: int, ppm: float, delays: list[tuple[int, int, int]]
) -> None:
    clock, comparison, steering = Clock(ahead_ns, ppm), Comparison(), Steering()
    now_ns = 0
    for there_ns, back_ns, pause_ns in delays:
        now_ns = exchanged(comparison, now_ns, there_ns, back_ns, clock)
        for at_ns in (now_ns, now_ns + pause_ns // 2):
            found = comparison.offset(clock.read(at_ns))
            assert found is not None
            assert abs(found.ns - clock.offset_ns(at_ns)) <= found.uncertainty_ns + 2
            used = steering.follow(found, clock.read(at_ns))
            assert abs(used.ns - clock.offset_ns(at_ns)) <= used.uncertainty_ns + 2
        now_ns += pause_ns


def test_many_answers_tell_more_than_one() -> None:
    chance, clock, comparison = random.Random(1), Clock(3 * S, 200), Comparison()
    now_ns, widths = 0, []
    for _ in range(40):
        delays = chance.randrange(5 * MS), chance.randrange(5 * MS)
        now_ns = exchanged(comparison, now_ns, *delays, clock) + 50 * MS
        found = comparison.offset(clock.read(now_ns))
        assert found is not None
        widths.append(found.uncertainty_ns)
    assert widths[-1] < widths[0] / 2
    assert widths[-1] < MS


def test_without_answers_the_uncertainty_grows_with_time() -> None:
    comparison = Comparison()
    assert comparison.offset(0) is None
    here_ns = exchanged(comparison, 0, MS, MS, Clock(0, 0))
    first, later = comparison.offset(here_ns), comparison.offset(here_ns + 10 * S)
    assert first is not None
    assert later is not None
    assert 0 <= first.uncertainty_ns - MS < 0.01 * MS
    assert later.uncertainty_ns == first.uncertainty_ns + 5 * MS
    assert 0 <= comparison.least_delay_ns - 2 * MS < 0.02 * MS


def test_a_clock_that_is_set_is_compared_anew() -> None:
    comparison = Comparison()
    now_ns = exchanged(comparison, 0, MS, MS, Clock(0, 0))
    now_ns = exchanged(comparison, now_ns, MS, MS, Clock(5 * S, 0))
    found = comparison.offset(now_ns + 5 * S)
    assert found is not None
    assert (found.ns, found.uncertainty_ns // MS) == (-5 * S, 1)


def test_another_combiner_has_another_clock() -> None:
    comparison = Comparison()
    comparison.add(Pong(0, 10, 10, combiner=1), here_ns=20)
    comparison.add(Pong(100, 1110, 1110, combiner=2), here_ns=120)
    found = comparison.offset(120)
    assert found is not None
    assert (found.ns, found.combiner) == (1000, 2)
    assert 10 <= found.uncertainty_ns < 15
    # Nor is it approached slowly.
    steering = Steering()
    steering.follow(Offset(0, 10, combiner=1), 0)
    assert steering.follow(Offset(80 * MS, 10, combiner=2), 1) == Offset(80 * MS, 10, combiner=2)


def test_congestion_leaves_the_offset_as_it_is() -> None:
    clock, comparison, steering = Clock(3 * S, 100), Comparison(), Steering()
    now_ns, used = 0, None
    for i in range(2000):
        # After a while the way there takes 300 ms, and the way back none.
        there_ns = MS // 10 if i < 100 else 300 * MS
        now_ns = exchanged(comparison, now_ns, there_ns, MS // 10, clock) + 50 * MS
        found = comparison.offset(clock.read(now_ns))
        assert found is not None
        before, used = used, steering.follow(found, clock.read(now_ns))
        assert abs(used.ns - clock.offset_ns(now_ns)) <= used.uncertainty_ns + 2
        assert before is None or abs(used.ns - before.ns) < MS
    assert comparison.least_delay_ns < MS


@pytest.mark.parametrize("far_ns", [-MAX_INT, MAX_INT, 10**18 * 5])
def test_a_clock_out_of_all_time_is_not_believed(far_ns: int) -> None:
    comparison = Comparison()
    with pytest.raises(ProtocolError):
        comparison.add(Pong(0, far_ns, far_ns, combiner=1), here_ns=10)
    assert comparison.offset(10) is None


@pytest.mark.parametrize("pong", [Pong(100, 50, 40, combiner=1), Pong(100, 50, 80, combiner=1)])
def test_impossible_times_are_refused(pong: Pong) -> None:
    comparison = Comparison()
    with pytest.raises(ProtocolError, match="impossible"):
        comparison.add(pong, here_ns=110)
    assert comparison.offset(110) is None


def test_a_small_difference_is_made_up_for_slowly_and_a_large_one_at_once() -> None:
    steering = Steering()
    assert steering.follow(Offset(5 * S, 10), 0) == Offset(5 * S, 10)
    used = steering.follow(Offset(5 * S - 3 * MS, 10), S)
    assert used == Offset(5 * S - MS, 10 + 2 * MS)
    assert steering.follow(Offset(5 * S - 3 * MS, 10), 10 * S) == Offset(5 * S - 3 * MS, 10)
    far = Offset(5 * S + STEP_NS + 4 * MS, 10)
    assert steering.follow(far, 10 * S) == far


@moderate
@given(
    offsets=st.lists(st.integers(-STEP_NS // 2, STEP_NS // 2), min_size=2, max_size=20),
    periods=st.lists(st.integers(1, 2 * S), min_size=2, max_size=20),
    jitter=st.lists(st.floats(0, 1), min_size=2, max_size=20),
)
def test_a_corrected_stamp_never_falls_behind_a_corrected_promise(
    offsets: list[int], periods: list[int], jitter: list[float]
) -> None:
    steering, captured_ns, promised_ns = Steering(), 10**18, 0
    for offset_ns, period_ns, late in zip(offsets, periods, jitter, strict=False):
        used = steering.follow(Offset(offset_ns, 0), captured_ns)
        header = stamped(captured_ns, captured_ns + period_ns, used.ns).corrected()
        assert header.captured_ns >= promised_ns
        assert header.next_ns >= header.captured_ns
        promised_ns = header.next_ns
        captured_ns += round(period_ns * (1 + late))


def stamped(captured_ns: int, next_ns: int, offset_ns: int | None) -> FrameHeader:
    return FrameHeader(
        "left", 1, 0, captured_ns, next_ns, captured_ns, (2, 2, 3), offset_ns=offset_ns,
        uncertainty_ns=None if offset_ns is None else 5,
    )  # fmt: skip


def test_a_header_is_corrected_once_and_says_by_how_much() -> None:
    header = stamped(10 * S, 11 * S, -3 * S)
    corrected = header.corrected()
    assert (corrected.captured_ns, corrected.sent_ns) == (7 * S, 7 * S)
    assert corrected.next_ns == 8 * S - S * SLEW_PPM // 10**6
    assert (corrected.offset_ns, corrected.uncertainty_ns) == (-3 * S, 5)
    assert stamped_ns(corrected) == header.captured_ns
    assert frame.decode(corrected.encode()) == corrected
    plain = header.as_stamped(None)
    assert plain == replace(header, offset_ns=None, uncertainty_ns=None)
    assert plain.corrected() is plain
    assert header.as_stamped(0).uncertainty_ns == 0


@pytest.mark.parametrize("offset_ns", [-MAX_INT, -11 * S, MAX_INT])
def test_an_offset_out_of_all_time_is_refused(offset_ns: int) -> None:
    with pytest.raises(ProtocolError, match="out of range"):
        stamped(10 * S, 11 * S, offset_ns).corrected()


def test_stamps_of_neighbours_stay_in_order() -> None:
    steering = Steering()
    stamps = []
    for i, offset_ns in enumerate([0, -50 * MS, 40 * MS, -90 * MS]):
        used = steering.follow(Offset(offset_ns, 0), i * 40 * MS)
        stamps.append(i * 40 * MS + used.ns)
    assert all(a < b for a, b in pairwise(stamps))
