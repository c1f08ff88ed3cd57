"""Video files as captures: each frame once, with the time and the picture that it has."""

from __future__ import annotations

import itertools
import json
import logging
import wave
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from framepair.nodes.producer.sources.decoding import any_text
from framepair.nodes.producer.sources.opening import parse
from framepair.nodes.producer.sources.source import FrameLost, SourceError
from framepair.nodes.producer.sources.uri import Wanted
from framepair.nodes.producer.sources.video_file import VideoFile
from tests.lib.numbered import COLOURS, numbered, patches, read_number
from tests.lib.timed_videos import damage, write_timed

CASES = Path(__file__).parent / "cases"
TRUTH: dict[str, list[tuple[int, float]]] = json.loads((CASES / "truth.json").read_text())
# How far to turn a picture back before its number is read, and what isn't to be read in it at all:
# AV1 at the lowest of rates is blurred, and what follows a hole shows what was before it.
TURNS = {"rot90.mp4": -1}
ILLEGIBLE = {"av1.mkv": range(2, 25), "hole.mp4": range(39, 100)}
GREY = [(76, 76, 76), (150, 150, 150), (29, 29, 29), (255, 255, 255)]

Image = NDArray[np.uint8]
Shown = tuple[int | None, float]


def opened(path: Path, *, loop: bool = False, number: int | None = None) -> VideoFile:
    return VideoFile("left", parse(str(path)), loop=loop, wanted=Wanted(stream=number))


def images(video: VideoFile, most: int = 1000) -> list[tuple[Image | None, float]]:
    """Return each frame's picture, None if it is damaged, and its time in seconds."""
    found: list[tuple[Image | None, float]] = []
    while len(found) < most and video.grab():
        at_s = video.position.at_ns / 1e9
        try:
            found.append((video.retrieve(np.empty(video.format.shape, np.uint8), 0, 0), at_s))
        except FrameLost:
            found.append((None, at_s))
    return found


def played(video: VideoFile, most: int = 1000) -> list[Shown]:
    """Return the number of each frame, None if it is damaged, and its time in seconds."""
    return [
        (None if image is None else read_number(image), at_s) for image, at_s in images(video, most)
    ]


def approximately(times_s: Iterable[float], numbers: Iterable[int] | None = None) -> object:
    """Return what compares equal to played frames, to a microsecond, that bear these numbers, or 0, 1, 2…"""
    return [
        (number, pytest.approx(at_s, abs=1e-6))
        for number, at_s in zip(numbers or itertools.count(), times_s, strict=False)
    ]


def times(video: VideoFile) -> list[float]:
    return [at_s for _, at_s in played(video)]


@pytest.mark.parametrize("name", sorted(TRUTH))
def test_every_frame_comes_once_with_its_own_time(name: str) -> None:
    found = images(opened(CASES / name))
    assert [at_s for _, at_s in found] == pytest.approx(
        [at_s for _, at_s in TRUTH[name]], abs=0.001
    )
    for index, ((image, _), (number, _)) in enumerate(zip(found, TRUTH[name], strict=True)):
        if index not in ILLEGIBLE.get(name, ()) and image is not None:
            assert read_number(np.rot90(image, TURNS.get(name, 0))) in (number, number - 1000)


@pytest.mark.parametrize("name", sorted(TRUTH))
def test_the_time_of_the_next_frame_is_known(name: str) -> None:
    video = opened(CASES / name)
    promised: list[int] = []
    found: list[int] = []
    while video.grab():
        found.append(video.position.at_ns)
        promised.append(video.position.next_ns)
    assert promised[:-1] == found[1:]
    assert promised[-1] > found[-1]


@pytest.mark.parametrize("name", sorted(TRUTH.keys() - {"hdr.mp4"}))
def test_colours_are_right(name: str) -> None:
    image, _ = images(opened(CASES / name), 1)[0]
    assert image is not None
    expected = GREY if name == "gray16.mkv" else COLOURS
    found = patches(np.rot90(image, TURNS.get(name, 0)))
    assert np.abs(found - expected).max() <= 6


def test_hdr_is_decoded_in_its_own_matrix() -> None:
    image, _ = images(opened(CASES / "hdr.mp4"), 1)[0]
    assert image is not None
    assert np.abs(patches(image) - COLOURS).max() < 40


