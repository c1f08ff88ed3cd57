"""A node asks the combiner what time it is (ping), and is told (pong)."""

from __future__ import annotations

from typing import Final

from framepair.protocol.wire.header import Count, Decoder, Header, SignedNanoseconds, SourceName

MAX_BYTES: Final = 512


class Ping(Header, frozen=True, tag="ping"):
    """A node's question at ``sent_ns`` on its clock; producers say of which ``source`` and ``run`` they are."""

    sent_ns: SignedNanoseconds
    source: SourceName | None = None
    run: Count = 0


class Pong(Header, frozen=True, tag="pong"):
    """The answer of a ``combiner``, named by its run, to the ping of ``ping_ns``: when it came and this went.

    The combiner has taken the frames of the source's run below ``taken``, as far as they got there.
    """

    ping_ns: SignedNanoseconds
    received_ns: SignedNanoseconds
    sent_ns: SignedNanoseconds
    combiner: Count
    taken: Count = 0


_PINGS: Decoder[Ping] = Decoder(Ping, MAX_BYTES)
_PONGS: Decoder[Pong] = Decoder(Pong, MAX_BYTES)


def decode_ping(data: bytes | memoryview) -> Ping:
    """Return what a node asks; raises ProtocolError if a field is missing or out of its limits."""
    return _PINGS.decode(data)


def decode_pong(data: bytes | memoryview) -> Pong:
    """Return what a combiner answers; raises ProtocolError if a field is missing or out of its limits."""
    return _PONGS.decode(data)
