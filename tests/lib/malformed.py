"""Headers as an enemy would send them, for the tests of every decoder."""

from __future__ import annotations

import contextlib
import random
import string
from collections.abc import Callable, Sequence
from typing import Any

import msgpack
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from framepair.protocol.wire.header import MAX_INT, ProtocolError
from tests.lib.examples import examples

Decode = Callable[[bytes], object]

moderate = settings(
    deadline=None,
    derandomize=True,
    max_examples=examples(50),
    suppress_health_check=[HealthCheck.too_slow],
)
integers = st.integers(0, MAX_INT) | st.sampled_from([0, 1, MAX_INT])
names = st.text(string.ascii_letters + string.digits + "_-", min_size=1, max_size=64)
# Anything that msgpack can say.
anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=8)
    | st.binary(max_size=8)
    | st.builds(msgpack.ExtType, st.integers(0, 127), st.binary(max_size=8)),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=8,
)
# None of these can stand where a whole number is expected.
NOT_INTEGERS = [True, False, -1, 1.0, float("nan"), "1", b"1", [1], {"1": 1}, 2**63, 2**64 - 1]
NOT_WORDS = [True, 1, 1.0, b"raw", ["raw"], {"raw": 1}, "", "nonsense", "raw\n", "x" * 3000]
LEFT_OUT = object()
# Each is no header, whichever kind is expected.
NO_HEADERS = {
    "nothing": b"",
    "text": b"GET / HTTP/1.1\r\n\r\n",
    "zeros": bytes(100),
    "a list": msgpack.packb([1, 2, 3]),
    "a number": msgpack.packb(1),
    "nil": msgpack.packb(None),
    "an empty map": msgpack.packb({}),
    "two maps": msgpack.packb({"v": 1}) * 2,
    "half a map": msgpack.packb({"v": 1, "kind": "frame"})[:-2],
    "numbers as keys": msgpack.packb({1: 1}),
    "bytes as keys": msgpack.packb({b"v": 1}),
    "nil as key": b"\x81\xc0\x01",
    "a list as key": b"\x81\x90\x01",
    "a map as key": b"\x81\x80\x01",
    "a key that is not UTF-8": b"\x81\xa1\xff\x01",
    "a text that is not UTF-8": b"\x82\xa1v\x01\xa4kind\xa1\xff",
    "a list of four billion": b"\xdd\xff\xff\xff\xff",
    "a map of four billion": b"\xdf\xff\xff\xff\xff",
    "a text of four gigabytes": b"\xdb\xff\xff\xff\xff",
    "four gigabytes": b"\xc6\xff\xff\xff\xff",
    "an extension of four gigabytes": b"\xc9\xff\xff\xff\xff\x01",
    "a timestamp of five bytes": b"\x81\xa1v\xc7\x05\xff" + bytes(5),
    "a timestamp out of range": b"\x81\xa1v\xd7\xff" + b"\xff" * 8,
    "an unused byte": b"\xc1",
    "lists in lists": b"\x91" * 4000 + b"\x90",
    "maps in maps": b"\x81\xa1a" * 1200 + b"\x80",
    "lists in a field": b"\x82\xa1v\x01\xa1x" + b"\x91" * 3000 + b"\xc0",
}


def packed(fields: object) -> bytes:
    """Return a header with whatever fields."""
    data: bytes = msgpack.packb(fields)
    return data


def unpacked(data: bytes) -> dict[str, Any]:
    """Return the fields of a header that is well-formed."""
    fields: dict[str, Any] = msgpack.unpackb(data)
    return fields


def refuse(decode: Decode, data: bytes) -> None:
    """Check that ``data`` is refused, and that the reason fits into a line of a log."""
    with pytest.raises(ProtocolError) as caught:
        decode(data)
    assert 0 < len(str(caught.value)) < 300
    assert str(caught.value).isprintable()


def edited(data: bytes, path: Sequence[str | int], value: object = LEFT_OUT) -> bytes:
    """Return a good header with ``value`` at ``path``, such as ("clips", "left", "gaps"), or without it."""
    fields = unpacked(data)
    *parents, name = path
    inner: Any = fields
    for parent in parents:
        inner = inner[parent]
    if value is LEFT_OUT:
        del inner[name]
    else:
        inner[name] = value
    return packed(fields)


def survives(decode: Decode, data: bytes) -> None:
    """Check that nothing but ProtocolError comes out."""
    with contextlib.suppress(ProtocolError):
        decode(data)


def mutated(data: bytes, chance: random.Random) -> bytes:
    """Return a header with some of its bytes changed, added, removed or repeated."""
    mutant = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(len(mutant) + 1)
        kind = chance.randrange(4)
        if kind == 0 and place < len(mutant):
            mutant[place] = chance.randrange(256)
        elif kind == 1:
            mutant[place:place] = chance.randbytes(chance.randint(1, 9))
        elif kind == 2:
            del mutant[place : place + chance.randint(1, 9)]
        else:
            mutant[place:place] = mutant[place : place + 20]
    return bytes(mutant)
