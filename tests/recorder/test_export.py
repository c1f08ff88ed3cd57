"""A recording as videos with the times of its frames, and as tables."""

from __future__ import annotations

import csv
from pathlib import Path

import av
import numpy as np
import pytest

from framepair.nodes.common.runtime import Refused
from framepair.nodes.recordings.export import export
from tests.lib.recordings import WINDOWS, as_jpeg, write
from tests.lib.stream import pixels


def test_videos_have_every_frame_at_its_time_as_it_was_recorded(directory: Path) -> None:
    written = write(directory / "a.mcap")
    videos = export([directory / "a.mcap"], directory / "out")
    assert videos == [directory / "out/left.mp4", directory / "out/right.mp4"]
    for path in videos:
        mine = [header for header in written if header.source == path.stem]
        with av.open(str(path)) as video:
            packets = [packet for packet in video.demux(video.streams.video[0]) if packet.size]
            times = [round((packet.pts or 0) * packet.time_base * 1_000_000) for packet in packets]
        assert times == [(header.captured_ns - written[0].captured_ns) // 1000 for header in mine]
        if path.stem == "left":
            assert [bytes(packet) for packet in packets] == [as_jpeg(h).data for h in mine]
        else:
            with av.open(str(path)) as video:
                shown = [shot.to_ndarray(format="bgr24") for shot in video.decode(video=0)]
            assert np.abs(np.mean(shown[0]) - np.mean(pixels(mine[0]))) < 12
    with (directory / "out/frames.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["source"], int(row["seq"]), int(row["captured_ns"])) for row in rows] == [
        (header.source, header.seq, header.captured_ns) for header in written
    ]
    with (directory / "out/pairs.csv").open() as file:
        pairs = list(csv.DictReader(file))
    assert [(row["source"], row["frames"], row["complete"]) for row in pairs] == [
        ("left", "5", "1"), ("right", "5", "1"),
    ] * WINDOWS  # fmt: skip


def test_nothing_is_overwritten(directory: Path) -> None:
    write(directory / "a.mcap")
    (directory / "left.mp4").touch()
    with pytest.raises(Refused, match=r"left\.mp4 is there already: choose another directory"):
        export([directory / "a.mcap"], directory)
