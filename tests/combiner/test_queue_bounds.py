"""How much may queue around the combiner: what a peer claims of its rate has no say beyond a fixed bound."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any, cast

import pytest
import zmq
from msgspec.structs import replace

from framepair.nodes.combiner.main import Combiner, Ways
from framepair.nodes.combiner.open_windows import ReceivedFrame
from framepair.nodes.combiner.pace import Rules
from framepair.nodes.combiner.publisher import Publisher
from framepair.nodes.combiner.startup import MAX_HELD_BYTES
from framepair.nodes.combiner.windows import Windows
from framepair.protocol.transport.heartbeat import Heartbeat
from framepair.protocol.wire.frame import FrameHeader
from tests.lib.feed import frame
from tests.lib.units import MS, S


class Quiet:
    """A stop flag that is set, an inbox without messages, subscriptions that nothing is said of."""

    max_bytes: int | None = None
    are_settled = True
    consumers = joined = 0

    def is_set(self) -> bool:
        return True

    def limit(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes

    def read(self) -> None: ...

    def stop(self) -> None: ...

    def join(self) -> None: ...


class Xpub:
    """A socket that keeps its high-water mark, and nothing else."""

    sndhwm = 0

    def get_string(self, option: int) -> str:
        return "ipc:///run/pairs"

    def bind(self, address: str) -> None: ...

    def unbind(self, address: str) -> None: ...

    def send_multipart(self, message: list[bytes], *, copy: bool) -> None: ...


class Messages:
    """An intake of some frames."""

    def __init__(self, headers: tuple[FrameHeader, ...]) -> None:
        self._waiting = [ReceivedFrame(head, zmq.Frame(), head.captured_ns) for head in headers]

    def take(self, until_ns: int, *, patient: bool) -> Iterator[ReceivedFrame[zmq.Frame]]:
        while self._waiting:
            yield self._waiting.pop(0)


def bounds(
    *headers: FrameHeader, most_sources: int = 1, settled: bool = True, window_ns: int = S
) -> tuple[int | None, int]:
    """Return the bytes of the inbox and the messages of the publisher once ``headers``, of left, were taken."""
    rules = Rules(
        window_ns=window_ns,
        max_wait_ns=S,
        idle_timeout_ns=S,
        start_timeout_ns=S,
        pace="realtime",
        max_bytes=None,
    )
    quiet, xpub = cast(Any, Quiet()), cast(Any, Xpub())
    quiet.are_settled = settled
    windows: Windows[zmq.Frame] = Windows(["left"], rules, run=1)
    publisher = Publisher(
        xpub,
        quiet,
        sources=most_sources,
        consumers=1,
        rules=rules,
        max_bytes=None,
        stop=quiet,
        heartbeat=Heartbeat(),
    )
    inboxes = cast(Any, {"left": quiet})
    ways = Ways(inboxes, threading.Event(), xpub, quiet, {}, None, None)
    Combiner(windows, cast(Any, Messages(headers)), publisher, ways, Heartbeat()).run(quiet)
    assert windows.totals()["left"].paired == 1
    return quiet.max_bytes, xpub.sndhwm


def test_two_windows_may_queue() -> None:
    header = frame("left", fps=25.0)
    assert bounds(header) == (2 * 25 * header.nbytes, 2 * 25 + 2)


def test_of_short_windows_as_many_may_queue_as_a_busy_machine_needs() -> None:
    header = frame("left", fps=25.0)
    # 0.4 s: ten frames, and the announcements of ten pairs of one frame.
    assert bounds(header, window_ns=40 * MS) == (10 * header.nbytes, 10 + 10)


def test_there_is_room_for_the_sources_that_there_may_be() -> None:
    header = frame("left", fps=25.0)
    assert bounds(header, most_sources=8) == (2 * 25 * header.nbytes, 8 * 2 * 25 + 2)


def test_queues_stay_as_they_are_while_peers_come_and_go(caplog: pytest.LogCaptureFixture) -> None:
    """libzmq crashes if a queue's length is set while a connection ends (pipe.cpp, send_hwms_to_peer)."""
    assert bounds(frame("left", fps=25.0), settled=False)[1] == Xpub.sndhwm
    assert "peers that connect and leave" in caplog.text


@pytest.mark.parametrize("side", [2000, 4000])
def test_a_rate_that_is_claimed_makes_no_queue_longer_than_the_bound(side: int) -> None:
    header = replace(frame("left", fps=1e4), shape=(side, side, 3))
    inbox_bytes, messages = bounds(header)
    assert inbox_bytes == MAX_HELD_BYTES
    assert 2 < messages <= MAX_HELD_BYTES // header.nbytes + 2


def test_a_frame_that_is_not_accepted_changes_nothing() -> None:
    header = frame("left", fps=25.0)
    again = replace(header, fps=1e4, shape=(2000, 2000, 3))
    assert bounds(header, again) == bounds(header)
