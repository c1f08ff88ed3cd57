"""How far a node's clock is from the combiner's, as NTP finds out: four stamps, and the least delay counts.

A ping leaves at t1 on the node's clock and arrives at t2 on the combiner's; its pong leaves at t3 and is here
at t4. If the way there and the way back took equally long, the combiner's clock is
((t2 - t1) + (t3 - t4)) / 2 ahead; however long they took, that is wrong by half of the whole delay at most.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

from protocol import header
from protocol.frame import SLEW_PPM
from protocol.header import MAX_INT, Fields, ProtocolError

MAX_BYTES = 512
# No clock goes faster or slower than this, in seconds a second: it is what NTP allows for.
MAX_DRIFT = 500e-6
# An offset is made up for at SLEW_PPM, so that stamps go on steadily; a larger one at once.
STEP_NS = 100_000_000
KEPT = 64


@dataclass(frozen=True, slots=True)
class Ping:
    """A node's question at ``sent_ns`` on its clock; producers say of which ``source`` and ``run`` they are."""

    sent_ns: int
    source: str | None = None
    run: int = 0

    def encode(self) -> bytes:
        """Return the message as it travels."""
        return header.pack({"kind": "ping", **header.fields_of(self)})


@dataclass(frozen=True, slots=True)
class Pong:
    """The answer of a ``combiner``, named by its run, to the ping of ``ping_ns``: when it came and this went.

    The combiner has taken the frames of the source's run below ``taken``, as far as they got there.
    """

    ping_ns: int
    received_ns: int
    sent_ns: int
    combiner: int
    taken: int = 0

    def encode(self) -> bytes:
        """Return the message as it travels."""
        return header.pack({"kind": "pong", **header.fields_of(self)})


def decode_ping(data: bytes | memoryview) -> Ping:
    """Return what a node asks; raises ProtocolError if any field is missing or out of bounds."""
    fields = _fields(data, "ping")
    source = fields.get("source")
    return Ping(
        sent_ns=header.integer(fields, "sent_ns", -MAX_INT, MAX_INT),
        source=None if source is None else header.source_name(source),
        run=header.integer(fields, "run", 0, MAX_INT),
    )


def decode_pong(data: bytes | memoryview) -> Pong:
    """Return what a combiner answers; raises ProtocolError if any field is missing or out of bounds."""
    fields = _fields(data, "pong")
    times = {
        name: header.integer(fields, name, -MAX_INT, MAX_INT)
        for name in ("ping_ns", "received_ns", "sent_ns")
    }
    return Pong(
        **times,
        combiner=header.integer(fields, "combiner", 0, MAX_INT),
        taken=header.integer(fields, "taken", 0, MAX_INT),
    )


def _fields(data: bytes | memoryview, kind: str) -> Fields:
    fields = header.unpack(data, MAX_BYTES)
    header.choice(fields, "kind", (kind,))
    return fields


@dataclass(frozen=True, slots=True)
class Offset:
    """What to add to a clock to have the combiner's: ``ns``, give or take ``uncertainty_ns``."""

    ns: int
    uncertainty_ns: int


@dataclass(frozen=True, slots=True)
class _Sample:
    at_ns: int
    offset_ns: int
    half_delay_ns: int

    def uncertainty_ns(self, now_ns: int) -> int:
        """Return by how much the offset may be wrong by now, with clocks that drift."""
        return self.half_delay_ns + round(MAX_DRIFT * abs(now_ns - self.at_ns))


class Comparison:
    """What a node's pings have told of its clock and one combiner's.

    Each of them bounds the offset from both sides, the more widely the older it is; the offset is in what all
    of them have in common.
    """

    def __init__(self) -> None:
        self._samples: deque[_Sample] = deque(maxlen=KEPT)
        self._combiner: int | None = None

    def add(self, pong: Pong, here_ns: int) -> None:
        """Take an answer that was here at ``here_ns``; raises ProtocolError if it left before it came."""
        took_ns, answering_ns = here_ns - pong.ping_ns, pong.sent_ns - pong.received_ns
        # Meanwhile, too, one clock may have gone faster than the other.
        drift_ns = math.ceil(MAX_DRIFT * abs(took_ns)) + 1
        delay_ns = took_ns - answering_ns
        if delay_ns < -drift_ns or answering_ns < 0:
            raise ProtocolError("a pong with impossible times")
        if pong.combiner != self._combiner:
            # Another combiner has another clock.
            self._combiner = pong.combiner
            self._samples.clear()
        offset_ns = ((pong.received_ns - pong.ping_ns) + (pong.sent_ns - here_ns)) // 2
        half_delay_ns = -(-max(0, delay_ns) // 2) + drift_ns
        self._samples.append(_Sample(here_ns, offset_ns, half_delay_ns))

    def offset(self, now_ns: int) -> Offset | None:
        """Return the offset now; None if nobody has answered yet."""
        if not self._samples:
            return None
        low, high = self._bounds(now_ns)
        if low > high:
            # A clock was set, or drifts beyond all bounds: what was found before is void.
            newest = self._samples.pop()
            self._samples.clear()
            self._samples.append(newest)
            low, high = self._bounds(now_ns)
        return Offset((low + high) // 2, -((low - high) // 2))

    @property
    def least_delay_ns(self) -> int:
        """How long a ping and its pong take when nothing holds them up; 0 if that isn't known."""
        return 2 * min((sample.half_delay_ns for sample in self._samples), default=0)

    def _bounds(self, now_ns: int) -> tuple[int, int]:
        spans = [(sample.offset_ns, sample.uncertainty_ns(now_ns)) for sample in self._samples]
        return max(ns - by for ns, by in spans), min(ns + by for ns, by in spans)


class Steering:
    """Follows an offset without jumps: a frame's stamp must not fall behind what the one before promised."""

    def __init__(self) -> None:
        self._ns: int | None = None
        self._at_ns = 0

    def follow(self, found: Offset, now_ns: int) -> Offset:
        """Return the offset to use at ``now_ns``; what is still to be made up for is in its uncertainty."""
        if self._ns is None or abs(found.ns - self._ns) > STEP_NS:
            self._ns = found.ns
        else:
            most = max(0, now_ns - self._at_ns) * SLEW_PPM // 1_000_000
            self._ns += max(-most, min(most, found.ns - self._ns))
        self._at_ns = max(self._at_ns, now_ns)
        return Offset(self._ns, found.uncertainty_ns + abs(found.ns - self._ns))
