"""How much a pipeline may take at most, on its links and in memory. Arithmetic only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from framepair.protocol.client import assembly
from framepair.protocol.memory import payload
from framepair.protocol.memory.payload import Payload
from framepair.protocol.memory.shm import Shm
from framepair.protocol.transport import sockets
from framepair.protocol.wire.frame import Encoding

MB = 10**6
# The interpreter with the libraries of each node, as it is resident with tiny frames (45, 26, 71, 37, 53 and
# 92 MB, a monitor while five browsers look), and some more for other versions of those.
BASE_BYTES = {
    "sink": 70 * MB,
    "combiner": 50 * MB,
    "relay": 60 * MB,
    "video": 100 * MB,
    "synthetic": 60 * MB,
    "recorder": 80 * MB,
    "monitor": 140 * MB,
}
# What waits for a recorder's disk and its encoders: messages, and pictures of one chunk.
RECORDER_QUEUE_BYTES, RECORDER_CHUNK_BYTES, ENCODERS = 256 * 1024 * 1024, 32 * MB, 4
# Frames of a source that a monitor keeps while a browser looks.
SHOWN_FRAMES = 8
# What a decoder and its conversion keep of a video, in decoded frames.
DECODER_FRAMES = 24
# Frames that are being captured, received or sent, beside those that queue.
IN_HAND = 3
# Freed buffers are kept for the next frames, not always where those fit in.
HEAP = 1.25


@dataclass(frozen=True, slots=True)
class Format:
    """What a source's frames look like: shape and encoding of the array, and their nominal rate."""

    shape: tuple[int, int, int]
    fps: float = 25.0
    encoding: Encoding = "bgr8"


@dataclass(frozen=True, slots=True)
class Source:
    """One source as far as it is known: its frames (None: not yet known), and how they travel.

    ``message_bytes`` is what one of its frames took in a message, None if that isn't known.
    """

    name: str
    format: Format | None
    payload: Payload
    synthetic: bool
    address: str
    message_bytes: int | None = None

    @property
    def frame_bytes(self) -> int:
        """How many bytes a frame takes, 0 if that isn't known."""
        return math.prod(self.format.shape) if self.format else 0

    @property
    def bytes_per_s(self) -> float:
        """How many bytes of pixels it captures in a second."""
        return self.frame_bytes * self.format.fps if self.format else 0.0

    @property
    def link_bytes_per_s(self) -> float:
        """How many bytes its link carries for them, if all messages are as large as the one that is known."""
        if self.format is not None and self.message_bytes is not None:
            return self.message_bytes * self.format.fps
        return 0.0 if self.payload.one_machine else self.bytes_per_s


@dataclass(frozen=True, slots=True)
class Limits:
    """What the user says of windows and queues; see the options of the same names."""

    window_s: float
    max_bytes: int | None
    keep: int
    history_s: float
    """As long as rings are made, not only as asked for."""
    max_wait_s: float
    """How long a pair waits at most for a slow source."""
    max_sources: int | None = None
    """How many sources there may be, None: as many as there are at the start."""


def queue_bytes(source: Source, limits: Limits) -> int:
    """Return how much of a source may queue at a link."""
    if source.format is None or source.payload.one_machine:
        return 0
    default = sockets.window_bytes(source.frame_bytes, source.format.fps, limits.window_s)
    most = limits.max_bytes or default
    return sockets.queue_frames(most, source.frame_bytes) * source.frame_bytes


def ring_bytes(source: Source, limits: Limits) -> int:
    """Return how much shared memory a source reserves."""
    if source.format is None:
        return 0
    return source.payload.ring_bytes(source.format.shape, source.format.fps, limits.history_s)


def producer_bytes(source: Source, limits: Limits) -> int:
    """Return how much memory a producer takes at most; its ring is counted here."""
    base = BASE_BYTES["synthetic" if source.synthetic else "video"]
    frames = IN_HAND + (0 if source.synthetic else DECODER_FRAMES)
    queued = queue_bytes(source, limits) + frames * source.frame_bytes
    return base + round(HEAP * queued) + ring_bytes(source, limits)


