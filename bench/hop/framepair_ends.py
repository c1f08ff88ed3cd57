"""A producer's end and a combiner's end, as the nodes have them, for the hop from the one to the other."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import zmq

from bench.hop.way import IN_FLIGHT, Place
from framepair.nodes.combiner.intake import parse
from framepair.nodes.combiner.open_windows import ReceivedFrame
from framepair.nodes.common import runtime
from framepair.nodes.producer.outbox import Origin, Outbox
from framepair.nodes.producer.sources.source import Format
from framepair.nodes.producer.stamps import Stamp
from framepair.protocol.clocks import clock
from framepair.protocol.memory.payload import Packed
from framepair.protocol.transport import sockets
from framepair.protocol.transport.heartbeat import Heartbeat

SOURCE = "bench"
FPS = 25.0


class ProducerEnd:
    """Sends what a payload has packed."""

    def __init__(self, outbox: Outbox, shape: tuple[int, int, int]) -> None:
        self.outbox = outbox
        self._format = Format(shape, fps=FPS)

    def send(self, frame: Packed) -> None:
        """Send a frame, captured now, to be followed by another one right away."""
        now_ns = clock.now_ns()
        self.outbox.send(frame, Stamp(now_ns, now_ns), self._format)


@contextlib.contextmanager
def producer(place: Place) -> Iterator[ProducerEnd]:
    """Connect to the combiner's end; a send waits until there is room."""
    runtime.keep_buffers()
    with (
        sockets.new_context() as context,
        sockets.push(context, place.link, hwm=IN_FLIGHT, lossless=True) as push,
    ):
        origin = Origin(SOURCE, run=1, pace="max", lossless=True)
        outbox = Outbox(push, origin, stop=runtime.Stop(), heartbeat=Heartbeat())
        outbox.wait_for_combiner()
        yield ProducerEnd(outbox, place.shape)


@contextlib.contextmanager
def combiner(place: Place) -> Iterator[zmq.Socket[bytes]]:
    """Listen for the producer's end."""
    runtime.keep_buffers()
    with sockets.new_context() as context, sockets.pull(context, place.link) as pull:
        yield pull


def receive(pull: zmq.Socket[bytes]) -> ReceivedFrame[zmq.Frame]:
    """Return the next frame as the combiner has it."""
    while True:
        try:
            parts = pull.recv_multipart(copy=False)
        except zmq.Again:
            continue
        arrival = parse(parts, clock.now_ns(), SOURCE, "max")
        if isinstance(arrival, ReceivedFrame):
            return arrival
