"""Pairs made of arrays, for tests of programs that take pairs."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from framepair import testing
from framepair.protocol.client.matches import Wanted, matches
from framepair.protocol.wire import pair as wire


def frames(n: int, shape: tuple[int, ...] = (4, 6, 3)) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(n).integers(0, 256, (n, *shape), np.uint8)


def test_a_pair_has_the_frames_that_were_given() -> None:
    left, right = frames(25), frames(25, (4, 6))
    pair = testing.pair(left=left, right=right)
    assert list(pair) == ["left", "right"]
    assert np.array_equal(pair["left"].array, left)
    assert np.array_equal(pair["right"].array[..., 0], right)
    assert not pair["left"].array.flags.writeable
    assert pair["left"].captured_ns.tolist() == [40_000_000 * i for i in range(25)]
    assert (pair.complete, pair.intact, pair.index, pair["left"].fps) == (True, True, 0, 25.0)
    assert wire.decode(pair.header.encode()) == pair.header


def test_what_is_missing_can_be_said() -> None:
    pair = testing.pair(
        {"cam-1": frames(3)}, missing={"cam-1": "slow", "cam-2": "offline"}, complete=False
    )
    assert {name: (len(clip), clip.missing) for name, clip in pair.items()} == {
        "cam-1": (3, "slow"),
        "cam-2": (0, "offline"),
    }
    assert not pair.complete


def test_pairs_follow_each_other_and_match() -> None:
    made = [testing.pair(a=frames(5), b=frames(5), index=i, window=0.2) for i in range(3)]
    assert [pair["a"].seq[0] for pair in made] == [0, 5, 10]
    assert [pair.start_ns for pair in made] == [0, 200_000_000, 400_000_000]
    assert all(pair.intact for pair in made), "each has its own memory"
    assert len(list(matches(made, Wanted("a", "b", 0), Counter()))) == 15


@pytest.mark.parametrize(
    ("array", "line"),
    [
        (frames(2).astype(np.float32), "left is float32 of shape"),
        (frames(2)[0, 0], r"left is uint8 of shape \(6, 3\)"),
        (frames(2, (4, 6, 2)), "frames are uint8"),
        (frames(26), "26 frames of left at 25 a second do not fit into a window of 1 s"),
    ],
)
def test_what_is_no_clip_is_refused_in_words(array: Any, line: str) -> None:
    with pytest.raises(ValueError, match=line):
        testing.pair(left=array)