@pytest.mark.parametrize(
    ("matrix", "full"), [("bt709", False), ("bt709", True), ("bt470bg", False), ("bt470bg", True)]
)
def test_matrix_and_range_that_the_stream_names_are_used(
    tmp_path: Path, matrix: str, full: bool
) -> None:
    path = tmp_path / "a.mp4"
    _write_planes(path, matrix, full)
    image, _ = images(opened(path), 1)[0]
    assert image is not None
    assert np.abs(image.reshape(-1, 3).mean(axis=0) - (40, 180, 90)).max() <= 3


def _write_planes(path: Path, matrix: str, full: bool) -> None:
    """Write one colour, blue 40, green 180, red 90, converted by hand: nothing of FFmpeg's takes part."""
    blue, green, red = 40.0, 180.0, 90.0
    of_red, of_blue = {"bt709": (0.2126, 0.0722), "bt470bg": (0.299, 0.114)}[matrix]
    luma = of_red * red + (1 - of_red - of_blue) * green + of_blue * blue
    chroma = (blue - luma) / (2 - 2 * of_blue), (red - luma) / (2 - 2 * of_red)
    levels = [luma, *(128 + each for each in chroma)]
    if not full:
        levels = [16 + luma * 219 / 255, *(128 + each * 224 / 255 for each in chroma)]
    planes = np.zeros((96, 64), np.uint8)
    planes[:64], planes[64:80], planes[80:] = (round(level) for level in levels)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        stream.options = {
            "qp": "0",
            "x264-params": f"colormatrix={matrix}:fullrange={'on' if full else 'off'}",
        }
        container.mux(stream.encode(av.VideoFrame.from_ndarray(planes, format="yuv420p")))
        container.mux(stream.encode(None))


@pytest.mark.parametrize("size", [(383, 255), (130, 97), (384, 256)])
@pytest.mark.parametrize("pixels", ["bgra", "bgr0"])
def test_any_size_and_an_alpha_channel_can_be_had(
    tmp_path: Path, size: tuple[int, int], pixels: str
) -> None:
    path = write_timed(tmp_path / "a.mkv", [0, 0.04], codec="ffv1", size=size, pixels=pixels)
    video = opened(path)
    assert video.format.shape == (size[1], size[0], 3)
    assert played(video) == [(0, 0), (1, 0.04)]


def test_frames_are_written_into_the_memory_that_is_given() -> None:
    video = opened(CASES / "cfr25.mp4")
    wide = np.zeros((256, 500, 3), np.uint8)
    out = wide[:, 60:444]
    assert video.grab()
    assert video.retrieve(out, 0, 0) is out
    assert read_number(out) == 0
    assert not wide[:, :60].any()
    assert not wide[:, 444:].any()
    assert video.retrieve(np.empty((10, 10, 3), np.uint8), 0, 0).shape == (256, 384, 3)


def test_the_best_stream_is_played_or_the_one_that_is_asked_for() -> None:
    path = CASES / "two_streams.mkv"
    assert opened(path).format.shape == (256, 384, 3)
    assert opened(path, number=0).format.shape == (128, 192, 3)
    assert opened(path, number=1).format.shape == (256, 384, 3)
    with pytest.raises(SourceError, match="has no video stream 2: it has 2, counted from 0"):
        opened(path, number=2)


def test_damaged_frames_are_lost_alone(caplog: pytest.LogCaptureFixture) -> None:
    found = images(opened(CASES / "hole.mp4"))
    assert [index for index, (image, _) in enumerate(found) if image is None] == [*range(39, 45)]
    assert not caplog.records


def test_frames_that_are_damaged_near_the_end_are_counted(tmp_path: Path) -> None:
    path = write_timed(tmp_path / "a.mp4", [n / 25 for n in range(50)])
    found = images(opened(damage(path, [45, 47, 48])))
    assert [at_s for _, at_s in found] == pytest.approx([n / 25 for n in range(50)])
    assert {45, 47, 48} <= {index for index, (image, _) in enumerate(found) if image is None}


