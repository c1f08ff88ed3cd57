"""Recordings as sources: their times, names and pictures, also of recordings that another program made."""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from av.video.frame import VideoFrame
from mcap_protobuf.writer import Writer
from msgspec.structs import replace

from framepair.nodes.common.runtime import Refused
from framepair.nodes.launcher import recordings
from framepair.nodes.launcher.names import is_missing_file
from framepair.nodes.producer.options import Options
from framepair.nodes.producer.parts import refuse_impossible
from framepair.nodes.producer.sources import opening
from framepair.nodes.producer.sources.recording_file import Track
from framepair.nodes.producer.sources.source import (
    Capture,
    Compressed,
    FrameName,
    Position,
    Retelling,
    Retold,
    SourceError,
)
from framepair.nodes.producer.sources.uri import AS_IT_IS, Wanted
from framepair.protocol.memory import jpeg
from framepair.protocol.recording import images
from framepair.protocol.recording.segment import Segment
from framepair.protocol.wire.frame import FrameHeader
from tests.lib.recordings import WINDOWS, as_jpeg, as_raw, write
from tests.lib.stream import WINDOW_NS, Stream, pixels
from tests.lib.units import MS

FIRST = 1_700_000_000


def recorded(path: Path, *, finish: bool = True, first: int = FIRST) -> list[FrameHeader]:
    """Record two windows, left as JPEG and right as pixels; return the headers of the frames."""
    stream = Stream(period_ns=40 * MS, first=first)
    segment, headers = Segment(path), []
    for message in (*stream.next(), *stream.next()):
        if isinstance(message, FrameHeader):
            header = replace(
                message, stamp="driver", stamp_uncertainty_ns=5, next_ns=message.next_ns
            )
            segment.add_frame(
                header, as_jpeg(header) if header.source == "left" else as_raw(header)
            )
            headers.append(header)
    segment.flush()
    (segment.finish if finish else segment.close)()
    return headers


def track(uri: str | Path, wanted: Wanted = AS_IT_IS) -> Track:
    capture = opening.open_capture(
        "it", str(uri), loop=False, open_timeout_s=1, read_timeout_s=1, wanted=wanted
    )
    assert isinstance(capture, Track)
    return capture


@pytest.mark.parametrize("finish", [True, False])
def test_frames_have_the_times_and_names_that_they_had(directory: Path, finish: bool) -> None:
    headers = recorded(directory / "a.mcap", finish=finish)
    for source in ("left", "right"):
        capture, mine = (
            track(f"{directory}/a.mcap#{source}"),
            [h for h in headers if h.source == source],
        )
        begins_ns = FIRST * WINDOW_NS
        assert capture.format.begins_ns == begins_ns
        assert (capture.format.shape, capture.format.fps) == ((6, 8, 3), 5.0)
        for place, header in enumerate(mine):
            assert capture.grab()
            following = mine[place + 1].captured_ns if place + 1 < len(mine) else None
            next_ns = following or header.captured_ns + header.period_ns
            assert capture.position == Position(
                header.captured_ns - begins_ns, next_ns - begins_ns, "driver", 5,
                FrameName(header.run, header.seq, 0), header.captured_ns,
            )  # fmt: skip
            image = capture.retrieve(np.empty((6, 8, 3), np.uint8), 0, 0)
            if source == "right":
                assert np.array_equal(image, pixels(header))
                assert capture.file() is None
            else:
                file, expected = capture.file(), np.empty((6, 8, 3), np.uint8)
                assert file == as_jpeg(header).data
                jpeg.decode(memoryview(as_jpeg(header).data), expected, "bgr8")
                assert np.array_equal(image, expected)
        assert not capture.grab()
        capture.close()


def test_the_files_of_a_directory_are_one_recording(directory: Path) -> None:
    lane = directory / "lane"
    lane.mkdir()
    later = recorded(lane / "20261129T120010.000Z.mcap", first=FIRST + 2)
    headers = [*recorded(lane / "20261129T120000.000Z.mcap", finish=False), *later]
    assert recordings.expanded([str(lane)]) == [
        f"{name}={lane}/*.mcap#{name}" for name in ("left", "right")
    ]
    assert recordings.expanded([f"{lane}/#left", f"door={lane}#right"]) == [
        f"left={lane}/*.mcap#left",
        f"door={lane}/*.mcap#right",
    ]
    for source in ("left", "right"):
        capture = track(f"{lane}/*.mcap#{source}")
        expected = [header for header in headers if header.source == source]
        times = []
        while capture.grab():
            times.append(capture.position.at_ns + FIRST * WINDOW_NS)
        assert times == [header.captured_ns for header in expected]
        capture.close()


def test_a_file_that_is_gone_when_its_turn_comes_is_said(directory: Path) -> None:
    recorded(directory / "a.mcap")
    recorded(directory / "b.mcap", first=FIRST + 2)
    capture = track(f"{directory}/*.mcap#left")
    (directory / "b.mcap").unlink()
    grabbed = [capture.grab() for _ in range(9)]
    assert all(grabbed)
    with pytest.raises(SourceError, match=r"cannot read .*b\.mcap: No such .*: check the path$"):
        capture.grab()
    capture.close()


