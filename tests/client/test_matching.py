"""Mutual nearest frames, told window by window, are those that one look at all frames finds."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from framepair.protocol.client.matching import Matcher
from tests.lib.examples import examples

WINDOW = 100
Stamps = dict[str, list[int]]


@dataclass(frozen=True)
class Item:
    """A frame, and whether it may be used once its window is over."""

    source: str
    index: int
    window: int
    kept: bool = False


def oracle(stamps: Stamps, reference: str, within: int) -> list[dict[str, int]]:
    """Return all matches, as the definition says: every frame is compared with every other."""
    partners = [
        mutual_nearest(stamps[reference], others, within) if source != reference else None
        for source, others in stamps.items()
    ]
    found = []
    for index in range(len(stamps[reference])):
        match = [index if of is None else of.get(index) for of in partners]
        if None not in match:
            found.append(dict(zip(stamps, cast(list[int], match), strict=True)))
    return found


def mutual_nearest(ours: Sequence[int], theirs: Sequence[int], within: int) -> dict[int, int]:
    """Return which of theirs belongs to each of ours; of equally near ones the earlier, which comes first."""
    if not ours or not theirs:
        return {}
    apart = np.abs(np.subtract.outer(ours, theirs))
    to_theirs, to_ours = apart.argmin(axis=1), apart.argmin(axis=0)
    return {
        index: int(partner)
        for index, partner in enumerate(to_theirs)
        if to_ours[partner] == index and apart[index, partner] <= within
    }


def told(
    stamps: Stamps, reference: str, within: int, windows: Sequence[int]
) -> tuple[list[dict[str, int]], Counter[str], int]:
    """Return what a matcher finds that is told ``windows``, what it counts, and how many frames it kept."""
    unmatched: Counter[str] = Counter()
    matcher: Matcher[Item] = Matcher(
        reference, [source for source in stamps if source != reference], within, unmatched
    )
    found: list[dict[str, int]] = []
    kept = 0

    def keep(item: Item) -> Item:
        nonlocal kept
        kept += not item.kept
        return replace(item, kept=True)

    def take(matches: list[dict[str, Item]], window: int) -> None:
        for match in matches:
            assert all(item.kept or item.window == window for item in match.values())
            found.append({source: item.index for source, item in match.items()})

    for window in windows:
        start, end = window * WINDOW, (window + 1) * WINDOW
        frames = {
            source: [
                (stamp, Item(source, index, window))
                for index, stamp in enumerate(all_stamps)
                if start <= stamp < end
            ]
            for source, all_stamps in stamps.items()
        }
        take(matcher.add_window(frames, start, end), window)
        matcher.replace_undecided(keep)
    take(matcher.end(), -1)
    return found, unmatched, kept


def check(stamps: Stamps, within: int, windows: Sequence[int], reference: str = "a") -> int:
    """Compare a matcher with the oracle; return how many frames were kept over a border."""
    found, unmatched, kept = told(stamps, reference, within, windows)
    assert found == oracle(stamps, reference, within)
    for source, all_stamps in stamps.items():
        indexes = [match[source] for match in found]
        assert indexes == sorted(set(indexes)), "each frame once, and in order"
        assert unmatched[source] == len(all_stamps) - len(indexes)
    return kept


def stream(
    fps: float, seconds: float, phase: float = 0, jitter: float = 0, seed: int = 0
) -> list[int]:
    """Return stamps in tenths of a millisecond: a window has a hundredth of a second."""
    rng = random.Random(seed)
    return sorted(
        max(0, round(1e4 * (phase + i / fps + rng.uniform(-jitter, jitter))))
        for i in range(round(fps * seconds))
    )


STAMPS = st.lists(st.integers(0, 8 * WINDOW - 1), max_size=40).map(sorted)


@settings(max_examples=examples(300), deadline=None)
@given(
    stamps=st.dictionaries(st.sampled_from("abcd"), STAMPS, min_size=2, max_size=4),
    within=st.integers(0, 250),
)
def test_a_matcher_finds_what_a_look_at_all_frames_finds(stamps: Stamps, within: int) -> None:
    check(stamps, within, range(8), reference=next(iter(stamps)))


@settings(max_examples=examples(100), deadline=None)
@given(
    few=st.lists(st.sampled_from([0, 10, 99, 100, 101, 199, 200, 300]), max_size=12).map(sorted),
    many=st.lists(st.sampled_from([0, 5, 10, 100, 150, 199, 200, 350]), max_size=12).map(sorted),
    within=st.sampled_from([0, 1, 50, 100]),
)
def test_equal_stamps_and_ties_go_to_the_earlier(
    few: list[int], many: list[int], within: int
) -> None:
    check({"a": few, "b": many}, within, range(4))


@settings(max_examples=examples(100), deadline=None)
@given(
    stamps=st.fixed_dictionaries({"a": STAMPS, "b": STAMPS, "c": STAMPS}),
    within=st.integers(0, 250),
    missing=st.sets(st.integers(0, 7)),
)
def test_windows_that_never_come_have_no_frames(
    stamps: Stamps, within: int, missing: set[int]
) -> None:
    there = {
        source: [stamp for stamp in all_stamps if stamp // WINDOW not in missing]
        for source, all_stamps in stamps.items()
    }
    check(there, within, sorted(set(range(8)) - missing))


@pytest.mark.parametrize("jitter", [0, 0.004, 0.03])
@pytest.mark.parametrize("seed", range(3))
def test_cameras_of_25_and_30_frames_a_second(jitter: float, seed: int) -> None:
    rng = random.Random(seed)
    streams = {
        "a": stream(25, 4, rng.random() / 25, jitter, seed),
        "b": stream(30, 4, rng.random() / 30, jitter, seed + 10),
        "c": stream(25, 4, rng.random() / 25, jitter, seed + 20),
    }
    # Times that they drop out, one and all.
    streams["b"] = [stamp for stamp in streams["b"] if not 9_000 < stamp < 15_000]
    there = {
        name: [s for s in stamps if not 30_000 < s < 30_500] for name, stamps in streams.items()
    }
    windows = range(max(map(max, there.values())) // WINDOW + 1)
    assert len(oracle(there, "a", 200)) > 20
    check(there, 200, windows)


def test_few_frames_are_kept_over_a_border() -> None:
    sources = {f"cam{i}": stream(25, 20, i / 400) for i in range(16)}
    renamed = {f"{i}": [s // 100 for s in stamps] for i, stamps in enumerate(sources.values())}
    kept = check(renamed, 2, range(21), reference="0")
    assert kept <= 20 * 16 * 2, "one or two of 25"


def test_time_may_begin_again() -> None:
    unmatched: Counter[str] = Counter()
    matcher: Matcher[int] = Matcher("a", ["b"], 10, unmatched)
    assert matcher.add_window({"a": [(95, 1)], "b": [(97, 2)]}, 0, 100) == [{"a": 1, "b": 2}]
    assert matcher.add_window({"a": [(199, 3)], "b": []}, 100, 200) == []
    assert matcher.add_window({"a": [(5, 4)], "b": [(1, 5)]}, 0, 100) == [{"a": 4, "b": 5}]
    assert matcher.end() == []
    assert unmatched == {"a": 1, "b": 0}
