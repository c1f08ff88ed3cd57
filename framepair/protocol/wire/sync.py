"""A node asks the combiner what time it is (ping), and is told (pong)."""

from __future__ import annotations

from dataclasses import dataclass

from framepair.protocol.wire import header
from framepair.protocol.wire.header import MAX_INT, Fields

MAX_BYTES = 512


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
