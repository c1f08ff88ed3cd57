"""Frames of the same instant: which are chosen, when an instant is whole, and what is not waited for."""

from __future__ import annotations

import random
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from framepair.nodes.monitor.instants import (
    BEHIND_NS,
    MAX_OPEN,
    SILENT_NS,
    Arrival,
    Instant,
    Instants,
)

MS = 1_000_000
PERIOD_NS = 40 * MS
WIDTHS = frozenset({640})


class Watched:
    """Instants of frames that are named by their source and capture time in ms.

    With ``once`` none is drawn twice; where frames are lost one may be the nearest to two instants.
    """

    def __init__(self, interval_ms: int = 100, *, once: bool = True) -> None:
        self.drawn: list[str] = []
        self._once = once
        self.instants: Instants[str, str] = Instants(interval_ms * MS, self._draw)

    def add(
        self,
        source: str,
        captured_ms: float,
        now_ms: float | None = None,
        widths: frozenset[int] = WIDTHS,
    ) -> dict[str, str | None] | None:
        now_ns = round((captured_ms if now_ms is None else now_ms) * MS)
        name = f"{source} {captured_ms:g}"
        arrival = Arrival(source, round(captured_ms * MS), PERIOD_NS, name)
        instant: Instant[str] | None = self.instants.add(arrival, now_ns, widths)
        return None if instant is None else instant.pictures

    def _draw(self, frame: str, widths: frozenset[int]) -> str:
        assert widths == WIDTHS
        assert not self._once or frame not in self.drawn
        self.drawn.append(frame)
        return frame


def test_of_a_regular_stream_ten_pictures_a_second_are_drawn_and_no_others() -> None:
    watched = Watched()
    whole = [watched.add("a", n * 40) for n in range(250)]
    # None in the first tenth of a second: other sources may be there.
    assert sum(pictures is not None for pictures in whole) == 99
    assert len(watched.drawn) == 99


def test_nothing_is_drawn_while_nothing_looks() -> None:
    watched = Watched()
    for n in range(50):
        assert watched.add("a", n * 40, widths=frozenset()) is None
        assert watched.add("b", n * 40 + 1, widths=frozenset()) is None
    assert watched.drawn == []


def test_each_source_has_the_frame_nearest_to_the_instant_whichever_comes_first() -> None:
    for early, late in (("a", "b"), ("b", "a")):
        for apart_ms in (0, 0.2, 7, 19, 21, 33):
            watched = Watched()
            whole = []
            for n in range(1, 60):
                whole.append(watched.add(early, n * 40, n * 40 + 5))
                whole.append(watched.add(late, n * 40 + apart_ms, n * 40 + apart_ms + 5.1))
            seen = [pictures for pictures in whole if pictures]
            assert len(seen) >= 20
            # The first instant may have no other source yet.
            for pictures in seen[1:]:
                times = [float(str(name).split()[1]) for name in pictures.values()]
                assert len(times) == 2
                assert max(times) - min(times) <= 20


def test_a_source_that_comes_later_than_others_is_waited_for() -> None:
    watched = Watched()
    frames = [(n * 40, n * 40 + 5, "near") for n in range(100)]
    frames += [(n * 40 + 8, n * 40 + 700, "far") for n in range(100)]
    seen = []
    for captured_ms, now_ms, source in sorted(frames, key=lambda each: each[1]):
        pictures = watched.add(source, captured_ms, now_ms)
        if pictures and now_ms > 1000:
            seen.append((now_ms, pictures))
    assert len(seen) >= 25
    for now_ms, pictures in seen:
        near, far = (float(str(pictures[source]).split()[1]) for source in ("near", "far"))
        assert abs(near - far) == 8
        # As soon as the later one is there.
        assert now_ms - far <= 740