def combiner_bytes(sources: Sequence[Source], limits: Limits, subscribers: int = 1) -> int:
    """Return how much memory the combiner takes at most, with so many subscribers that don't receive."""
    received = sum(queue_bytes(source, limits) + _in_hand(source) for source in sources)
    held = sum(
        round(source.bytes_per_s * limits.window_s)
        for source in sources
        if not source.payload.one_machine
    )
    queued = received + held + subscribers * published_bytes(sources, limits)
    return BASE_BYTES["combiner"] + round(HEAP * queued)


def published_bytes(sources: Sequence[Source], limits: Limits) -> int:
    """Return how much may queue for one subscriber.

    The mark counts messages, whose sizes differ: were only the largest to come, it would hold more of them.
    """
    carried = [source for source in sources if source.format and queue_bytes(source, limits)]
    if not carried:
        return 0
    rates = [(source.format.fps, source.frame_bytes) for source in carried if source.format]
    without, mark = (
        sockets.publisher_queue(rates, most, limits.window_s, limits.max_bytes)
        for most in (len(rates), limits.max_sources or len(rates))
    )
    largest = max(source.frame_bytes for source in carried)
    return min(mark * largest, _longest(carried, limits) * mark // without)


def sink_bytes(sources: Sequence[Source], limits: Limits) -> int:
    """Return how much memory our sink, or a consumer with nothing else in it, takes at most."""
    # While a pair waits for a slow source, the others' frames of the windows after it come already.
    waiting = math.ceil(limits.max_wait_s / limits.window_s)
    windows = limits.keep + assembly.OTHER_WINDOWS + waiting
    held = 0
    for source in sources:
        if source.format is not None and not source.payload.one_machine:
            frames = math.ceil(source.format.fps * limits.window_s) + 1
            held += windows * frames * source.frame_bytes + _in_hand(source)
    return BASE_BYTES["sink"] + round(HEAP * held)


def recorder_bytes(sources: Sequence[Source]) -> int:
    """Return how much memory the recorder takes at most."""
    largest = max((source.frame_bytes for source in sources), default=0)
    held = RECORDER_QUEUE_BYTES + 2 * RECORDER_CHUNK_BYTES + ENCODERS * largest
    return BASE_BYTES["recorder"] + round(HEAP * (held + sum(map(_in_hand, sources))))


def monitor_bytes(sources: Sequence[Source]) -> int:
    """Return how much memory the monitor takes at most, while browsers look."""
    shown = sum(
        SHOWN_FRAMES * source.frame_bytes + _in_hand(source)
        for source in sources
        if not source.payload.one_machine
    )
    return BASE_BYTES["monitor"] + round(HEAP * shown)


def relay_ring_bytes(source: Source, limits: Limits) -> int:
    """Return how much shared memory a relay reserves for a source's frames."""
    if source.format is None or source.payload.one_machine:
        return 0
    history_s = payload.relayed_history_s(limits.history_s, limits.window_s)
    return Shm().ring_bytes(source.format.shape, source.format.fps, history_s)


def relay_bytes(sources: Sequence[Source], limits: Limits) -> int:
    """Return how much memory a relay takes at most; its rings are counted here."""
    held = sum(_in_hand(source) for source in sources)
    rings = sum(relay_ring_bytes(source, limits) for source in sources)
    return BASE_BYTES["relay"] + round(HEAP * held) + rings


def _in_hand(source: Source) -> int:
    return 0 if source.payload.one_machine else (IN_HAND + sockets.DRAINED_HWM) * source.frame_bytes


def _longest(sources: Sequence[Source], limits: Limits) -> int:
    """Return the bytes of all sources in the time that fills the queue, were it all of one rate."""
    rates = [source.format.fps for source in sources if source.format]
    default = sum(queue_bytes(source, limits) for source in sources)
    return round(default * max(rates) / min(rates)) if rates else 0
