"""A hundred thousand damaged headers: nothing but ProtocolError comes out, and none takes long."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator

import pytest

from protocol import frame, pair
from protocol.header import ProtocolError
from tests import test_frame_header, test_pair_header
from tests.malformed import NO_HEADERS, Decode, mutated
from tests.test_frame_header import ACCEPTED, SHARED

CASES = 50_000
LIMIT_NS = 1_000_000
# The machine may take the processor away in the middle of a case; it doesn't do so each time.
TRIES = 10

FRAMES = [header.encode() for header in (ACCEPTED, SHARED, test_frame_header.END)]
PAIRS = [header.encode() for header in (test_pair_header.PAIR, test_pair_header.END)]


def cases(good: list[bytes], chance: random.Random) -> Iterator[bytes]:
    """Yield damaged headers, and every fifth time noise that begins as a header does."""
    yield from NO_HEADERS.values()
    for i in range(CASES - len(NO_HEADERS)):
        if i % 5 == 0:
            yield bytes([0x80 + chance.randrange(16)]) + chance.randbytes(chance.randrange(200))
        else:
            yield mutated(chance.choice(good), chance)


def took_ns(decode: Decode, data: bytes) -> tuple[int, bool]:
    """Return the processor time that one case takes, and whether it was refused."""
    began_ns = time.thread_time_ns()
    try:
        decode(data)
    except ProtocolError:
        return time.thread_time_ns() - began_ns, True
    return time.thread_time_ns() - began_ns, False


@pytest.mark.parametrize(
    ("decode", "good"), [(frame.decode, FRAMES), (pair.decode, PAIRS)], ids=["frame", "pair"]
)
def test_whatever_is_decoded_only_protocol_errors_come_out_soon(
    decode: Callable[[bytes], object], good: list[bytes]
) -> None:
    count = refused = 0
    for data in cases(good, random.Random(15)):
        spent_ns, was_refused = took_ns(decode, data)
        for _ in range(TRIES):
            if spent_ns < LIMIT_NS:
                break
            spent_ns = min(spent_ns, took_ns(decode, data)[0])
        assert spent_ns < LIMIT_NS, data
        count += 1
        refused += was_refused
    assert count == CASES
    # Damage that leaves a good header is no damage: most of it must be noticed.
    assert refused > CASES // 2
