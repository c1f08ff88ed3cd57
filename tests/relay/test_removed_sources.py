"""A relay whose sources are removed: their memory is given back, and all else comes as it was published."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import zmq
from msgspec.structs import replace

from framepair.nodes.common.runtime import Stop
from framepair.nodes.common.subscriptions import Subscriptions
from framepair.nodes.relay.main import Relay
from framepair.nodes.relay.rings import Rings
from framepair.protocol.memory import jpeg
from framepair.protocol.transport import sockets
from framepair.protocol.transport.connection_guard import ConnectionGuard
from framepair.protocol.transport.connection_watch import Contact
from framepair.protocol.transport.heartbeat import Heartbeat
from framepair.protocol.wire import published
from framepair.protocol.wire.frame import FrameHeader
from framepair.protocol.wire.pair import PairHeader, StreamEnd
from tests.lib.processes import PATIENCE_S
from tests.lib.publisher import Combiner, combiner_at
from tests.lib.shm import own_directory, rings
from tests.lib.stream import Stream, pixels

SHAPE = (48, 64, 3)


def send(
    combiner: Combiner, compressed: bool, *messages: FrameHeader | PairHeader | StreamEnd
) -> int:
    """Publish ``messages``, perhaps with JPEGs; return how many."""
    for message in messages:
        if compressed and isinstance(message, FrameHeader):
            file = jpeg.encode(np.ascontiguousarray(pixels(message)), 90, "bgr8")
            header = replace(message, payload="jpeg", packed_bytes=len(file))
            combiner.send_raw(published.frame_topic(header.source), header.encode(), file)
        else:
            combiner.send(message)
    return len(messages)


@pytest.mark.parametrize("compressed", [False, True])
def test_the_ring_of_a_removed_source_is_removed_and_made_anew(
    directory: Path, compressed: bool
) -> None:
    at, relayed_at = (f"ipc://{directory}/{name}" for name in ("pairs", "relayed"))
    guard, stream, told = ConnectionGuard(relayed_at), Stream(shape=SHAPE), 0
    with (
        own_directory() as shm,
        combiner_at(at) as combiner,
        sockets.new_context() as context,
        sockets.publish(context, relayed_at, hwm=1000, guard=guard) as xpub,
        sockets.subscribe(context, at, [b""]) as upstream,
        sockets.subscribe(context, relayed_at, [b""]) as consumer,
        closing(Rings(shm, 1, 1.0)) as placing,
        closing(Contact(upstream, at, "there")) as contact,
        closing(
            Relay(upstream, xpub, Subscriptions(xpub, relayed_at, guard), placing, Heartbeat())
        ) as relay,
    ):
        combiner.wait_for_subscriber([b""])
        assert xpub.poll(round(PATIENCE_S * 1000), zmq.POLLIN)
        told += send(combiner, compressed, *stream.whole(0), *stream.window(1))
        stream.sources = ["left"]
        # Right returns before a pair has it again.
        late = stream.pair(1)
        later = [*stream.whole(2), stream.frame("right", 5), stream.pair(3), stream.end()]
        told += send(combiner, compressed, late, *later)
        relay.run(Stop(), contact)
        received: list[list[bytes]] = []
        while len(received) < told:
            assert consumer.poll(round(PATIENCE_S * 1000))
            received.append(consumer.recv_multipart())
        left, right = rings(shm)
    assert (left.split(".")[0], right.split(".")[0]) == ("left", "right")
    found = [published.decode([memoryview(part) for part in parts]) for parts in received]
    names = [
        item[0].location.ring for item in found if isinstance(item, tuple) and item[0].location
    ]
    # The second one of right, and the only one of left.
    assert len(dict.fromkeys(names)) == 3
    assert names[-1] == right
    assert sum(name == left for name in names) == 15