def test_a_whole_file_is_not_called_damaged(caplog: pytest.LogCaptureFixture) -> None:
    for name in TRUTH:
        images(opened(CASES / name))
    assert not caplog.records


def test_recordings_that_were_joined_go_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    parts = [
        write_timed(
            tmp_path / f"{start}.ts",
            [start + n / 25 for n in range(30)],
            container_format="mpegts",
            b_frames=2,
        ).read_bytes()
        for start in (0, 3600)
    ]
    joined = tmp_path / "joined.ts"
    joined.write_bytes(parts[0] + parts[1] + parts[0])
    found = played(opened(joined))
    assert [number for number, _ in found] == 3 * [*range(30)]
    assert [at_s for _, at_s in found] == pytest.approx([n / 25 for n in range(90)], abs=0.001)
    assert [record.getMessage() for record in caplog.records] == [
        f"source left: {joined} has a jump of 3.6e+03 s: going on at 25 fps from there"
    ]


def test_a_recording_may_pause_for_an_hour(tmp_path: Path) -> None:
    expected = [*(n / 25 for n in range(10)), *(3600 + n / 25 for n in range(10))]
    assert times(opened(write_timed(tmp_path / "a.mp4", expected))) == pytest.approx(expected)


@pytest.mark.parametrize("b_frames", [0, 2])
@pytest.mark.parametrize("codec", ["mpeg4", "libx264"])
def test_avi_has_only_times_of_decoding(tmp_path: Path, codec: str, b_frames: int) -> None:
    expected = [n / 25 for n in range(40)]
    path = write_timed(
        tmp_path / "a.avi", expected, codec=codec, tick=Fraction(1, 25), b_frames=b_frames
    )
    video = opened(path)
    assert video.format.total == 40
    assert played(video) == approximately(expected)


def test_frames_that_avi_leaves_out_leave_a_gap(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    expected = [n / 25 for n in range(100) if n % 4 < 2]
    path = write_timed(
        tmp_path / "a.avi", expected, codec="mjpeg", pixels="yuvj420p", tick=Fraction(1, 25)
    )
    video = opened(path)
    assert video.format.fps == 25
    assert times(video) == pytest.approx(expected)
    assert not caplog.records


def test_frames_without_times_come_at_a_rate(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_timed(tmp_path / "a.h264", [n / 25 for n in range(20)], b_frames=2)
    assert played(opened(path)) == approximately(n / 25 for n in range(20))
    slow = VideoFile("left", parse(str(path)), wanted=Wanted(fps=10))
    assert slow.format.fps == 10
    assert times(slow) == pytest.approx([n / 10 for n in range(20)])
    assert "has frames without times: going on at 25 fps" in caplog.text


@pytest.mark.parametrize("fps", [1 / 150, 0.5, 240, 2000])
def test_any_rate_is_measured(tmp_path: Path, fps: float) -> None:
    expected = [n / fps for n in range(20)]
    video = opened(write_timed(tmp_path / "a.mkv", expected, rate=fps))
    assert video.format.fps == pytest.approx(fps, rel=0.05)
    assert times(video) == pytest.approx(expected, abs=0.001)


def test_a_rate_that_the_container_made_up_is_not_believed() -> None:
    assert opened(CASES / "recorder.webm").format.fps == 30


def test_pictures_that_are_numbered_are_a_video(tmp_path: Path) -> None:
    for number in range(5):
        cv2.imwrite(str(tmp_path / f"img_{number:04d}.png"), numbered(number))
    expected = approximately(n / 25 for n in range(5))
    assert played(opened(tmp_path / "img_%04d.png")) == expected
    assert played(opened(tmp_path / "*.png")) == expected
    slow = VideoFile("left", parse(str(tmp_path / "*.png")), wanted=Wanted(fps=2))
    assert times(slow) == pytest.approx([n / 2 for n in range(5)])
    with pytest.raises(SourceError, match=r"there are no pictures .*: check the pattern"):
        opened(tmp_path / "*.jpg")


def test_a_looped_file_goes_on_in_time(tmp_path: Path) -> None:
    path = write_timed(tmp_path / "a.mp4", [0, 0.04, 0.2])
    video = opened(path, loop=True)
    assert video.format.total == 0
    starts_s = (0, 0.24, 0.48)
    expected = [start_s + at_s for start_s in starts_s for at_s in (0, 0.04, 0.2)]
    assert played(video, 7) == approximately(expected[:7], [0, 1, 2, 0, 1, 2, 0])
    path.unlink()
    with pytest.raises(SourceError, match="source left: there is no file"):
        played(video)


def test_a_file_that_is_cut_short_ends_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_timed(
        tmp_path / "a.avi",
        [n / 20 for n in range(20)],
        codec="mjpeg",
        pixels="yuvj420p",
        rate=20,
        tick=Fraction(1, 20),
    )
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert 5 < len(times(opened(path))) < 15
    assert "of 20 frames: the file is damaged or cut short" in caplog.text


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("no_moov.mp4", "it is an unfinished mp4, whose recording was cut off before its index"),
        ("empty.mp4", "it is empty"),
        ("text.mp4", "it is of another kind, or cut short"),
        ("text.txt", "it has no video in it"),
        ("sound.wav", "it has no video in it, only audio"),
    ],
)
def test_what_is_no_video_is_refused_in_one_sentence(tmp_path: Path, name: str, why: str) -> None:
    path = tmp_path / name
    path.write_bytes((CASES / name).read_bytes() if (CASES / name).exists() else b"")
    if name.startswith("text"):
        path.write_text("a text\n" * 1000)
    if name == "sound.wav":
        _write_sound(path)
    with pytest.raises(SourceError) as refused:
        opened(path)
    assert str(refused.value).startswith(
        f"source left: {path} is not a video that can be played: {why}"
    )
    assert "\n" not in str(refused.value)


