"""A combiner for tests of consumers, without processes: it publishes on a real socket what it is told to."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import zmq

from framepair.protocol.client.selection import EVERYTHING
from framepair.protocol.transport import sockets
from framepair.protocol.wire import published
from framepair.protocol.wire.frame import FrameHeader
from framepair.protocol.wire.pair import PairHeader, StreamEnd
from tests.lib.processes import PATIENCE_S
from tests.lib.stream import pixels


class Combiner:
    """Publishes what it is told to, and waits rather than lose anything."""

    def __init__(self, xpub: zmq.Socket[bytes]) -> None:
        self._xpub = xpub
        xpub.xpub_nodrop = True
        xpub.sndtimeo = xpub.rcvtimeo = int(PATIENCE_S * 1000)

    def wait_for_subscriber(self, topics: list[bytes] | None = None) -> None:
        wanted = {b"\x01" + name for name in (topics or EVERYTHING.topics())}
        while wanted:
            wanted.discard(self._xpub.recv())

    def send(self, *messages: FrameHeader | PairHeader | StreamEnd) -> None:
        for message in messages:
            self._xpub.send_multipart(parts(message))

    def send_raw(self, *raw: bytes) -> None:
        self._xpub.send_multipart(raw)


def parts(message: FrameHeader | PairHeader | StreamEnd) -> list[bytes]:
    if isinstance(message, FrameHeader):
        # Those in shared memory are where their producer has put them.
        image = b"" if message.payload == "shm" else pixels(message).tobytes()
        return [published.topic_of(message), message.encode(), image]
    return [published.PAIR if isinstance(message, PairHeader) else published.END, message.encode()]


@contextlib.contextmanager
def combiner_at(address: str, hwm: int = 100) -> Iterator[Combiner]:
    with sockets.new_context() as context, sockets.publish(context, address, hwm=hwm) as xpub:
        yield Combiner(xpub)
