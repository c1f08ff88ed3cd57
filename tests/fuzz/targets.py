"""The table of what is fuzzed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from framepair.protocol.memory import jpeg
from framepair.protocol.recording import images
from framepair.protocol.recording.segment import LEDGER, PAIRS
from framepair.protocol.wire import frame, pair, sync
from tests.fuzz import consumers, decoders, recordings, windows
from tests.lib.headers import KINDS
from tests.lib.malformed import Decode


@dataclass(frozen=True)
class Target:
    """What takes any bytes and raises nothing as long as all is well, and some bytes to begin with."""

    run: Callable[[bytes], None]
    seeds: tuple[bytes, ...] = ()
    max_bytes: int = 512


def _encoded(decode: Decode, prefix: bytes = b"") -> tuple[bytes, ...]:
    return tuple(prefix + kind.header.encode() for kind in KINDS.values() if kind.decode == decode)


_GREY = np.full((36, 64, 1), 99, np.uint8)
_PICTURES = (
    b"\0" + jpeg.encode(np.full((36, 64, 3), 99, np.uint8), 90, "bgr8"),
    b"\1" + jpeg.encode(_GREY, 90, "mono8"),
    b"\2" + jpeg.encode(_GREY, 90, "i420"),
)
_ANNOUNCED = (*_encoded(pair.decode, b"\1\0"), *_encoded(pair.decode, b"\2\0"))
_KINDS = {images.COMPRESSED: b"\0", images.RAW: b"\1", PAIRS: b"\2", LEDGER: b"\3"}
_RECORDED = tuple(
    _KINDS[logged.schema or logged.topic] + bytes(logged.message.data)
    for logged in recordings.messages()[-20:]
)
TARGETS = {
    "producers": Target(decoders.from_producers, _encoded(frame.decode)),
    "announcements": Target(decoders.announcements, _encoded(pair.decode), 2048),
    "pings": Target(decoders.pings, _encoded(sync.decode_ping)),
    "pongs": Target(decoders.pongs, max_bytes=96),
    "edited headers": Target(decoders.edited, max_bytes=64),
    "incoming": Target(decoders.incoming, _encoded(frame.decode, bytes(3))),
    "outgoing": Target(decoders.outgoing, (*_encoded(frame.decode, b"\0\1"), *_ANNOUNCED), 2048),
    "pictures": Target(decoders.pictures, _PICTURES, 2048),
    "recordings": Target(recordings.files, (recordings.a_file(),), 2048),
    "chunks": Target(recordings.chunks, (recordings.a_chunk(),), 2048),
    "recorded messages": Target(recordings.recorded, _RECORDED, 2048),
    "windows": Target(windows.run, max_bytes=128),
    "lost messages": Target(consumers.honest, max_bytes=64),
    "lies": Target(consumers.lying, max_bytes=96),
}