def test_a_directory_without_recordings_is_none(directory: Path) -> None:
    assert recordings.expanded([str(directory)]) == [str(directory)]
    with pytest.raises(SourceError, match=r"has no \.mcap file in it: name a recording"):
        track(f"{directory}/*.mcap")


def test_other_pixels_and_sizes_are_made_of_what_was_recorded(directory: Path) -> None:
    recorded(directory / "a.mcap")
    for source in ("left", "right"):
        capture = track(f"{directory}/a.mcap#{source}", Wanted(pixels="mono8", size=(4, None)))
        assert (capture.format.shape, capture.format.encoding) == ((3, 4, 1), "mono8")
        assert capture.grab()
        assert capture.file() is None
        assert capture.retrieve(np.empty((3, 4, 1), np.uint8), 0, 0).shape == (3, 4, 1)
        capture.close()


def picture(level: int, codec: str, pixels_of: str = "rgb24") -> bytes:
    """Return a grey picture of 64x48 as a file."""
    context = av.CodecContext.create(codec, "w")
    assert isinstance(context, av.VideoCodecContext)
    context.width, context.height, context.pix_fmt = 64, 48, pixels_of
    context.time_base = Fraction(1, 25)
    image = np.full((48, 64, 3), level, np.uint8)
    shown = VideoFrame.from_ndarray(image, format="rgb24").reformat(format=pixels_of)
    return b"".join(bytes(packet) for packet in [*context.encode(shown), *context.encode(None)])


def progressive(level: int) -> bytes:
    """Return a grey picture as a JPEG file in several scans, which the wire does not take."""
    image = np.full((48, 64, 3), level, np.uint8)
    done, file = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])
    assert done
    return file.tobytes()


PICTURES: dict[str, tuple[str, Callable[[int], bytes], bool]] = {
    "baseline": ("jpeg", lambda level: picture(level, "mjpeg", "yuvj420p"), True),
    "baseline, other colours": ("jpg", lambda level: picture(level, "mjpeg", "yuvj422p"), True),
    "progressive": ("jpeg", progressive, False),
    "png": ("png", lambda level: picture(level, "png"), False),
}


@pytest.mark.parametrize("kind", PICTURES)
def test_a_recording_of_another_program(directory: Path, kind: str) -> None:
    """Its JPEG files travel as they are, if they are of a kind that consumers take."""
    name, made, as_it_is = PICTURES[kind]
    pool = importlib.import_module("google.protobuf.descriptor_pool").DescriptorPool()
    files = importlib.import_module("google.protobuf.descriptor_pb2").FileDescriptorSet()
    files.ParseFromString(images.schema(images.COMPRESSED))
    for file in files.file:
        pool.Add(file)
    factory = importlib.import_module("google.protobuf.message_factory")
    message = factory.GetMessageClass(pool.FindMessageTypeByName(images.COMPRESSED))
    with (directory / "b.mcap").open("wb") as out, Writer(out) as writer:
        for place, level in enumerate((10, 100, 200)):
            writer.write_message(
                topic="/front camera/image",
                message=message(data=made(level), format=name),
                log_time=FIRST * WINDOW_NS + place * 40 * MS,
            )
    assert recordings.expanded([str(directory / "b.mcap")]) == [
        f"front-camera-image={directory}/b.mcap#front-camera-image"
    ]
    capture = track(directory / "b.mcap")
    assert (capture.format.shape, capture.format.fps) == ((48, 64, 3), 25.0)
    levels: list[int] = []
    while capture.grab():
        assert capture.position.named is None
        level = (10, 100, 200)[len(levels)]
        assert capture.file() == (made(level) if as_it_is else None)
        levels.append(int(capture.retrieve(np.empty((48, 64, 3), np.uint8), 0, 0).mean()))
    assert levels == pytest.approx([10, 100, 200], abs=2)
    capture.close()


def test_a_recording_stands_for_all_of_its_sources(directory: Path) -> None:
    recorded(directory / "a.mcap")
    path = f"{directory}/a.mcap"
    both = [f"left={path}#left", f"right={path}#right"]
    assert recordings.expanded([path, "door=0"]) == [*both, "door=0"]
    assert recordings.expanded([f"{path}#left"]) == both[:1]
    assert recordings.expanded([f"door={path}#left"]) == [f"door={path}#left"]
    with pytest.raises(Refused, match=r"has several sources: say which one is door: door=.*#left"):
        recordings.expanded([f"door={path}"])


@pytest.mark.parametrize(
    ("content", "why"),
    [(None, "No such file"), (b"", "is empty"), (b"something", "is no MCAP file")],
)
def test_what_cannot_be_played_is_refused(directory: Path, content: bytes | None, why: str) -> None:
    path = directory / "a.mcap"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(Refused, match=why):
        recordings.expanded([str(path)])
    with pytest.raises(SourceError, match=why):
        track(path)


