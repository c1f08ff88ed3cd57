"""Videos that come out of a pipe: a FIFO, standard input, <(command)."""

from __future__ import annotations

import contextlib
import os
import pty
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from framepair.nodes.producer.sources.opening import parse
from tests.lib.captures import opened, refusal, seqs
from tests.lib.timed_videos import write_timed

FRAMES = 10


@pytest.fixture
def video(tmp_path: Path) -> bytes:
    path = tmp_path / "a.mkv"
    return write_timed(
        path, [n / 25 for n in range(FRAMES)], container_format="matroska"
    ).read_bytes()


@contextlib.contextmanager
def writing(path: Path, data: bytes) -> Iterator[None]:
    """Write ``data`` to a FIFO once it is read."""

    def write() -> None:
        with contextlib.suppress(BrokenPipeError):
            path.write_bytes(data)

    thread = threading.Thread(target=write)
    thread.start()
    yield
    thread.join()


def count(uri: str) -> int:
    capture = opened(uri)
    frames = 0
    while capture.grab():
        frames += 1
    capture.close()
    return frames


def test_a_fifo_is_played_to_its_end(tmp_path: Path, video: bytes) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with writing(fifo, video):
        assert count(str(fifo)) == FRAMES


def test_a_fifo_that_is_not_written_is_refused_in_time(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    assert "nothing was written to" in refusal(fifo)
    assert "start its writer, or raise --open-timeout" in refusal(fifo)


def test_an_open_file_is_none_of_the_cameras(video: bytes) -> None:
    read, write = os.pipe()

    def feed() -> None:
        os.write(write, video)
        os.close(write)

    thread = threading.Thread(target=feed)
    thread.start()
    assert count(f"/dev/fd/{read}") == FRAMES
    thread.join()
    os.close(read)
    assert parse("/dev/stdin").kind == "file"
    assert parse("/dev/video0").kind == "camera"


def test_what_comes_out_of_a_pipe_may_be_no_video(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with writing(fifo, b"no video at all\n" * 500):
        assert "is not a video that can be played: what comes out of it" in refusal(fifo, 5)


def test_a_terminal_writes_no_video() -> None:
    ours, theirs = pty.openpty()
    assert "is a terminal" in refusal(f"/dev/fd/{theirs}")
    os.close(ours)
    os.close(theirs)


def test_a_pipe_bears_the_times_of_its_frames(tmp_path: Path, video: bytes) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with writing(fifo, video):
        capture = opened(fifo)
        assert capture.grab()
        position = capture.position
        assert position is not None
        assert (position.at_ns, position.next_ns) == (0, 40_000_000)
        assert len(seqs(capture)) == FRAMES - 1
        capture.close()
