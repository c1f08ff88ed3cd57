"""A decoder takes any bytes or raises ProtocolError, and what encode makes of it can be decoded."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import numpy as np
import zmq
from msgspec import Struct

from framepair.nodes.combiner.intake import Clock, parse
from framepair.nodes.combiner.open_windows import ReceivedFrame
from framepair.protocol.clocks.comparison import Comparison, Offset, Steering
from framepair.protocol.memory import jpeg
from framepair.protocol.memory.ring import Shape
from framepair.protocol.wire import frame, pair, published, recorded, sync
from framepair.protocol.wire.frame import Alive, Encoding, FrameHeader, Pace
from framepair.protocol.wire.header import MAX_INT, Header, ProtocolError
from framepair.protocol.wire.sync import Pong
from tests.fuzz.draws import Draws
from tests.lib.headers import KINDS
from tests.lib.malformed import packed, unpacked

NOW_NS = 10**18
WINDOW_NS, MS = 10**9, 10**6
ENCODED: tuple[tuple[Shape, Encoding], ...] = (
    ((36, 64, 3), "bgr8"),
    ((36, 64, 1), "mono8"),
    ((36, 64, 1), "i420"),
)
TOPICS = (b"frame.left.", b"frame.left.+", published.PAIR, published.END, b"frame.", b"")
CLOCKS: tuple[Clock, ...] = ("ours", "compared", "theirs")
PACES: tuple[Pace, ...] = ("realtime", "max")


def comes_back(header: Header, decode: Callable[[bytes], Struct]) -> None:
    """Check that what encode gives, decode takes."""
    try:
        assert decode(header.encode()) == header
    except ProtocolError as error:
        raise AssertionError(f"cannot be decoded: {header}") from error


def edited(data: bytes) -> None:
    """Decode good headers of which some fields say anything else."""
    draws = Draws(data)
    kind = draws.choice(list(KINDS.values()))
    fields = unpacked(kind.header.encode())
    while draws.left:
        holder = fields
        while isinstance(inner := holder[draws.choice(list(holder))], dict) and inner:
            holder = inner
        name = draws.choice(list(holder))
        holder[name] = draws.choice(
            [draws.number(), -draws.number(), holder[name], None, float("nan")]
        )
    header = packed(fields)
    if kind.decode is frame.decode:
        from_producers(header)
    elif kind.decode is pair.decode:
        announcements(header)
    else:
        _words(header)


def _words(data: bytes) -> None:
    pings(data)
    with contextlib.suppress(ProtocolError):
        comes_back(recorded.decode(data), recorded.decode)
    with contextlib.suppress(ProtocolError):
        comes_back(sync.decode_pong(data), sync.decode_pong)


def from_producers(data: bytes) -> None:
    """Decode a producer's header, and pass it on as the combiner does."""
    with contextlib.suppress(ProtocolError):
        header = frame.decode(data)
        comes_back(header, frame.decode)
        if isinstance(header, FrameHeader | Alive):
            comes_back(header.corrected(), frame.decode)


def announcements(data: bytes) -> None:
    """Decode a pair or the end of a stream."""
    with contextlib.suppress(ProtocolError):
        comes_back(pair.decode(data), pair.decode)


def pings(data: bytes) -> None:
    """Decode a question for the time, and answer it."""
    with contextlib.suppress(ProtocolError):
        ping = sync.decode_ping(data)
        comes_back(ping, sync.decode_ping)
        comes_back(Pong(ping.sent_ns, NOW_NS, NOW_NS, combiner=1), sync.decode_pong)


def pongs(data: bytes) -> None:
    """Compare clocks by answers that say anything, and stamp a frame by what was found."""
    draws, comparison, steering = Draws(data), Comparison(), Steering()
    now_ns = NOW_NS
    while draws.left:
        now_ns += draws.below(256) * MS
        ping_ns, received_ns = (
            draws.near(now_ns, -MS),
            draws.number() if draws.chance(2) else now_ns,
        )
        pong = Pong(ping_ns, received_ns, draws.near(received_ns + 64, 1), combiner=draws.below(3))
        with contextlib.suppress(ProtocolError):
            comparison.add(sync.decode_pong(pong.encode()), now_ns)
        found = comparison.offset(now_ns)
        if found is not None:
            comes_back(_stamped(now_ns, steering.follow(found, now_ns)), frame.decode)


def _stamped(now_ns: int, offset: Offset) -> FrameHeader:
    return FrameHeader(
        source="left", run=1, seq=0, captured_ns=now_ns, next_ns=now_ns, sent_ns=now_ns,
        shape=(36, 64, 3), offset_ns=offset.ns, uncertainty_ns=offset.uncertainty_ns,
    )  # fmt: skip


def incoming(data: bytes) -> None:
    """Take a message of several parts in, as the combiner does, and accept it into a window."""
    draws = Draws(data)
    clock, pace, spare = draws.choice(CLOCKS), draws.choice(PACES), draws.below(4)
    header = draws.rest()
    with contextlib.suppress(ProtocolError):
        known = frame.decode(header)
        nbytes = known.message_bytes if isinstance(known, FrameHeader) else 0
        # As many as it says, or other ones; no more than a fuzzer has time for.
        parts = [header, *[bytes(min(nbytes, 10**5))] * (spare != 3), *[b""] * (spare == 2)]
        taken = parse([zmq.Frame(part) for part in parts], NOW_NS, "left", pace, clock)
        if isinstance(taken, ReceivedFrame):
            index = taken.header.captured_ns // WINDOW_NS
            comes_back(taken.header.accepted(index, WINDOW_NS, NOW_NS), frame.decode)


def outgoing(data: bytes) -> None:
    """Decode a message of a publisher, as a consumer does."""
    draws = Draws(data)
    topic, pixels = draws.choice(TOPICS), draws.below(3)
    header = draws.rest()
    parts = [memoryview(topic), memoryview(header)]
    with contextlib.suppress(ProtocolError):
        if pixels:
            known = frame.decode(header)
            nbytes = known.message_bytes if isinstance(known, FrameHeader) else 0
            parts.append(memoryview(bytes(min(nbytes, 10**5))))
        found = published.decode(parts)
        if isinstance(found, Header):
            comes_back(found, pair.decode)
        else:
            assert found[0].nbytes <= MAX_INT


def pictures(data: bytes) -> None:
    """Decode a JPEG file, of a picture that the header said is there."""
    draws = Draws(data)
    shape, encoding = draws.choice(ENCODED)
    with contextlib.suppress(ProtocolError):
        jpeg.decode(memoryview(draws.rest()), np.empty(shape, np.uint8), encoding)
