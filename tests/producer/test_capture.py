"""Files as captures: every frame once, the right way up, where it was asked for."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from framepair.nodes.producer.sources.pattern import Code, read, source_crc
from framepair.nodes.producer.sources.pictures import Pictures
from framepair.nodes.producer.sources.source import Format, FrameLost, SourceError
from tests.lib.captures import opened, retrieved, seqs
from tests.lib.videos import rotate, write_video


@pytest.mark.parametrize("name", ["a.mp4", "a.avi", "with space, 10:30 #1?.mp4", "größe%20.avi"])
def test_a_file_gives_every_frame_once(tmp_path: Path, name: str) -> None:
    capture = opened(write_video(tmp_path / name))
    assert capture.format == Format((180, 320, 3), "bgr8", 20.0, total=10, live=False)
    assert seqs(capture) == list(range(10))
    assert not capture.grab()
    capture.close()
    capture.close()


def test_a_name_with_a_colon_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_video(tmp_path / "tcp:1.mp4", frames=2)
    monkeypatch.chdir(tmp_path)
    assert seqs(opened("tcp:1.mp4")) == [0, 1]


@pytest.mark.parametrize("size", [(320, 180), (322, 182), (1920, 1080)])
def test_frames_are_decoded_in_place(tmp_path: Path, size: tuple[int, int]) -> None:
    capture = opened(write_video(tmp_path / "a.mp4", frames=2, size=size))
    ring = np.zeros((3, *capture.format.shape), np.uint8)
    for slot in (1, 2):
        assert capture.grab()
        out = ring[slot]
        assert capture.retrieve(out, 0, 0) is out
    assert not ring[0].any()
    assert [read(image) for image in ring[1:]] == [Code(source_crc("left"), n, 0) for n in (0, 1)]


def test_frames_are_decoded_into_rows_with_gaps(tmp_path: Path) -> None:
    capture = opened(write_video(tmp_path / "a.mp4"))
    wide = np.zeros((180, 400, 3), np.uint8)
    out = wide[:, 40:360]
    assert capture.grab()
    assert capture.retrieve(out, 0, 0) is out
    assert read(out) == Code(source_crc("left"), 0, 0)
    assert not wide[:, :40].any()
    assert not wide[:, 360:].any()


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_a_rotated_file_comes_upright(tmp_path: Path, degrees: int) -> None:
    path = write_video(tmp_path / "a.mp4", frames=3)
    rotate(path, degrees)
    capture = opened(path)
    assert capture.format.shape == ((180, 320, 3) if degrees == 180 else (320, 180, 3))
    for seq in range(3):
        assert capture.grab()
        image = retrieved(capture)
        back = np.ascontiguousarray(np.rot90(image, degrees // 90))
        assert read(back) == Code(source_crc("left"), seq, 0)


def test_an_array_of_another_shape_is_not_used(tmp_path: Path) -> None:
    capture = opened(write_video(tmp_path / "a.mp4"))
    assert capture.grab()
    image = capture.retrieve(np.empty((10, 10, 3), np.uint8), 0, 0)
    assert image.shape == capture.format.shape == (180, 320, 3)
    assert read(image) is not None


def test_a_frame_may_be_left_out(tmp_path: Path) -> None:
    capture = opened(write_video(tmp_path / "a.avi"))
    assert capture.grab()
    assert capture.grab()
    assert seqs(capture) == list(range(2, 10))


def test_a_looped_file_starts_again(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", frames=3)
    capture = opened(path, loop=True)
    assert capture.format.total == 0
    assert seqs(capture, 8) == [0, 1, 2, 0, 1, 2, 0, 1]
    path.unlink()
    with pytest.raises(SourceError, match="source left: there is no file"):
        seqs(capture, 8)


def test_a_file_that_is_cut_short_ends_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_video(tmp_path / "a.avi", frames=20)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert 5 < len(seqs(opened(path))) < 15
    assert "of 20 frames: the file is damaged or cut short" in caplog.text


def test_a_whole_file_ends_without_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    seqs(opened(write_video(tmp_path / "a.mp4")))
    assert not caplog.records


def test_a_frame_that_cannot_be_decoded_is_lost_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    capture = opened(write_video(tmp_path / "a.mp4"))
    assert capture.grab()
    with monkeypatch.context() as patch:
        patch.setattr(Pictures, "_write", _fail)
        with pytest.raises(FrameLost, match="source left: a frame cannot be converted"):
            retrieved(capture)
    assert seqs(capture) == list(range(1, 10))


def _fail(*_: object) -> None:
    raise av.FFmpegError(22, "Invalid argument")
