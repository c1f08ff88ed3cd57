"""Signs of life: what a producer says while it has no frame, and that no such promise is broken."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from threading import Event

import numpy as np
import pytest
import zmq
from numpy.typing import NDArray

from framepair.nodes.common.runtime import Stop
from framepair.nodes.producer.alive import ALIVE_S, saying_alive
from framepair.nodes.producer.main import Stream
from framepair.nodes.producer.outbox import Origin, Outbox
from framepair.nodes.producer.sources.source import Format, Position
from framepair.nodes.producer.stamps import LiveStamps, PacedStamps
from framepair.protocol.clocks import clock
from framepair.protocol.memory.payload import Packed
from framepair.protocol.memory.raw import RawWriter
from framepair.protocol.transport import sockets
from framepair.protocol.transport.heartbeat import Heartbeat
from framepair.protocol.wire import frame
from framepair.protocol.wire.frame import Alive, FrameHeader, FromProducer
from tests.lib.pipeline import Pipeline
from tests.lib.processes import PATIENCE_S

SHAPE = (36, 64, 3)
FORMAT = Format(SHAPE, fps=25.0, live=True)
PATIENCE_MS = round(PATIENCE_S * 1000)
PIXELS = np.zeros(SHAPE, np.uint8).data


@dataclass
class Link:
    """A producer's socket, and the combiner's end of it."""

    push: zmq.Socket[bytes]
    pull: zmq.Socket[bytes]
    now: int = 10**18
    stop: Stop = field(default_factory=Stop)

    def now_ns(self) -> int:
        return self.now

    def outbox(self, lossless: bool = False) -> Outbox:
        origin = Origin("left", 7, "max" if lossless else "realtime", lossless)
        outbox = Outbox(
            self.push, origin, stop=self.stop, heartbeat=Heartbeat(), now_ns=self.now_ns
        )
        outbox.wait_for_combiner()
        return outbox

    def received(self) -> FromProducer:
        assert self.pull.poll(PATIENCE_MS)
        return frame.decode(self.pull.recv_multipart()[0])


@pytest.fixture
def link() -> Iterator[Link]:
    with (
        Pipeline(["left"]) as nodes,
        sockets.new_context() as context,
        sockets.pull(context, nodes.endpoints.pull["left"]) as pull,
        sockets.push(context, nodes.endpoints.pull["left"], hwm=2, lossless=False) as push,
    ):
        yield Link(push, pull)


def test_a_silent_camera_promises_nothing_before_now(link: Link) -> None:
    outbox, stamps = link.outbox(), LiveStamps(25.0, link.now_ns)
    stamp = outbox.stamp(stamps)
    outbox.send(Packed(PIXELS), stamp, FORMAT)
    outbox.stamp(stamps)
    outbox.drop()
    assert isinstance(link.received(), FrameHeader)
    link.now += 3 * 10**9
    assert outbox.say_alive(stamps, 0.0) == 0.0
    said = link.received()
    assert said == Alive(
        source="left", run=7, seq=2, dropped=1, sent_ns=link.now, next_ns=link.now, stamp="arrival"
    )


def test_a_frame_that_is_being_decoded_is_not_promised_away(link: Link) -> None:
    outbox, stamps = link.outbox(), LiveStamps(25.0, link.now_ns)
    stamp = outbox.stamp(stamps)
    link.now += 3 * 10**9
    outbox.say_alive(stamps, 0.0)
    outbox.send(Packed(PIXELS), stamp, FORMAT)
    said, sent = link.received(), link.received()
    assert isinstance(said, Alive)
    assert isinstance(sent, FrameHeader)
    assert said.next_ns == sent.captured_ns == stamp.captured_ns
    assert said.seq == sent.seq == 0


def test_a_promise_that_a_frame_gave_is_not_taken_back(link: Link) -> None:
    # One picture in ten seconds: the next one is 5 s away at the least.
    outbox, stamps = link.outbox(), LiveStamps(0.1, link.now_ns)
    stamp = outbox.stamp(stamps)
    outbox.send(Packed(PIXELS), stamp, FORMAT)
    link.received()
    link.now += 10**9
    outbox.say_alive(stamps, 0.0)
    said = link.received()
    assert isinstance(said, Alive)
    assert said.next_ns == stamp.next_ns > link.now


def test_nothing_is_said_while_frames_flow(link: Link) -> None:
    outbox, stamps = link.outbox(), LiveStamps(25.0, link.now_ns)
    outbox.send(Packed(PIXELS), outbox.stamp(stamps), FORMAT)
    assert 0.0 < outbox.say_alive(stamps, ALIVE_S) <= ALIVE_S
    link.received()
    assert not link.pull.poll(0)


def test_without_a_combiner_nothing_waits_and_nothing_piles_up() -> None:
    with (
        Pipeline(["left"]) as nodes,
        sockets.new_context() as context,
        sockets.push(context, nodes.endpoints.pull["left"], hwm=100, lossless=False) as push,
    ):
        outbox = Outbox(
            push, Origin("left", 7, "realtime", lossless=False), stop=Stop(), heartbeat=Heartbeat()
        )
        stamps = LiveStamps(25.0)
        for _ in range(20):
            outbox.say_alive(stamps, 0.0)
        began_ns = clock.now_ns()
        with sockets.pull(context, nodes.endpoints.pull["left"]) as pull:
            assert push.poll(PATIENCE_MS, zmq.POLLOUT)
            outbox.say_alive(stamps, 0.0)
            said = frame.decode(pull.recv_multipart()[0])
            assert isinstance(said, Alive)
            assert said.sent_ns >= began_ns
            assert not pull.poll(0)


def test_a_camera_that_is_lost_has_no_sign_of_life_until_it_is_back(link: Link) -> None:
    outbox, lost = link.outbox(), Event()
    lost.set()
    with saying_alive(outbox, LiveStamps(25.0, link.now_ns), lost):
        assert not link.pull.poll(round(2.5 * ALIVE_S * 1000))
        lost.clear()
        assert isinstance(link.received(), Alive)


class Undecoded:
    """A capture of a few frames that counts how many were decoded."""

    format = FORMAT
    reopened = skipped = 0
    position = None

    def __init__(self, frames: int) -> None:
        self.frames, self.decoded = frames, 0

    def grab(self) -> bool:
        self.frames -= 1
        return self.frames >= 0

    def retrieve(self, out: NDArray[np.uint8], seq: int, captured_ns: int) -> NDArray[np.uint8]:
        self.decoded += 1
        return out

    def close(self) -> None:
        pass


def test_a_frame_without_room_is_counted_and_not_decoded() -> None:
    with (
        Pipeline(["left"]) as nodes,
        sockets.new_context() as context,
        sockets.push(context, nodes.endpoints.pull["left"], hwm=2, lossless=False) as push,
    ):
        stop, heartbeat = Stop(), Heartbeat()
        outbox = Outbox(
            push, Origin("left", 7, "realtime", lossless=False), stop=stop, heartbeat=heartbeat
        )
        capture = Undecoded(10)
        Stream(capture, RawWriter(), LiveStamps(25.0), outbox, heartbeat).run(None, stop)
        assert (outbox.seq, outbox.dropped) == (10, 10)
        # The first is tried: only then is it known that no combiner is there.
        assert capture.decoded == 1


def test_a_paced_source_promises_its_next_frame() -> None:
    stamps = PacedStamps(10.0, 5 * 10**9, lambda: 5 * 10**9)
    assert stamps.earliest_ns() == 5 * 10**9
    stamp = stamps.stamp(Position(0, 100_000_000))
    assert stamps.earliest_ns() == stamp.next_ns == 5_100_000_000
