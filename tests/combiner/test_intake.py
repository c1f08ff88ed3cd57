"""In which order messages are taken, and which are refused."""

from __future__ import annotations

from collections import deque
from typing import cast

import pytest
import zmq
from msgspec.structs import replace

from framepair.nodes.combiner.inbox import Inbox, Received
from framepair.nodes.combiner.intake import MIN_MAX_FRAME_BYTES, QUIET_NS, Intake
from framepair.nodes.combiner.open_windows import ReceivedFrame
from framepair.protocol.wire.frame import FrameHeader
from framepair.protocol.wire.header import Header
from framepair.protocol.wire.recorded import FromProducer
from tests.lib.feed import alive, frame
from tests.lib.units import MS


class StandIn:
    """An inbox that holds what a test puts there."""

    address = "ipc:///run/some.frames"

    def __init__(self, source: str) -> None:
        self.source = source
        self._waiting: deque[Received] = deque()

    def put(self, received_ns: int, header: Header, pixels: bytes | None = None) -> None:
        parts = [zmq.Frame(header.encode())]
        self._waiting.append(
            Received(received_ns, parts if pixels is None else [*parts, zmq.Frame(pixels)])
        )

    def take(self) -> Received | None:
        return self._waiting.popleft() if self._waiting else None

    def take_overflowed(self) -> int:
        return 0


class Account:
    """What was refused."""

    def __init__(self) -> None:
        self.rejected: list[str] = []
        self.rivals: list[FromProducer] = []

    def reject(self, source: str) -> None:
        self.rejected.append(source)

    def reject_rival(self, message: FromProducer) -> None:
        self.rivals.append(message)

    def overflow(self, source: str, count: int) -> None:
        raise AssertionError(source, count)


class Taking:
    """An intake of left and right."""

    def __init__(self, max_frame: int | None = None) -> None:
        self.left, self.right = StandIn("left"), StandIn("right")
        self.account = Account()
        inboxes = [cast(Inbox, self.left), cast(Inbox, self.right)]
        self.intake = Intake(inboxes, self.account, max_frame=max_frame)

    def take(self, until_ns: int) -> list[tuple[str, int]]:
        """Return source and time of what is taken."""
        return [(one.header.source, one.received_ns) for one in self.intake.take(until_ns)]


def sized(seq: int, height: int, width: int) -> FrameHeader:
    """Return the header of a frame of so many pixels, as a JPEG of four bytes."""
    return replace(frame("left", seq), shape=(height, width, 3), payload="jpeg", packed_bytes=4)


def test_after_a_pause_messages_are_taken_in_the_order_of_their_reception() -> None:
    """Else a window would close, as of the newest message of one source, before the other's were seen."""
    taking = Taking()
    for seq in range(5):
        taking.left.put(seq * 40 * MS, frame("left", seq), bytes(12))
    taking.right.put(70 * MS, frame("right"), bytes(12))
    taking.right.put(300 * MS, frame("right", 1), bytes(12))
    taken = taking.take(10**9)
    assert [ns // MS for _, ns in taken] == [0, 40, 70, 80, 120, 160, 300]


def test_what_is_received_meanwhile_is_taken_the_next_time() -> None:
    taking = Taking()
    taking.left.put(10, frame("left"), bytes(12))
    taking.left.put(30, frame("left", 1), bytes(12))
    assert taking.take(20) == [("left", 10)]
    taking.right.put(25, frame("right"), bytes(12))
    assert taking.take(40) == [("right", 25), ("left", 30)]


def test_signs_of_life_are_taken_in_between() -> None:
    taking = Taking()
    taking.left.put(10, alive("left", 0.5, 1))
    taking.right.put(5, frame("right"), bytes(12))
    assert taking.take(20) == [("right", 5), ("left", 10)]


def test_a_frame_may_be_four_times_as_large_as_the_first_and_50_mb_at_least() -> None:
    taking = Taking()
    for seq, (height, width) in enumerate([(2, 2), (4000, 4000), (4100, 4100), (4, 4)]):
        taking.left.put(seq, sized(seq, height, width), bytes(4))
    assert [ns for _, ns in taking.take(10)] == [0, 1, 3]
    assert taking.account.rejected == ["left"]
    assert 4000 * 4000 * 3 < MIN_MAX_FRAME_BYTES < 4100 * 4100 * 3


def test_the_first_frame_of_each_run_decides_how_large_the_others_may_be() -> None:
    taking = Taking()
    gone_ns = 2 + QUIET_NS
    sizes = [(2, 4100, 2), (gone_ns, 4100, 4100), (gone_ns + 1, 8200, 4100), (gone_ns + 2, 2, 2)]
    for seq, (received_ns, height, width) in enumerate(sizes):
        run = 1 if received_ns < gone_ns else 2
        taking.left.put(received_ns, replace(sized(seq, height, width), run=run), bytes(4))
    assert [ns for _, ns in taking.take(2 * gone_ns)] == [ns for ns, *_ in sizes]


def test_a_rival_does_not_decide_how_large_frames_may_be() -> None:
    taking = Taking()
    taking.left.put(0, alive("left", 0.0, 0, run=1))
    taking.left.put(1, replace(sized(0, 4100, 4100), run=2), bytes(4))
    taking.left.put(2, replace(sized(0, 2, 2), run=1), bytes(4))
    taking.left.put(3, replace(sized(1, 4100, 4100), run=1), bytes(4))
    assert [ns for _, ns in taking.take(10)] == [0, 2]
    assert [message.run for message in taking.account.rivals] == [2]
    assert taking.account.rejected == ["left"]


@pytest.mark.parametrize("height", [101, 1000])
def test_a_frame_beyond_max_frame_is_refused_counted_and_said(
    height: int, caplog: pytest.LogCaptureFixture
) -> None:
    taking = Taking(max_frame=100 * 100 * 3)
    taking.left.put(0, sized(0, height, 100), bytes(4))
    taking.left.put(1, sized(1, 100, 100), bytes(4))
    assert [ns for _, ns in taking.take(10)] == [1]
    assert taking.account.rejected == ["left"]
    assert "more than 30000: raise --max-frame" in caplog.text


def test_a_second_producer_is_refused_and_accounted_for() -> None:
    taking = Taking()
    taking.left.put(0, frame("left", run=1), bytes(12))
    taking.left.put(1, frame("left", run=2), bytes(12))
    (taken,) = taking.intake.take(10)
    assert isinstance(taken, ReceivedFrame)
    assert [message.run for message in taking.account.rivals] == [2]
