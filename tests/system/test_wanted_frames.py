"""Frames as a consumer wants them, from the configuration to its arrays."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

from framepair import Clip, subscribe
from tests.lib.launcher import launcher
from tests.lib.numbered import read_number
from tests.lib.pipeline import Pipeline, check
from tests.lib.processes import Running

CASES = Path(__file__).parents[1] / "producer" / "cases"
CONFIGURATION = f"""
pixels = "i420"
duration = 3
loop = true
[sources.shared]
uri = "synthetic://640x360@25"
payload = "shm"
fps = 5
[sources.packed]
uri = "synthetic://640x360@25"
payload = "jpeg"
size = "320x"
[sources.sent]
uri = "synthetic://640x360@25"
pixels = "rgb8"
size = "x180"
[sources.grey]
uri = "synthetic://640x360@25"
payload = "jpeg"
pixels = "mono8"
[sources.file]
uri = "{CASES}/two_streams.mkv"
stream = 0
fps = 10
"""
WINDOW_NS = 1_000_000_000


def frames_of(clip: Clip) -> tuple[object, ...]:
    header = clip.frames[0]
    return len(clip), clip.array.shape[1:], header.encoding, header.payload, clip.expected


def test_each_source_has_the_frames_that_are_asked_of_it() -> None:
    with Pipeline([]) as nodes:
        path = nodes.run_dir / "pipeline.toml"
        path.write_text(CONFIGURATION)
        command = launcher("--run-dir", f"{nodes.run_dir}/run", "--config", path, "--no-sink")
        with Running(command) as running:
            with subscribe(f"ipc://{nodes.run_dir}/run/pairs", copy=True) as pairs:
                taken = list(itertools.islice(pairs, 2))
            assert running.wait() == 0
    for pair in taken:
        file = pair["file"]
        assert {read_number(file.bgr(i)) is not None for i in range(len(file))} == {True}
        drawn = {name: clip for name, clip in pair.items() if name != "file"}
        check(replace(pair, clips=drawn), WINDOW_NS)
    last = taken[-1]
    assert last.complete
    assert {name: frames_of(clip) for name, clip in last.items()} == {
        "shared": (5, (540, 640, 1), "i420", "shm", 5),
        "packed": (25, (270, 320, 1), "i420", "jpeg", 25),
        "sent": (25, (180, 320, 3), "rgb8", "raw", 25),
        "grey": (25, (360, 640, 1), "mono8", "jpeg", 25),
        "file": (10, (192, 192, 1), "i420", "raw", 10),
    }
    newest = last["shared"].frames[-1]
    assert newest.skipped == 4 * newest.seq
    assert last["sent"].frames[-1].skipped == 0
