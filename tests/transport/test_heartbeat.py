"""What a heartbeat sends: words once, beats at a rate, nothing that blocks, and nothing for a query."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator

import pytest

from framepair.nodes.common.runtime import Stop
from framepair.protocol.transport import heartbeat as heartbeats
from framepair.protocol.transport.heartbeat import DESCRIPTOR_VARIABLE, Heartbeat, Said, parse


class Pipe:
    """The launcher's end of a heartbeat."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        os.set_blocking(self.reader, False)

    def words(self) -> list[str]:
        """Return what was sent since the last call."""
        try:
            return os.read(self.reader, 1 << 20).decode().split()
        except BlockingIOError:
            return []


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> Iterator[Pipe]:
    pipe = Pipe()
    monkeypatch.setenv(DESCRIPTOR_VARIABLE, str(pipe.writer))
    yield pipe
    os.close(pipe.reader)
    os.close(pipe.writer)


def test_a_word_is_sent_once_and_at_once(pipe: Pipe) -> None:
    heartbeat = Heartbeat()
    heartbeat.tell("ready")
    heartbeat.tell("ready")
    heartbeat.tell("flowing")
    assert [word for word in pipe.words() if word != "beat"] == ["ready", "flowing"]


def test_beats_come_at_most_every_so_often(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now_s)
    heartbeat = Heartbeat()
    for _ in range(10):
        heartbeat.beat()
    assert pipe.words() == ["beat"]
    now_s += heartbeats.BEAT_S
    heartbeat.beat()
    assert pipe.words() == ["beat"]


def test_a_launcher_that_does_not_read_blocks_nothing_and_hears_each_word_later(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    heartbeat = Heartbeat()
    monkeypatch.setattr(heartbeats, "BEAT_S", 0.0)
    os.set_blocking(pipe.writer, False)
    fill(pipe.writer)
    heartbeat.tell("done")
    heartbeat.beat()
    while pipe.words():
        pass
    heartbeat.beat()
    assert pipe.words() == ["done", "beat"]


def fill(descriptor: int) -> None:
    """Write until the last byte of a pipe's room is taken."""
    for size in (1000, 1):
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(descriptor, bytes(size))


class Noted:
    """A status that is kept in memory: how many frames had passed at each turn."""

    def __init__(self) -> None:
        self.turns: list[int] = []

    def write(self, now_s: float, frames: int) -> None:
        assert now_s > 0
        self.turns.append(frames)


@pytest.mark.parametrize("descriptor", ["", "none", "1000000"])
def test_without_a_launcher_only_the_status_is_noted(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch, descriptor: str
) -> None:
    monkeypatch.setenv(DESCRIPTOR_VARIABLE, descriptor)
    status = Noted()
    heartbeat = Heartbeat(status)
    heartbeat.beat()
    heartbeat.count_frames(3)
    heartbeat.tell("ready")
    heartbeat.beat()
    assert status.turns == [0, 3]
    assert pipe.words() == []


def test_to_ask_whether_to_stop_sends_nothing_and_to_wait_does(pipe: Pipe) -> None:
    stop = Stop(Heartbeat().beat)
    assert not stop.is_set()
    assert pipe.words() == []
    assert not stop.wait(0.01)
    assert pipe.words() == ["beat"]


def test_what_is_busy_says_for_how_long_and_only_the_last_word_counts(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    heartbeat = Heartbeat()
    heartbeat.tell_busy(300)
    assert pipe.words() == ["busy", "300.000", "beat"]
    monkeypatch.setattr(heartbeats, "BEAT_S", 0.0)
    fill(pipe.writer)
    heartbeat.tell_busy(5)
    heartbeat.tell_busy(0)
    while pipe.words():
        pass
    heartbeat.beat()
    assert pipe.words() == ["busy", "0.000", "beat"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("ready", Said("ready")),
        ("beat", Said("beat")),
        ("busy 1.5", Said("busy", 1.5)),
        *[
            (line, None)
            for line in ("", "read", "ready 5", "busy", "busy x", "busy -1", "busy nan")
        ],
        ("busy 1e9", None),
    ],
)
def test_a_line_says_one_word(line: str, said: Said | None) -> None:
    assert parse(line) == said
