"""Pipelines that are joined: all windows, in order, each with every pipeline that had it in time."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from framepair.protocol.client.joining import Head, Joiner, Turn
from tests.lib.examples import examples

WAIT_S = 5
ROOM = 1000
LATE_S = 12
WINDOWS = 30
# Of each pipeline, the windows that it announces.
Announced = list[set[int]]
# A pair: its pipeline, and its window.
Name = tuple[int, int]

# Unequal starts, outages shorter and longer than what is waited, and ends.
announced = st.lists(
    st.lists(st.booleans(), min_size=WINDOWS, max_size=WINDOWS).map(
        lambda there: {window for window, each in enumerate(there) if each}
    )
    | st.tuples(*[st.integers(0, WINDOWS)] * 4).map(
        lambda ends: {*range(*sorted(ends)[:2]), *range(*sorted(ends)[2:])}
    ),
    min_size=2,
    max_size=3,
)


class Played:
    """Pipelines whose pairs come second by second, and the turns that a joiner has of them."""

    def __init__(self, pipelines: int, room: int = ROOM, *, lossless: bool = False) -> None:
        self._joiner = Joiner(pipelines, room, WAIT_S)
        self._queues: list[deque[int]] = [deque() for _ in range(pipelines)]
        self._lossless = lossless
        self.turns: list[tuple[int, Turn]] = []
        """The second of each, and what it was."""
        self.taken: list[tuple[Name, int]] = []
        """Each pair that was taken, and when."""

    def second(self, now_s: int, pairs: Sequence[Name], ended: Sequence[int] = ()) -> None:
        """Let ``pairs`` come, and take turns."""
        for pipeline, window in pairs:
            self._queues[pipeline].append(window)
        while turn := self._joiner.turn([*self._heads()], ended, now_s):
            self.turns.append((now_s, turn))
            for pipeline in turn.taken:
                self.taken.append(((pipeline, self._queues[pipeline].popleft()), now_s))

    def _heads(self) -> Iterator[Head | None]:
        for queue in self._queues:
            yield Head(queue[0], len(queue), self._lossless) if queue else None

    @property
    def windows(self) -> dict[int, set[int]]:
        """The pipelines of each window that was not late."""
        return {turn.window: set(turn.taken) for _, turn in self.turns if not turn.late}


@settings(max_examples=examples(100))
@given(announced)
def test_what_comes_in_time_is_joined_and_nothing_is_left_out(sets: Announced) -> None:
    played = Played(len(sets))
    for now_s in range(WINDOWS):
        played.second(now_s, [(i, now_s) for i, windows in enumerate(sets) if now_s in windows])
    played.second(WINDOWS, (), ended=range(len(sets)))
    expected = {
        window: {i for i, windows in enumerate(sets) if window in windows}
        for window in sorted(set().union(*sets))
    }
    assert list(played.windows.items()) == list(expected.items())
    assert not any(turn.late for _, turn in played.turns)


@settings(max_examples=examples(100))
@given(announced, st.data())
def test_whenever_pairs_come_each_is_taken_once_soon_and_in_order(
    sets: Announced, data: st.DataObject
) -> None:
    came = {
        (i, window): window + delay
        for i, windows in enumerate(sets)
        for window, delay in zip(
            sorted(windows),
            sorted(data.draw(st.lists(st.integers(0, LATE_S), min_size=WINDOWS))),
            strict=False,
        )
    }
    played = Played(len(sets))
    last_s = 2 * WINDOWS + 3 * len(sets) * WAIT_S
    for now_s in range(last_s):
        played.second(now_s, [name for name, second in sorted(came.items()) if second == now_s])
    turns = [turn for _, turn in played.turns if not turn.late]
    assert sorted(name for name, _ in played.taken) == sorted(came)
    assert [turn.window for turn in turns] == sorted({turn.window for turn in turns})
    for (pipeline, window), second in played.taken:
        assert second <= came[pipeline, window] + LATE_S + len(sets) * WAIT_S
        in_time = pipeline in played.windows.get(window, set())
        first_s = next(at for at, turn in played.turns if turn.window >= window)
        assert in_time or came[pipeline, window] >= first_s


def test_one_that_is_gone_is_waited_for_once_and_joined_again_when_it_is_back() -> None:
    played = Played(2)
    back = 20
    for now_s in range(30):
        there = [0] if 3 <= now_s < back else [0, 1]
        played.second(now_s, [(i, now_s) for i in there])
    seconds = {turn.window: at for at, turn in played.turns}
    assert [seconds[window] for window in (2, 3, 8, 9, 19)] == [2, 8, 8, 9, 19]
    assert played.windows == {w: {0} if 3 <= w < back else {0, 1} for w in range(30)}


def test_one_that_comes_later_than_the_others_is_joined_again_too() -> None:
    played = Played(2)
    for now_s in range(40):
        # Each of its pairs takes 2 s, and there is none of windows 5 to 14.
        late = [] if 5 <= now_s - 2 < 15 else [(1, now_s - 2)] * (now_s >= 2)
        played.second(now_s, [(0, now_s), *late])
    joined = [len(played.windows[window]) for window in (4, 5, 14, 18, 37)]
    assert joined == [2, 1, 1, 2, 2]


def test_nothing_waits_once_there_is_no_room_for_more() -> None:
    played = Played(2, room=3)
    for now_s in range(4):
        played.second(now_s, [(0, now_s)])
    assert [at for at, _ in played.turns] == [2, 2, 2, 3]


def test_where_nothing_may_be_lost_it_is_waited_for_without_limit() -> None:
    played = Played(2, room=1, lossless=True)
    for now_s in range(50):
        played.second(now_s, [(0, now_s)])
    assert not played.turns
    played.second(50, [(1, 0)])
    assert played.windows == {0: {0, 1}}
    played.second(51, (), ended=[1])
    assert len(played.windows) == 50
