"""What all headers have in common: packing, versions, limits."""

from __future__ import annotations

import math
import random
import tracemalloc

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from framepair.protocol.wire import header
from framepair.protocol.wire.header import MAX_INT, ProtocolError
from tests.lib.malformed import (
    NO_HEADERS,
    NOT_INTEGERS,
    anything,
    moderate,
    packed,
    refuse,
    survives,
)

MAX_BYTES = 5000


def unpack(data: bytes) -> header.Fields:
    return header.unpack(data, MAX_BYTES)


@moderate
@given(st.dictionaries(st.text(max_size=8).filter(lambda key: key != "v"), anything, max_size=6))
def test_fields_come_out_as_they_went_in(fields: dict[str, object]) -> None:
    again = dict(unpack(header.pack(fields)))
    assert again.pop("v") == header.VERSION
    assert packed(again) == packed(fields)


def test_a_header_can_be_read_from_the_memory_of_a_message() -> None:
    assert unpack(memoryview(header.pack({"a": 1})))["a"] == 1  # type: ignore[arg-type]


@pytest.mark.parametrize("name", NO_HEADERS)
def test_what_is_no_header_is_refused(name: str) -> None:
    refuse(unpack, NO_HEADERS[name])


@pytest.mark.parametrize("version", [0, 2, MAX_INT, *NOT_INTEGERS, None])
def test_an_unknown_version_is_refused(version: object) -> None:
    refuse(unpack, packed({"v": version, "kind": "frame"}))


def test_a_header_without_a_version_is_refused() -> None:
    refuse(unpack, packed({"kind": "frame"}))


def test_the_limit_is_looked_at_before_anything_is_unpacked() -> None:
    bomb = b"\xdd\x00\x10\x00\x00" + b"\xc0" * 2**20
    tracemalloc.start()
    refuse(unpack, bomb)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 2**16


def test_a_header_may_be_as_large_as_the_limit_and_no_larger() -> None:
    data = header.pack({"filling": bytes(MAX_BYTES - 20)})
    assert header.unpack(data, len(data))["v"] == 1
    with pytest.raises(ProtocolError, match="more than"):
        header.unpack(data, len(data) - 1)


@pytest.mark.parametrize("value", [0, 1, 10])
def test_a_whole_number_within_its_bounds(value: int) -> None:
    assert header.integer({"n": value}, "n", 0, 10) == value


@pytest.mark.parametrize("value", [*NOT_INTEGERS, None, 11, math.inf])
def test_no_whole_number_within_its_bounds(value: object) -> None:
    for fields in ({"n": value}, {}):
        with pytest.raises(ProtocolError, match="n is not a whole number"):
            header.integer(fields, "n", 0, 10)


@pytest.mark.parametrize("value", [0.5, 1, 9.99, 10])
def test_a_number_within_its_bounds(value: float) -> None:
    number = header.number({"n": value}, "n", 0.5, 10)
    assert number == value
    assert isinstance(number, float)


@pytest.mark.parametrize(
    "value", [math.nan, math.inf, -math.inf, 0.49, 10.01, True, "1", None, 2**70]
)
def test_no_number_within_its_bounds(value: object) -> None:
    with pytest.raises(ProtocolError, match="n is not a number"):
        header.number({"n": value}, "n", 0.5, 10)


def test_what_may_be_missing_may_be_nil_too() -> None:
    assert header.optional_integer({}, "n", 0, 1) is None
    assert header.optional_integer({"n": None}, "n", 0, 1) is None
    assert header.optional_integer({"n": 1}, "n", 0, 1) == 1
    with pytest.raises(ProtocolError):
        header.optional_integer({"n": 2}, "n", 0, 1)


@pytest.mark.parametrize("value", [None, 0, 1, "true", [], {}])
def test_only_true_and_false_are_truth_values(value: object) -> None:
    with pytest.raises(ProtocolError):
        header.boolean({"b": value}, "b")


@pytest.mark.parametrize("value", [None, 1, b"a", ["a"], {"a": 1}, "A", "a ", ""])
def test_only_what_is_allowed_can_be_chosen(value: object) -> None:
    assert header.choice({"c": "a"}, "c", ("a", "b")) == "a"
    with pytest.raises(ProtocolError, match="c is not one of a, b"):
        header.choice({"c": value}, "c", ("b", "a"))


@pytest.mark.parametrize("name", ["a", "left", "cam-1_B", "x" * 64])
def test_names_of_sources(name: str) -> None:
    assert header.source_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "x" * 65,
        "a.b",
        "a b",
        "a\n",
        "ä",
        "../a",
        "a/b",
        "a\x00",
        "٣",
        None,
        1,
        b"left",
        ["left"],
    ],
)
def test_what_no_source_can_be_called(name: object) -> None:
    with pytest.raises(ProtocolError):
        header.source_name(name)


def test_counts_by_reason() -> None:
    assert header.counts({"d": {"transport": 3}}, "d") == {"transport": 3}


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        {"x" * 65: 1},
        {str(i): 1 for i in range(33)},
        {"x": -1},
        {"x": True},
        {"x": 2**63},
        {"x": {"x": 1}},
        {1: 1},
    ],
)
def test_no_counts_by_reason(value: object) -> None:
    with pytest.raises(ProtocolError):
        header.counts({"d": value}, "d")


@moderate
@given(st.binary(max_size=200))
def test_only_protocol_errors_come_out_of_noise(data: bytes) -> None:
    survives(unpack, data)


@moderate
@given(anything)
def test_only_protocol_errors_come_out_of_anything_packed(value: object) -> None:
    survives(unpack, packed(value))


def test_only_protocol_errors_come_out_of_much_noise() -> None:
    chance = random.Random(1)
    for _ in range(3000):
        survives(unpack, chance.randbytes(chance.randrange(60)))
    # Maps are what a header is: begin with one.
    for _ in range(3000):
        survives(unpack, bytes([0x80 + chance.randrange(16)]) + chance.randbytes(40))


def test_msgpack_is_one_without_known_holes() -> None:
    assert msgpack.version >= (1, 2, 1)
