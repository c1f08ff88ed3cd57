"""Every decoder, from its headers' declarations: what goes in comes out, and nothing malformed gets in."""

from __future__ import annotations

import math
import random
import tracemalloc
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import inspect

from framepair.protocol.wire.header import VERSION, Header
from tests.lib.headers import DECODERS, KINDS, Field, any_header, fields
from tests.lib.malformed import (
    LEFT_OUT,
    NO_HEADERS,
    NOT_INTEGERS,
    NOT_WORDS,
    Decode,
    anything,
    edited,
    moderate,
    mutated,
    packed,
    refuse,
    survives,
    unpacked,
)

KINDS_OF_HEADERS = sorted(
    {type(kind.header) for kind in KINDS.values()}, key=lambda kind: kind.__name__
)
DECODERS_OF = {type(kind.header): kind.decode for kind in KINDS.values()}
FIELDS = [(name, field) for name, kind in KINDS.items() for field in fields(kind.header)]


def field_id(value: object) -> str:
    return ".".join(map(str, value.path)) if isinstance(value, Field) else str(value)


def values_beyond(kind: inspect.Type) -> list[Any]:
    """Return values that a field of ``kind`` may not have."""
    optional = isinstance(kind, inspect.UnionType)
    if isinstance(kind, inspect.UnionType):
        kind = next(k for k in kind.types if not isinstance(k, inspect.NoneType))
    beyond: list[Any] = [] if optional else [None]
    match kind:
        case inspect.IntType():
            assert kind.ge is not None, "a whole number without limits"
            assert kind.le is not None, "a whole number without limits"
            return [*beyond, *[v for v in NOT_INTEGERS if v != -1], kind.ge - 1, kind.le + 1]
        case inspect.FloatType():
            assert kind.ge is not None, "a number without limits"
            assert kind.le is not None, "a number without limits"
            outside = [kind.ge / 2, kind.le * 2, math.nan, math.inf, -math.inf, 2**64 - 1]
            return [*beyond, *outside, "1", True, [1.0]]
        case inspect.BoolType():
            return [*beyond, 0, 1, "true", []]
        case inspect.LiteralType():
            return [*beyond, *NOT_WORDS]
        case inspect.StrType(pattern=str()):
            return [
                *beyond,
                *NOT_WORDS[:5],
                "",
                "x" * 65,
                "a.b",
                "a b",
                "a\n",
                "ä",
                "../a",
                "a\x00",
                "٣",
            ]
        case inspect.StrType():
            return [*beyond, *NOT_WORDS[:5], "x" * ((kind.max_length or 0) + 1)]
        case (
            inspect.TupleType() | inspect.VarTupleType() | inspect.DictType() | inspect.StructType()
        ):
            return [*beyond, 1, "x", True, [None], {1: 1}, {"a": 1, 2: 3}]
    raise AssertionError(f"no values for {kind}")


@pytest.mark.parametrize("kind", KINDS_OF_HEADERS, ids=lambda kind: kind.__name__)
def test_what_the_limits_admit_comes_out_as_it_went_in(kind: type[Header]) -> None:
    @moderate
    @given(any_header(kind))
    def comes_out(header: Header) -> None:
        data = header.encode()
        assert DECODERS_OF[kind](data) == header
        assert DECODERS_OF[kind](memoryview(data)) == header  # type: ignore[arg-type]

    comes_out()


@pytest.mark.parametrize("name", KINDS)
def test_a_header_is_a_map_for_any_reader_of_msgpack(name: str) -> None:
    header = KINDS[name].header
    read = unpacked(header.encode())
    assert read.pop("v") == VERSION
    assert read.pop("kind") == type(header).__struct_config__.tag
    assert read.keys() == set(type(header).__struct_fields__) - {"v"}
    assert KINDS[name].decode(packed(unpacked(header.encode()))) == header


