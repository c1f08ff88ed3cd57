"""A recording as videos with the times of its frames, and as tables."""

from __future__ import annotations

import csv
import random
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from framepair.nodes.common.runtime import Refused
from framepair.nodes.recordings.export import export
from framepair.protocol.recording.segment import Segment
from framepair.protocol.wire.frame import FrameHeader
from tests.lib.recordings import WINDOWS, as_jpeg, as_raw, write
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


def shading(header: FrameHeader) -> NDArray[np.uint8]:
    """Return a picture that is easy to code, and no other frame's."""
    height, width, channels = header.shape
    ramp = np.linspace(20, 220, height * width).reshape(height, width, 1) - 3 * header.seq
    return np.repeat(ramp, channels, axis=2).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize(("codec", "width"), [("jpeg", 64), ("raw", 64), ("raw", 63)])
def test_as_h264_each_frame_has_its_time_and_its_picture(
    directory: Path, codec: str, width: int
) -> None:
    """Times are exact to the microsecond, however far apart frames are, and pictures nearly the same."""
    recording, headers = Segment(directory / "a.mcap"), []
    chance = random.Random(1)
    at_ns = 1_700_000_000_123_456_789
    for seq in range(40):
        at_ns += chance.choice([1_001, 33_366_700, 40_000_000, 700_000_123])
        header = FrameHeader("left", 1, seq, at_ns, at_ns + 1, at_ns, (48, width, 3))
        image = (
            as_jpeg(header, shading(header)) if codec == "jpeg" else as_raw(header, shading(header))
        )
        recording.add_frame(header, image)
        headers.append(header)
    recording.finish()
    [path] = export([directory / "a.mcap"], directory / "out", h264=True)
    with av.open(str(path)) as video:
        stream = video.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert stream.time_base == Fraction(1, 1_000_000)
        packets = [packet for packet in video.demux(stream) if packet.size]
        assert [packet.dts for packet in packets] == [packet.pts for packet in packets]
        assert all(packet.duration for packet in packets)
    with av.open(str(path)) as video:
        shown = list(video.decode(video=0))
    begins_ns = headers[0].captured_ns
    assert [picture.pts for picture in shown] == [
        (header.captured_ns - begins_ns) // 1000 for header in headers
    ]
    for picture, header in zip(shown, headers, strict=True):
        difference = picture.to_ndarray(format="bgr24").astype(int) - shading(header)
        assert np.abs(difference).mean() < 4
    with (directory / "out/frames.csv").open() as file:
        rows = [int(row["pts_us"]) for row in csv.DictReader(file)]
    assert rows == [picture.pts for picture in shown]
