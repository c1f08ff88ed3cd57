"""A real camera on the network that breaks off, freezes, refuses or is switched on late."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from framepair.nodes.producer.sources import opening
from framepair.nodes.producer.sources.opening import Reopening, open_source
from framepair.nodes.producer.sources.pattern import Stamp, read, source_crc
from framepair.nodes.producer.sources.source import Capture, SourceError
from tests.lib.mjpeg_server import MjpegServer, silent_server, unused_address
from tests.lib.pipeline import Pipeline
from tests.lib.processes import ROOT, Running, python


def never() -> bool:
    return False


def opened(
    uri: str, *, timeout_s: float = 10, stopped: Callable[[], bool] = never, wait: bool = False
) -> Capture:
    return open_source(
        "left", uri, loop=False, open_timeout_s=timeout_s, read_timeout_s=timeout_s,
        stopped=stopped, wait=wait,
    )  # fmt: skip


def marks(capture: Capture) -> Iterator[Stamp]:
    """Yield what the frames' stamps say; the camera writes the number of the connection as time."""
    while capture.grab():
        mark = read(capture.retrieve(np.empty(capture.format.shape, np.uint8), 0, 0))
        assert mark is not None
        assert mark.source_crc == source_crc("camera")
        yield mark


@pytest.fixture
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(opening, "MAX_PAUSE_S", 0.05)


@pytest.mark.usefixtures("short_pauses")
def test_a_camera_that_breaks_off_is_opened_again() -> None:
    with MjpegServer() as server:
        source = opened(server.url)
        assert isinstance(source, Reopening)
        before = [mark for mark, _ in zip(marks(source), range(3), strict=False)]
        server.cut()
        after = next(mark for mark in marks(source) if mark.captured_ns > 1)
        assert source.reopened == 1
        source.close()
    assert {mark.captured_ns for mark in before} == {1}
    assert after.seq > before[-1].seq


@pytest.mark.usefixtures("short_pauses")
def test_a_camera_that_freezes_is_opened_again(caplog: pytest.LogCaptureFixture) -> None:
    with MjpegServer() as server:
        source = opened(server.url, timeout_s=0.5)
        assert isinstance(source, Reopening)
        assert next(marks(source))
        server.frozen.set()
        with once_connected(server, 3, server.frozen.clear):
            assert next(mark for mark in marks(source) if mark.captured_ns > 1)
        assert source.reopened >= 1
        source.close()
    message = caplog.records[0].message
    assert message.startswith(f"source left: http://{server.address}/video has sent nothing for 0.")


@pytest.mark.usefixtures("short_pauses")
def test_a_camera_that_refuses_is_asked_until_it_accepts() -> None:
    with MjpegServer() as server:
        source = opened(server.url)
        assert isinstance(source, Reopening)
        assert next(marks(source))
        server.refusing.set()
        server.cut()
        with once_connected(server, 4, server.refusing.clear):
            assert next(mark for mark in marks(source) if mark.captured_ns > 1)
        assert source.reopened == 1
        source.close()


@contextmanager
def once_connected(
    server: MjpegServer, connections: int, then: Callable[[], None]
) -> Iterator[None]:
    """Do something as soon as the server has had so many connections."""

    def wait() -> None:
        with server.connected:
            server.connected.wait_for(lambda: server.connections >= connections)
        then()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    yield
    thread.join()


@pytest.mark.usefixtures("short_pauses")
def test_a_camera_that_is_switched_on_later_can_be_waited_for() -> None:
    with MjpegServer() as server:
        server.refusing.set()
        with pytest.raises(SourceError, match=r"source left: http://127.* cannot be opened"):
            opened(server.url)
        with once_connected(server, 3, server.refusing.clear):
            source = opened(server.url, wait=True)
        assert next(marks(source))
        source.close()


@pytest.mark.parametrize("scheme", ["rtsp", "http"])
def test_stopping_ends_the_wait_for_a_silent_camera(scheme: str) -> None:
    with silent_server() as address:
        asked_s = time.monotonic()
        source = opened(f"{scheme}://{address}/x", timeout_s=0.5, stopped=lambda: True, wait=True)
        assert not source.grab()
        assert time.monotonic() - asked_s < 3


def test_a_uri_that_means_nothing_is_not_waited_for() -> None:
    with pytest.raises(SourceError, match="source left: ftp:// is no kind of source"):
        opened("ftp://x", wait=True)


def test_only_live_sources_are_opened_again() -> None:
    assert not isinstance(opened("synthetic://64x36"), Reopening)


def test_without_wait_an_address_where_nobody_listens_is_refused_at_once() -> None:
    asked_s = time.monotonic()
    with pytest.raises(SourceError):
        opened(f"rtsp://{unused_address()}/")
    assert time.monotonic() - asked_s < 5


BOTH = r"left +[1-9]\d*/\d+ +right 5/5"


def test_the_report_tells_of_a_camera_that_was_away() -> None:
    with Pipeline([]) as nodes, MjpegServer() as server:
        report = nodes.run_dir / "report.json"
        flags = ("--run-dir", nodes.run_dir / "run", "--json", report, "--window", "0.2")
        sources = (f"left={server.url}", "right=synthetic://160x120@25")
        command = python(ROOT / "launch.py", *flags, "--verbose", "--idle-timeout", "0.4", *sources)
        with Running(command) as running:
            running.wait_for(BOTH, count=3)
            connections = server.connections
            server.refusing.set()
            lost_s = time.monotonic()
            server.cut()
            running.wait_for(r"left +0/\d+ +right 5/5 .* left offline")
            # At the second attempt the first one has been refused.
            with once_connected(server, connections + 2, server.refusing.clear):
                back = running.wait_for(r"source left is back after (\d+\.\d) s")
            running.wait_for(BOTH, count=whole(running) + 3)
            back_s = time.monotonic() - lost_s
            assert running.stop() == 0
        found = json.loads(report.read_text())
    left, right = (found["sources"][name] for name in ("left", "right"))
    assert (left["reopened"], left["restarts"]) == (1, 0)
    # It ends with the first frame afterwards, and began before the producer noticed: after the last frame, and
    # the time until the next one.
    assert float(back[1]) - 0.2 < left["longest_outage_s"] < back_s + 1
    assert float(back[1]) >= 0.5
    assert (right["reopened"], right["restarts"]) == (0, 0)
    assert found["ledger_balanced"]
    # What a camera did not capture is not lost.
    assert left["gaps"] == 0


def whole(running: Running) -> int:
    """Return how many pairs the sink has told of that have frames of both sources."""
    return sum(bool(re.search(BOTH, line)) for line in running.stdout)