def wrong(uris: Sequence[str]) -> None:
    for uri in uris:
        with pytest.raises(SourceError, match=r"name a source of .*: it has left, right"):
            track(uri)


def test_a_source_that_is_not_in_it_is_named(directory: Path) -> None:
    recorded(directory / "a.mcap")
    wrong([f"{directory}/a.mcap#middle", f"{directory}/a.mcap"])


def test_a_source_of_a_recording_is_a_file_that_is_there(directory: Path) -> None:
    recorded(directory / "a.mcap")
    assert not is_missing_file(f"{directory}/a.mcap#left")
    assert is_missing_file(f"{directory}/b.mcap#left")


def grabbed(capture: Capture, most: int = 10**6) -> list[Position]:
    """Return the positions of the frames of ``capture``, and close it."""
    found: list[Position] = []
    while len(found) < most and capture.grab():
        assert capture.position is not None
        found.append(capture.position)
    capture.close()
    return found


def opened(uri: str, wanted: Wanted = AS_IT_IS, *, loop: bool = False) -> Capture:
    return opening.open_capture(
        "it", uri, loop=loop, open_timeout_s=1, read_timeout_s=1, wanted=wanted
    )


@pytest.mark.parametrize("finish", [True, False])
def test_it_begins_with_the_window_of_the_start(directory: Path, finish: bool) -> None:
    headers = write(directory / "a.mcap", finish=finish)
    capture = opened(f"{directory}/a.mcap#right", Wanted(start_ns=1_700 * MS))
    first_ns = headers[0].captured_ns // WINDOW_NS * WINDOW_NS + WINDOW_NS
    assert (capture.format.begins_ns or 0) + capture.format.start_ns == first_ns
    expected = [h for h in headers if h.source == "right" and h.captured_ns >= first_ns]
    assert isinstance(capture, Track)
    assert capture.window_ns == WINDOW_NS
    positions = grabbed(capture)
    assert [each.recorded_ns for each in positions] == [h.captured_ns for h in expected]
    assert [each.at_ns + first_ns for each in positions] == [h.captured_ns for h in expected]
    with pytest.raises(SourceError, match="--start 60s: it ends before: begin earlier"):
        opened(f"{directory}/a.mcap#right", Wanted(start_ns=60 * 1000 * MS))


def test_looped_it_goes_on_after_whole_windows_as_other_runs(directory: Path) -> None:
    headers = write(directory / "a.mcap")
    length_ns = WINDOWS * WINDOW_NS
    for source in ("left", "right"):
        capture = opened(f"{directory}/a.mcap#{source}", loop=True)
        assert isinstance(capture, Track)
        mine = [header for header in headers if header.source == source]
        for number, header in itertools.product(range(3), mine):
            assert capture.grab()
            at_ns = header.captured_ns - (capture.format.begins_ns or 0) + number * length_ns
            run = header.run + number * length_ns
            position = capture.position
            assert (position.at_ns, position.recorded_ns) == (at_ns, header.captured_ns)
            assert position.named == FrameName(run, header.seq, 0)
        capture.close()


def test_looped_its_windows_and_totals_go_on(directory: Path) -> None:
    write(directory / "a.mcap")
    capture = opened(f"{directory}/a.mcap#left", loop=True)
    told: list[Retold] = []
    assert isinstance(capture, Track)
    while len(told) < 3 * WINDOWS:
        told += capture.retold()
        assert capture.grab()
    capture.close()
    starts = [each.start_ns for each in told]
    assert starts == [starts[0] + place * WINDOW_NS for place in range(len(told))]
    captured = [each.clip.totals.captured for each in told]
    assert captured == sorted(captured)
    assert captured[-1] >= 2 * captured[WINDOWS - 1]


def test_at_another_speed_frames_keep_names_and_files(directory: Path) -> None:
    write(directory / "a.mcap")
    uri = f"{directory}/a.mcap#left"
    plain, fast = opened(uri), opened(uri, Wanted(speed=2.0))
    assert fast.format.fps == 2 * plain.format.fps
    assert isinstance(fast, Compressed)
    assert isinstance(fast, Retelling)
    assert fast.window_ns is None
    assert fast.grab()
    assert plain.grab()
    assert isinstance(plain, Track)
    assert fast.file() == plain.file()
    slow_at, fast_at = grabbed(plain), grabbed(fast)
    assert [each.at_ns for each in fast_at] == [round(each.at_ns / 2) for each in slow_at]
    assert [each.named for each in fast_at] == [each.named for each in slow_at]


def test_what_is_live_has_no_middle_and_no_speed() -> None:
    for wanted, why in (
        (Wanted(start_ns=1), "--start: only a file"),
        (Wanted(speed=2.0), "--speed: what"),
    ):
        with pytest.raises(SourceError, match=why):
            opened("rtsp://127.0.0.1/live", wanted)


def test_speed_and_pace_max_exclude_each_other() -> None:
    options = Options(name="left", source="a.mcap", push="ipc:///tmp/x", pace="max", speed=2.0)
    with pytest.raises(Refused, match="--speed: --pace max is as fast as possible"):
        refuse_impossible(options)