def _write_sound(path: Path) -> None:
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(bytes(8000))


def test_pyav_is_told_what_it_knows() -> None:
    assert any_text("17.0.1") == any_text("18.1.0") == {"metadata_errors": "replace"}
    assert any_text("19.0.2") == {}


def test_ffmpeg_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    logging.getLogger("libav").setLevel(logging.DEBUG)
    for name in ("hole.mp4", "interlaced.mpg"):
        images(opened(CASES / name))
    assert capfd.readouterr() == ("", "")


# A phone's with B-frames, one without an index, planes that are interlaced, one whose video begins late.
BEGUN = [
    "vfr_phone_left.mp4",
    "recorder.webm",
    "vfr_screen.mkv",
    "interlaced.mpg",
    "late_video.mp4",
]


@pytest.mark.parametrize("name", BEGUN)
def test_from_its_middle_on_the_frames_are_the_same(name: str) -> None:
    whole = images(opened(CASES / name))
    for start_s in (whole[len(whole) // 2][1], whole[-1][1], whole[2][1] + 0.001):
        wanted = Wanted(start_ns=round(start_s * 1e9))
        video = VideoFile("left", parse(str(CASES / name)), wanted=wanted)
        assert video.format.start_ns == wanted.start_ns
        rest = [(image, at_s) for image, at_s in whole if round(at_s * 1e9) >= wanted.start_ns]
        found = images(video)
        assert [at_s + start_s for _, at_s in found] == pytest.approx([at_s for _, at_s in rest])
        assert all(
            image is not None and expected is not None and np.array_equal(image, expected)
            for (image, _), (expected, _) in zip(found, rest, strict=True)
        )
        video.close()


def test_looped_from_its_middle_on() -> None:
    path = CASES / "vfr_phone_left.mp4"
    once = times(VideoFile("left", parse(str(path)), wanted=Wanted(start_ns=10**9)))
    video = VideoFile("left", parse(str(path)), loop=True, wanted=Wanted(start_ns=10**9))
    found = [at_s for _, at_s in played(video, 2 * len(once))]
    assert found[: len(once)] == once
    shift_s = found[len(once)] - once[0]
    assert found[len(once) :] == pytest.approx([at_s + shift_s for at_s in once])
    video.close()


def test_a_start_behind_its_end_is_said() -> None:
    with pytest.raises(SourceError, match="--start 3600s: it ends before that: begin earlier"):
        VideoFile("left", parse(str(CASES / "cfr25.mp4")), wanted=Wanted(start_ns=3600 * 10**9))
