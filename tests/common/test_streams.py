"""Standard streams: what a reader that pauses, stops or closes gets, and what becomes of the process."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import pytest

from framepair.nodes.common.streams import Output, visible

PIPE_BYTES = 65536


class Pipe:
    """A pipe that an Output writes to, and its reader."""

    def __init__(self, limit: int) -> None:
        self.reader, self.writer = os.pipe()
        os.set_blocking(self.reader, False)
        self.output = Output(self.writer, limit)

    def read(self) -> str:
        """Return all that has come."""
        text = b""
        with contextlib.suppress(BlockingIOError):
            while chunk := os.read(self.reader, PIPE_BYTES):
                text += chunk
                self.output.flush()
        return text.decode()


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe(limit=10_000)
    yield pipe
    with contextlib.suppress(OSError):
        os.close(pipe.reader)
    os.close(pipe.writer)


def test_a_reader_that_pauses_gets_everything_in_order(pipe: Pipe) -> None:
    lines = [f"line {i} {'x' * 90}\n" for i in range((PIPE_BYTES + 2_000) // 100)]
    for line in lines:
        pipe.output.write(line.encode())
    assert pipe.output.waiting
    assert pipe.read() == "".join(lines)
    assert not pipe.output.waiting


def test_lines_that_do_not_fit_are_dropped_whole_and_counted(pipe: Pipe) -> None:
    count = 2000
    for i in range(count):
        # In pieces, as print() writes.
        pipe.output.write(f"line {i} {'x' * 90}".encode())
        pipe.output.write(b"\n")
    *lines, last = pipe.read().splitlines()
    assert last == f"({count - len(lines)} lines were not read in time and are left out)"
    assert [line.split()[1] for line in lines] == [str(i) for i in range(len(lines))]
    assert all(len(line) == len(f"line {i} ") + 90 for i, line in enumerate(lines))
    pipe.output.write(b"it flows again\n")
    assert pipe.read() == "it flows again\n"


def test_a_closed_reader_is_said_once_and_what_waits_is_forgotten(pipe: Pipe) -> None:
    os.close(pipe.reader)
    with pytest.raises(BrokenPipeError):
        pipe.output.write(b"x\n")
    pipe.output.flush()
    assert not pipe.output.waiting


def test_other_processes_that_share_the_pipe_still_block(pipe: Pipe) -> None:
    pipe.output.write(b"x\n")
    assert os.get_blocking(pipe.writer)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("left 25/25 ±0.1 ms é", "left 25/25 ±0.1 ms é"),
        ("\x1b[2J\x07", "\\x1b[2J\\x07"),
        ("a\nb\r\u202e\x9b", "a\\nb\\r\\u202e\\x9b"),
    ],
)
def test_control_characters_are_written_out(text: str, shown: str) -> None:
    assert visible(text) == shown
