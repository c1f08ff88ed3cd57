"""A real camera on the network that breaks off, freezes, refuses or is switched on late."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from framepair.nodes.producer.sources import opening
from framepair.nodes.producer.sources.opening import Reopening, open_source
from framepair.nodes.producer.sources.pattern import Code, read, source_crc
from framepair.nodes.producer.sources.source import Capture, SourceError
from tests.lib.busy import allowed
from tests.lib.mjpeg_server import MjpegServer, once_connected, silent_server, unused_address
from tests.lib.processes import PATIENCE_S


def never() -> bool:
    return False


def opened(
    uri: str, *, timeout_s: float = 10, stopped: Callable[[], bool] = never, wait: bool = False
) -> Capture:
    return open_source(
        "left", uri, loop=False, open_timeout_s=timeout_s, read_timeout_s=timeout_s,
        stopped=stopped, wait=wait,
    )  # fmt: skip


def marks(capture: Capture) -> Iterator[Code]:
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
    assert message.startswith(f"source left: http://{server.address}/… has sent nothing for 0.")


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
        assert time.monotonic() - asked_s < allowed(3)


def test_a_uri_that_means_nothing_is_not_waited_for() -> None:
    with pytest.raises(SourceError, match="source left: ftp:// is no kind of source"):
        opened("ftp://x", wait=True)


def test_only_live_sources_are_opened_again() -> None:
    assert not isinstance(opened("synthetic://64x36"), Reopening)


def test_without_wait_an_address_where_nobody_listens_is_refused_at_once() -> None:
    asked_s = time.monotonic()
    with pytest.raises(SourceError):
        opened(f"rtsp://{unused_address()}/", timeout_s=2 * PATIENCE_S)
    assert time.monotonic() - asked_s < PATIENCE_S
