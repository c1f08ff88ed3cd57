"""Live sources that are lost and come back, and how long that takes and what is said about it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from framepair.nodes.producer.sources import opening as opening_module
from framepair.nodes.producer.sources.opening import Reopening
from framepair.nodes.producer.sources.source import (
    AccessRefused,
    Capture,
    CaptureLost,
    Format,
    FrameLost,
    SourceError,
)

Image = NDArray[np.uint8]

FORMAT = Format((36, 64, 1), "mono8", 10.0, live=True)


class Scripted:
    """A capture that gives ``frames`` frames and is lost then."""

    reopened = skipped = 0
    position = None

    def __init__(self, frames: int, form: Format = FORMAT) -> None:
        self.format, self.frames, self.closed = form, frames, False

    def grab(self) -> bool:
        assert not self.closed
        self.frames -= 1
        if self.frames < 0:
            raise CaptureLost("source left: rtsp://host/x has broken off")
        return True

    def retrieve(self, out: Image, seq: int, captured_ns: int) -> Image:
        out[:] = seq
        return out

    def close(self) -> None:
        self.closed = True


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = 0.0
        self.sleeps_s: list[float] = []
        monkeypatch.setattr(opening_module, "time", self)

    def monotonic(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.sleeps_s.append(seconds)
        self.now_s += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def never() -> bool:
    return False


def opening(outcomes: Iterable[Capture | None]) -> Callable[[], Capture]:
    """Return what opens one capture after the other, and fails where there is none."""
    left = iter(outcomes)

    def open_next() -> Capture:
        capture = next(left)
        if capture is None:
            raise SourceError("source left: rtsp://host/x cannot be opened")
        return capture

    return open_next


def test_frames_flow_again_after_an_outage(clock: Clock) -> None:
    captures = [Scripted(2), Scripted(3), Scripted(1)]
    source = Reopening("left", opening(captures), never)
    assert all(source.grab() for _ in range(6))
    assert source.reopened == 2
    assert [capture.closed for capture in captures] == [True, True, False]
    out = np.zeros(FORMAT.shape, np.uint8)
    assert source.retrieve(out, 7, 0) is out
    assert (out == 7).all()
    source.close()
    assert captures[-1].closed


def test_while_a_source_is_away_it_is_known_to_be_lost(clock: Clock) -> None:
    lost = threading.Event()
    known: list[bool] = []
    outcomes = opening([Scripted(1), None, Scripted(0), Scripted(1)])

    def open_next() -> Capture:
        known.append(lost.is_set())
        return outcomes()

    source = Reopening("left", open_next, never, lost=lost)
    assert all(source.grab() for _ in range(2))
    assert known == [False, True, True, True]
    assert not lost.is_set()


def test_an_outage_is_logged_once_when_it_begins_and_once_when_it_ends(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    # Opened, but lost again before a frame came: that is still the same outage.
    captures = [Scripted(1), None, None, Scripted(0), None, Scripted(1)]
    source = Reopening("left", opening(captures), never)
    assert source.grab()
    assert source.grab()
    assert source.reopened == 1
    assert [(record.name, record.levelname, record.message) for record in caplog.records] == [
        (
            "framepair.nodes.producer.sources.opening",
            "WARNING",
            "source left: rtsp://host/x has broken off; trying again until it works",
        ),
        ("framepair.nodes.producer.sources.opening", "INFO", "source left is back after 4.5 s"),
    ]


def test_pauses_grow_and_begin_anew_after_a_frame(clock: Clock) -> None:
    opened_s: list[float] = []
    outcomes = opening([Scripted(1), *[None] * 7, Scripted(1), Scripted(1)])

    def open_next() -> Capture:
        opened_s.append(clock.now_s)
        return outcomes()

    source = Reopening("left", open_next, never)
    assert all(source.grab() for _ in range(3))
    pauses_s = np.diff(opened_s)
    assert pauses_s == pytest.approx([0.5, 1, 1, 1, 1, 1, 1, 1, 0.5])


def test_what_refuses_the_password_is_asked_less_and_less_often(clock: Clock) -> None:
    opened_s: list[float] = []
    left = iter([Scripted(1), *[None] * 7, Scripted(1)])

    def open_next() -> Capture:
        opened_s.append(clock.now_s)
        capture = next(left)
        if capture is None:
            raise AccessRefused("source left: rtsp://host/x cannot be opened: check the password")
        return capture

    source = Reopening("left", open_next, never)
    assert all(source.grab() for _ in range(2))
    assert np.diff(opened_s) == pytest.approx([0.5, 1, 2, 4, 8, 10, 10, 10])


def test_a_recording_that_comes_as_a_stream_is_refused_but_not_once_it_was_live(
    clock: Clock,
) -> None:
    class Recording(Scripted):
        def grab(self) -> bool:
            raise SourceError("source left: it is a recording")

    with pytest.raises(SourceError):
        Reopening("left", opening([Recording(0)]), never).grab()
    captures = [Scripted(1), Scripted(1), Recording(0), Scripted(1)]
    source = Reopening("left", opening(captures), never)
    assert all(source.grab() for _ in range(3))
    assert source.reopened == 2


@settings(deadline=None)
@given(asked=st.integers(0, 200))
def test_it_stops_at_once_wherever_it_is(asked: int) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        clock = Clock(monkeypatch)
        answers = iter([False] * asked)

        def stopped() -> bool:
            return next(answers, True)

        source = Reopening("left", opening([Scripted(1), *[None] * 1000]), stopped)
        while source.grab():
            pass
        assert source.reopened == 0
        assert source.format == FORMAT
        assert max(clock.sleeps_s, default=0) <= 0.2
        assert len(clock.sleeps_s) <= asked


def test_a_source_may_come_back_in_another_size(clock: Clock) -> None:
    larger = Format((72, 128, 3), live=True)
    source = Reopening("left", opening([Scripted(1), Scripted(1, larger)]), never)
    assert source.grab()
    assert source.format == FORMAT
    assert source.grab()
    assert source.format == larger


def test_a_source_that_cannot_be_opened_at_first_is_refused(clock: Clock) -> None:
    with pytest.raises(SourceError, match="cannot be opened"):
        Reopening("left", opening([None]), never)


def test_a_source_can_be_waited_for(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    source = Reopening("left", opening([None, None, Scripted(1)]), never, wait=True)
    assert source.format == FORMAT
    assert source.grab()
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_waiting_for_a_source_can_be_stopped(clock: Clock) -> None:
    source = Reopening("left", opening([None] * 9), lambda: clock.now_s > 1, wait=True)
    assert not source.grab()
    with pytest.raises(CaptureLost, match="source left was never there"):
        _ = source.format
    with pytest.raises(FrameLost):
        source.retrieve(np.zeros((1, 1, 1), np.uint8), 0, 0)


def test_a_capture_that_is_over_is_over(clock: Clock) -> None:
    class Over(Scripted):
        def grab(self) -> bool:
            return False

    assert not Reopening("left", opening([Over(0)]), never).grab()
