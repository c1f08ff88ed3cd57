"""Damaged messages of each kind, a hundred thousand in the slow run: only ProtocolError comes out, and soon."""

from __future__ import annotations

import gc
import random
import statistics
import time
from collections.abc import Iterator

import pytest

from framepair.protocol.wire.header import ProtocolError
from tests.lib.headers import DECODERS, KINDS
from tests.lib.malformed import NO_HEADERS, Decode, mutated

CASES = (5_000, pytest.param(100_000, marks=pytest.mark.slow))
LIMIT_NS = 1_000_000
# A case that seems slow is tried so many times more: what is slow is slow in most of them, and a machine that
# has something else to do isn't.
TRIES = 9


@pytest.fixture(autouse=True)
def _no_collection() -> Iterator[None]:
    """Keep the collector from looking through all of pytest in the middle of a case."""
    gc.disable()
    yield
    gc.enable()


def cases(good: list[bytes], number: int, chance: random.Random) -> Iterator[bytes]:
    """Yield damaged messages, and every fifth time noise that begins as a header does."""
    yield from NO_HEADERS.values()
    for i in range(number - len(NO_HEADERS)):
        if i % 5 == 0:
            yield bytes([0x80 + chance.randrange(16)]) + chance.randbytes(chance.randrange(200))
        else:
            yield mutated(chance.choice(good), chance)


def took_ns(decode: Decode, data: bytes) -> tuple[int, bool]:
    """Return the processor time that one case takes, and whether it was refused."""
    refused = False
    began_ns = time.thread_time_ns()
    try:
        decode(data)
    except ProtocolError:
        refused = True
    return time.thread_time_ns() - began_ns, refused


def is_slow(decode: Decode, data: bytes) -> bool:
    """Tell whether a case that took too long once does so in most of TRIES."""
    return statistics.median(took_ns(decode, data)[0] for _ in range(TRIES)) >= LIMIT_NS


@pytest.mark.parametrize("number", CASES)
@pytest.mark.parametrize("decode", DECODERS.values(), ids=list(DECODERS))
def test_whatever_is_decoded_only_protocol_errors_come_out_soon(
    decode: Decode, number: int
) -> None:
    good = [kind.header.encode() for kind in KINDS.values() if kind.decode == decode]
    for data in good:
        assert not took_ns(decode, data)[1]
    count = refused = 0
    for data in cases(good, number, random.Random(15)):
        spent_ns, was_refused = took_ns(decode, data)
        assert spent_ns < LIMIT_NS or not is_slow(decode, data), data
        count += 1
        refused += was_refused
    assert count == number
    # Damage that leaves a good header is no damage: most of it must be noticed.
    assert refused > number // 2


def test_a_decoder_that_takes_long_would_be_noticed() -> None:
    def slow(data: bytes) -> object:
        return sum(range(len(data)))

    # No processor adds up a million numbers in a millisecond.
    data = bytes(1_000_000)
    assert took_ns(slow, data)[0] >= LIMIT_NS
    assert is_slow(slow, data)
