"""Recordings whose frames come at times of their own: in pairs by those times, at any pace, each frame once."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest

from framepair import Pair, subscribe
from tests.lib.numbered import read_number
from tests.lib.pipeline import Pipeline

CASES = Path(__file__).parents[1] / "producer" / "cases"
TRUTH: dict[str, list[tuple[int, float]]] = json.loads((CASES / "truth.json").read_text())
RECORDINGS = {
    "left": "vfr_phone_left.mp4",
    "right": "vfr_phone_right.mp4",
    "screen": "vfr_screen.mkv",
    "browser": "recorder.webm",
}
WINDOW_NS = 1_000_000_000

Found = dict[str, list[tuple[int | None, int]]]


def play(pace: str) -> tuple[list[Pair], Found]:
    """Return all pairs of the recordings, and the number and stamp of each source's frames."""
    with (
        Pipeline(list(RECORDINGS), window_s=1.0) as nodes,
        subscribe(nodes.pub, keep=100) as pairs,
    ):
        nodes.combiner("--pace", pace)
        for name, recording in RECORDINGS.items():
            nodes.producer(name, str(CASES / recording), "--pace", pace)
        found: Found = {name: [] for name in RECORDINGS}
        seen = []
        for pair in pairs:
            seen.append(pair)
            for name in RECORDINGS:
                clip = pair[name]
                numbers = map(read_number, clip.images)
                stamps = [frame.captured_ns for frame in clip.frames]
                assert all(stamp // WINDOW_NS == pair.index for stamp in stamps)
                found[name] += zip(numbers, stamps, strict=True)
    return seen, found


# A machine that is busy puts off the schedule of a recording that is played in real time.
@pytest.mark.parametrize("pace", ["max", pytest.param("realtime", marks=pytest.mark.slow)])
def test_every_frame_is_in_the_window_of_its_own_time(pace: str) -> None:
    pairs, found = play(pace)
    assert [late.index - early.index for early, late in itertools.pairwise(pairs)] == [1] * (
        len(pairs) - 1
    )
    start_ns = 0 if pace == "max" else found["left"][0][1]
    assert start_ns % WINDOW_NS == 0
    for name, recording in RECORDINGS.items():
        numbers, times_s = zip(*TRUTH[recording], strict=True)
        assert [number for number, _ in found[name]] == list(numbers)
        begun_ns = found[name][0][1]
        assert abs(begun_ns - start_ns) <= (0 if pace == "max" else 5 * WINDOW_NS)
        shown_s = [(stamp_ns - begun_ns) / 1e9 for _, stamp_ns in found[name]]
        assert shown_s == pytest.approx(list(times_s), abs=0.001)
