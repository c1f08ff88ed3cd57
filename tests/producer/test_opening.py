"""What cannot be opened: one sentence why, and not a word from OpenCV."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from framepair.nodes.common.runtime import Refused
from tests.lib.captures import opened, refusal
from tests.lib.mjpeg_server import MjpegServer, silent_server, unused_address
from tests.lib.videos import write_video


def needs_opencv() -> None:
    """Skip a test of cameras where there are none of OpenCV's libraries."""
    pytest.importorskip("cv2", exc_type=ImportError)


def test_opencv_prints_nothing(tmp_path: Path) -> None:
    needs_opencv()
    broken = write_video(tmp_path / "broken.mp4", frames=20)
    data = bytearray(broken.read_bytes())
    middle = len(data) // 3
    data[middle : middle + 400] = bytes(range(200)) * 2
    broken.write_bytes(data)
    (tmp_path / "text.mp4").write_text("a text\n" * 1000)
    uris = [
        broken,
        tmp_path / "text.mp4",
        tmp_path / "none.mp4",
        "987",
        f"rtsp://{unused_address()}/x",
    ]
    with silent_server() as address, MjpegServer(frames=5) as server:
        uris += [f"rtsp://me:secret@{address}/x", server.url]
        command = [sys.executable, "-c", READ_ALL, *map(str, uris)]
        result = subprocess.run(command, capture_output=True, check=True, text=True)
    assert result.stderr == ""
    assert result.stdout.split() == ["20", *["refused"] * 5, "lost"]


READ_ALL = """
import sys
import numpy as np
from framepair.nodes.producer.sources.opening import open_capture
from framepair.nodes.producer.sources.source import CaptureLost, SourceError
for uri in sys.argv[1:]:
    try:
        capture = open_capture("x", uri, loop=False, open_timeout_s=0.3, read_timeout_s=0.3)
    except SourceError:
        print("refused")
        continue
    frames = 0
    try:
        while capture.grab():
            capture.retrieve(np.empty(capture.format.shape, np.uint8), 0, 0)
            frames += 1
    except CaptureLost:
        print("lost")
    else:
        print(frames)
"""


def test_a_synthetic_source_needs_no_opencv() -> None:
    command = [sys.executable, "-c", DRAW_ONE]
    result = subprocess.run(command, capture_output=True, check=True, text=True)
    assert result.stdout.split() == ["True", "False"]


DRAW_ONE = """
import sys
import numpy as np
from framepair.nodes.producer.sources.opening import open_capture
uri = "synthetic://640x480?encoding=mono8&frames=1"
capture = open_capture("x", uri, loop=False, open_timeout_s=1, read_timeout_s=1)
capture.grab()
image = capture.retrieve(np.empty(capture.format.shape, np.uint8), 0, 0)
print(image.shape == (480, 640, 1), "cv2" in sys.modules)
"""


def test_a_file_needs_no_opencv() -> None:
    path = Path(__file__).parent / "cases" / "cfr25.mp4"
    result = subprocess.run(
        [sys.executable, "-c", READ_WITHOUT_OPENCV, path],
        capture_output=True,
        check=True,
        text=True,
    )
    assert result.stdout.split() == ["100"]


READ_WITHOUT_OPENCV = """
import sys
sys.modules["cv2"] = None
import framepair.nodes.producer.main
import framepair.nodes.producer.probe
from framepair.nodes.producer.sources.opening import open_capture
capture = open_capture("x", sys.argv[1], loop=False, open_timeout_s=1, read_timeout_s=1)
frames = 0
while capture.grab():
    frames += 1
print(frames)
"""


def test_what_is_no_video_is_refused(tmp_path: Path) -> None:
    text, empty = tmp_path / "text.mp4", tmp_path / "empty.mp4"
    text.write_text("a text\n" * 1000)
    empty.touch()
    cut = write_video(tmp_path / "cut.mp4")
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    for path in (text, empty, cut):
        assert f"{path} is not a video that can be played" in refusal(path)
    assert "there is no file" in refusal(tmp_path / "none.mp4")
    assert "there is no file" in refusal(text / "none.mp4")
    assert "is a directory: name a video in it" in refusal(tmp_path)
    assert "cannot be looked at" in refusal(tmp_path / ("x" * 300))


def test_a_name_that_opencv_would_crash_on_is_refused(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"\xff.mp4")
    write_video(tmp_path / "a.mp4").rename(path)
    assert "is not UTF-8" in refusal(path)


def test_a_uri_that_means_nothing_is_refused() -> None:
    message = refusal("ftp://me:secret@host/a")
    assert "ftp:// is no kind of source: name a path" in message
    assert "secret" not in message


def test_a_camera_without_opencv_is_refused_with_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "framepair.nodes.producer.sources.video", None)
    with pytest.raises(
        Refused, match=r"source left: OpenCV.*libgl1.*opencv-python-headless"
    ) as found:
        opened("0")
    assert "\n" not in str(found.value)


def test_a_camera_that_is_not_there_is_refused() -> None:
    needs_opencv()
    assert "there is no camera /dev/video987" in refusal("987")
    assert "/dev/null is no camera" in refusal("/dev/null")