@pytest.mark.parametrize(("name", "field"), FIELDS, ids=field_id)
def test_no_field_takes_what_is_beyond_its_limits(name: str, field: Field) -> None:
    if field.path == ("v",):
        return
    for value in values_beyond(field.type):
        refuse(KINDS[name].decode, edited(KINDS[name].header.encode(), field.path, value))


@pytest.mark.parametrize(("name", "field"), FIELDS, ids=field_id)
def test_a_field_that_is_left_out_has_its_default_or_is_missed(name: str, field: Field) -> None:
    data = edited(KINDS[name].header.encode(), field.path, LEFT_OUT)
    if field.required or field.path == ("v",):
        refuse(KINDS[name].decode, data)
    else:
        survives(KINDS[name].decode, data)


@pytest.mark.parametrize("name", KINDS)
def test_fields_of_a_later_version_do_no_harm(name: str) -> None:
    header = KINDS[name].header
    assert KINDS[name].decode(edited(header.encode(), ("later",), {"x": [1, 2, 3]})) == header
    for field in fields(header):
        if isinstance(field.type, inspect.StructType):
            later = edited(header.encode(), (*field.path, "later"), {"x": 1})
            assert KINDS[name].decode(later) == header


@pytest.mark.parametrize("decode", DECODERS.values(), ids=list(DECODERS))
@pytest.mark.parametrize("name", NO_HEADERS)
def test_what_is_no_header_is_refused(name: str, decode: Decode) -> None:
    refuse(decode, NO_HEADERS[name])


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("kind", ["Frame", "nonsense", "", None, 1, LEFT_OUT])
def test_an_unknown_kind_is_refused(name: str, kind: object) -> None:
    refuse(KINDS[name].decode, edited(KINDS[name].header.encode(), ("kind",), kind))


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("version", [0, 1, 3, 2**63 - 1, *NOT_INTEGERS, None], ids=repr)
def test_another_version_is_refused(name: str, version: object) -> None:
    refuse(KINDS[name].decode, edited(KINDS[name].header.encode(), ("v",), version))


@pytest.mark.parametrize("name", DECODERS)
def test_a_decoder_takes_its_own_kinds_only(name: str) -> None:
    for other in KINDS.values():
        if other.decode != DECODERS[name] and type(other.header).__struct_config__.tag != "end":
            refuse(DECODERS[name], other.header.encode())


@pytest.mark.parametrize("decode", DECODERS.values(), ids=list(DECODERS))
def test_a_header_that_is_too_large_is_refused_before_it_is_read(decode: Decode) -> None:
    bomb = b"\xdd\x00\x10\x00\x00" + b"\xc0" * 2**20
    tracemalloc.start()
    refuse(decode, bomb)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 2**16


@pytest.mark.parametrize("decode", DECODERS.values(), ids=list(DECODERS))
def test_only_protocol_errors_come_out_of_noise(decode: Decode) -> None:
    @moderate
    @given(st.binary(max_size=200) | anything.map(packed))
    def survived(data: bytes) -> None:
        survives(decode, data)

    survived()
    chance = random.Random(1)
    for _ in range(2000):
        survives(decode, chance.randbytes(chance.randrange(60)))
        # Maps are what a header is: begin with one.
        survives(decode, bytes([0x80 + chance.randrange(16)]) + chance.randbytes(40))


@pytest.mark.parametrize("name", KINDS)
def test_only_protocol_errors_come_out_of_damaged_headers(name: str) -> None:
    chance = random.Random(1)
    data = KINDS[name].header.encode()
    for _ in range(2000):
        survives(KINDS[name].decode, mutated(data, chance))


@pytest.mark.parametrize("name", KINDS)
def test_only_protocol_errors_come_out_of_fields_that_are_anything(name: str) -> None:
    kind = KINDS[name]

    @moderate
    @given(st.sampled_from(fields(kind.header)), anything)
    def survived(field: Field, value: object) -> None:
        survives(kind.decode, edited(kind.header.encode(), field.path, value))

    survived()


def test_msgpack_is_one_without_known_holes() -> None:
    assert msgpack.version >= (1, 2, 1)