def test_a_source_that_falls_silent_is_waited_for_no_longer_and_is_not_shown_as_it_was() -> None:
    watched = Watched()
    for n in range(10):
        watched.add("a", n * 40)
        watched.add("b", n * 40)
    after = [(n * 40, watched.add("a", n * 40)) for n in range(10, 100)]
    shown = [(now_ms, pictures) for now_ms, pictures in after if pictures]
    silent_ms = SILENT_NS / MS
    assert [now_ms for now_ms, _ in shown if now_ms < 360 + silent_ms] in ([], [400])
    later = [pictures for now_ms, pictures in shown if now_ms > 360 + silent_ms]
    assert len(later) >= 20
    assert all("b" not in pictures for pictures in later)
    # It comes back.
    watched.add("a", 4000)
    watched.add("b", 4000)
    back = [watched.add("b", 4040), watched.add("a", 4040), watched.add("b", 4080)]
    back += [watched.add("a", 4080), watched.add("b", 4120), watched.add("a", 4120)]
    assert any(pictures and pictures.keys() == {"a", "b"} for pictures in back)


def test_a_source_whose_clock_is_far_behind_keeps_nothing_waiting() -> None:
    watched = Watched()
    behind_ms = BEHIND_NS / MS + 1
    whole = []
    for n in range(200):
        now_ms = 10_000 + n * 40
        whole.append(watched.add("a", now_ms, now_ms))
        watched.add("b", now_ms - behind_ms, now_ms + 1)
    assert sum(pictures is not None for pictures in whole) >= 70


def test_a_frame_that_is_further_away_than_a_period_is_no_picture_of_the_instant() -> None:
    watched = Watched()
    watched.add("a", 0)
    watched.add("b", 0)
    assert watched.add("a", 200) is None
    # Frames 40 to 320 of b were lost on their way.
    assert watched.add("b", 360) == {"a": "a 200", "b": None}


def test_an_instant_that_a_newer_one_overtakes_is_forgotten() -> None:
    watched = Watched()
    watched.add("a", 0)
    watched.add("b", 0)
    for captured_ms in (200, 320, 440):
        assert watched.add("a", captured_ms) is None
    assert watched.add("b", 440) == {"a": "a 440", "b": "b 440"}
    assert watched.add("b", 480, widths=frozenset()) is None


def test_however_many_instants_wait_their_number_is_bounded() -> None:
    watched = Watched(interval_ms=0)
    watched.add("b", 0)
    for n in range(1, 74):
        assert watched.add("a", n * 40, n) is None
    assert len(watched.instants._open) == MAX_OPEN


@settings(max_examples=50, deadline=None)
@given(
    sources=st.lists(
        st.tuples(st.integers(0, 39), st.integers(0, 900), st.integers(0, 60)),
        min_size=1,
        max_size=4,
    ),
    lost=st.sets(st.integers(0, 400), max_size=100),
    jitter=st.randoms(use_true_random=False),
)
def test_whatever_comes_late_or_never_what_is_shown_is_of_one_instant_and_never_older(
    sources: list[tuple[int, int, int]], lost: set[int], jitter: random.Random
) -> None:
    arrivals = []
    for number, (phase_ms, delay_ms, jitter_ms) in enumerate(sources):
        came_ms = 0.0
        for n in range(100):
            captured_ms = n * 40 + phase_ms
            # In the order of capture: a stream does not overtake itself.
            came_ms = max(came_ms + 0.001, captured_ms + delay_ms + jitter.random() * jitter_ms)
            if number * 100 + n not in lost:
                arrivals.append((came_ms, f"s{number}", captured_ms))
    watched, shown = Watched(once=False), []
    for came_ms, source, captured_ms in sorted(arrivals):
        pictures = watched.add(source, captured_ms, came_ms)
        if pictures:
            shown.append([float(name.split()[1]) for name in pictures.values() if name])
    for times in shown:
        assert max(times) - min(times) <= 2 * PERIOD_NS / MS
    firsts = [min(times) for times in shown]
    assert all(later > former - PERIOD_NS / MS for former, later in pairwise(firsts))
    assert len(shown) <= 55


def test_a_source_that_was_removed_is_not_waited_for_nor_shown_again() -> None:
    watched = Watched()
    for at_ms in range(0, 160, 40):
        watched.add("a", at_ms)
        watched.add("b", at_ms)
    watched.instants.keep_only(["a"])
    pictures = [watched.add("a", at_ms) for at_ms in range(160, 1000, 40)]
    found = [picture for picture in pictures if picture]
    assert len(found) >= 8
    assert all(picture.keys() == {"a"} for picture in found[1:])
