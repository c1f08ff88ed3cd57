"""When a paced video is decoded: late enough not to disturb the frame before, early enough to be in time."""

from __future__ import annotations

import itertools
from functools import partial

import pytest

from framepair.nodes.common.runtime import Stop
from framepair.nodes.producer.pace import named
from framepair.nodes.producer.sources.source import Format, Position
from framepair.nodes.producer.stamps import MediaStamps, PacedStamps, Stamp
from tests.lib.units import S

PERIOD_NS = 40_000_000
START_NS = 1_000_000_000


class Clock(Stop):
    """A clock that only moves while somebody waits, or as told."""

    def __init__(self) -> None:
        super().__init__()
        self.now = START_NS - 10 * PERIOD_NS

    def now_ns(self) -> int:
        return self.now

    def wait(self, timeout_s: float) -> bool:
        self.now += round(timeout_s * 1e9)
        return False


@pytest.fixture
def clock() -> Clock:
    return Clock()


class Player:
    """Plays frames at positions of their own, or one period after another."""

    def __init__(self, clock: Clock) -> None:
        self.stamps = PacedStamps(1e9 / PERIOD_NS, START_NS, clock.now_ns)
        self.count = 0
        self._clock = clock

    def play(self, decoding_ns: int, position: Position | None = None) -> tuple[int, int, int]:
        """Play one frame; return when decoding began, when the frame was due, and when it went."""
        self.stamps.rest(self._clock)
        began_ns = self._clock.now
        at_ns = self.count * PERIOD_NS
        self.count += 1
        self.stamp = self.stamps.stamp(position or Position(at_ns, at_ns + PERIOD_NS))
        self._clock.now += decoding_ns
        self.stamps.wait(self.stamp, self._clock)
        return began_ns, self.stamp.captured_ns, self._clock.now


def test_decoding_begins_half_a_period_before_a_frame_is_due(clock: Clock) -> None:
    player = Player(clock)
    began_ns, due_ns, went_ns = player.play(PERIOD_NS // 10)
    assert (began_ns, due_ns, went_ns) == (START_NS - 10 * PERIOD_NS, START_NS, START_NS)
    for number in range(1, 50):
        began_ns, due_ns, went_ns = player.play(PERIOD_NS // 10)
        assert due_ns == went_ns == START_NS + number * PERIOD_NS
        assert began_ns == due_ns - PERIOD_NS // 2


def test_slow_decoding_begins_sooner(clock: Clock) -> None:
    player = Player(clock)
    player.play(PERIOD_NS // 4)
    for _ in range(50):
        began_ns, due_ns, went_ns = player.play(PERIOD_NS // 4)
        assert went_ns == due_ns
        assert due_ns - PERIOD_NS < began_ns <= due_ns - PERIOD_NS // 2 - 1_000_000


@pytest.mark.parametrize("needs", [0.4, 0.6, 0.9, 1.0])
def test_decoding_that_takes_most_of_the_time_gets_all_of_it(clock: Clock, needs: float) -> None:
    player = Player(clock)
    for _ in range(50):
        _, due_ns, went_ns = player.play(round(needs * PERIOD_NS))
        assert went_ns == due_ns


def test_one_slow_frame_is_forgotten_in_time(clock: Clock) -> None:
    player = Player(clock)
    player.play(PERIOD_NS // 3)
    for _ in range(200):
        began_ns, due_ns, _ = player.play(PERIOD_NS // 20)
    assert began_ns == due_ns - PERIOD_NS // 2


def test_a_player_that_is_behind_does_not_rest(clock: Clock) -> None:
    player = Player(clock)
    player.play(0)
    clock.now = START_NS + 5 * PERIOD_NS
    for number in range(1, 5):
        began_ns, due_ns, went_ns = player.play(0)
        assert (began_ns, went_ns) == (clock.now, clock.now)
        assert due_ns == START_NS + number * PERIOD_NS


def test_frames_at_times_of_their_own_go_then(clock: Clock) -> None:
    player = Player(clock)
    at_ms = [0, 33, 69, 100, 3000, 3100, 9000]
    for now_ms, next_ms in itertools.pairwise(at_ms):
        position = Position(now_ms * 1_000_000, next_ms * 1_000_000)
        _, due_ns, went_ns = player.play(1_000_000, position)
        assert due_ns == went_ns == START_NS + now_ms * 1_000_000
        assert player.stamp.next_ns == START_NS + next_ms * 1_000_000


def test_a_schedule_that_is_put_off_stays_in_step(clock: Clock) -> None:
    player = Player(clock)
    player.play(0)
    promised_ns = player.stamp.next_ns
    clock.now += 2_000_000_000
    _, late_ns, _ = player.play(0)
    assert late_ns >= promised_ns
    for number in range(1, 5):
        assert player.play(0)[1] == late_ns + number * PERIOD_NS


def test_an_offset_is_added_to_what_a_recording_is_stamped(clock: Clock) -> None:
    offset_ns = 1_250_000_000
    for pace in (
        named("max", window_s=1.0, recorded=True, offset_ns=offset_ns),
        named("realtime", window_s=1.0, recorded=True, offset_ns=offset_ns),
    ):
        stamps = pace.stamps(Format((4, 4, 3), fps=25, total=100), None, clock.now_ns)
        began_ns = stamps.earliest_ns() - offset_ns
        assert began_ns % 1_000_000_000 == 0
        stamp = stamps.stamp(Position(3 * PERIOD_NS, 5 * PERIOD_NS))
        assert stamp.captured_ns == began_ns + offset_ns + 3 * PERIOD_NS
        assert stamp.next_ns == began_ns + offset_ns + 5 * PERIOD_NS


def test_a_video_that_begins_later_has_fewer_frames_until_a_time() -> None:
    pace = named("max", window_s=1.0, recorded=True, offset_ns=1_000_000_000)
    video = Format((4, 4, 3), fps=25, total=100)
    assert pace.total(video, 3.0) == 50
    assert pace.total(video, 0.5) == 0


def test_media_time_is_where_in_the_video_a_frame_is() -> None:
    stamp = MediaStamps().stamp(Position(3_000_000, 7_000_000))
    assert (stamp.captured_ns, stamp.next_ns) == (3_000_000, 7_000_000)


@pytest.mark.parametrize("total", [0, 100])
def test_a_recording_begins_with_a_window_whether_or_not_it_says_how_long_it_is(
    clock: Clock, total: int
) -> None:
    pace = named("realtime", window_s=1.0, recorded=True)
    stamps = pace.stamps(Format((4, 4, 3), fps=25, total=total), None, clock.now_ns)
    assert stamps.stamp(Position(0, PERIOD_NS)).captured_ns % 1_000_000_000 == 0


def test_a_video_that_plays_together_with_others_is_late_and_not_put_off() -> None:
    now_ns = 1_000_000 * S
    stamps = PacedStamps(25.0, now_ns, lambda: now_ns, is_put_off=False)
    assert stamps.stamp(Position(0, S // 25)) == Stamp(now_ns, now_ns + S // 25)
    now_ns += 3 * S
    found = stamps.stamp(Position(S, S + S // 25))
    assert (found.captured_ns, found.late) == (1_000_001 * S, True)
    again = stamps.stamp(Position(3 * S, 3 * S + S // 25))
    assert (again.captured_ns, again.late) == (now_ns, False)


@pytest.mark.parametrize("window_s", [1.0, 0.2, 7.0])
def test_sources_of_a_recording_begin_together_in_their_windows(window_s: float) -> None:
    begins_ns, play_at_ns, window_ns = 123_456_789_012, 1_000_000 * S + 77, round(window_s * S)
    known = Format((2, 2, 3), begins_ns=begins_ns)
    playing = named("realtime", window_s=window_s, recorded=True, play_at_ns=play_at_ns)
    starts = {
        playing.stamps(known, None, partial(int, play_at_ns + late)).earliest_ns()
        for late in (-S, 0, 5 * S)
    }
    [start_ns] = starts
    assert play_at_ns <= start_ns < play_at_ns + window_ns
    assert (start_ns - begins_ns) % window_ns == 0
    offline = named("max", window_s=window_s, recorded=True).stamps(known, None, lambda: 0)
    assert offline.stamp(Position(5, 6)).captured_ns == begins_ns + 5
