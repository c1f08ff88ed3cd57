"""What all headers share: msgpack maps, checked field by field before anything is allocated."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, cast

import msgpack

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


VERSION = 1
MAX_INT = 2**63 - 1
SOURCE_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")

Fields = Mapping[str, Any]


class ProtocolError(ValueError):
    """A message that does not follow the wire format; the node that got it counts it and goes on."""


def pack(fields: Fields) -> bytes:
    """Return ``fields`` as a msgpack map, with the version in front; a dataclass in it becomes a map, too."""
    return cast(bytes, msgpack.packb({"v": VERSION, **fields}, default=fields_of))


def fields_of(header: DataclassInstance) -> dict[str, Any]:
    """Return a dataclass as a map, without the copies that make dataclasses.asdict ten times as slow."""
    return {name: getattr(header, name) for name in _names(type(header))}


def unpack(data: bytes | memoryview, max_bytes: int) -> Fields:
    """Return the map in ``data``; raises ProtocolError for anything that isn't one of this version."""
    if len(data) > max_bytes:
        raise ProtocolError(f"header has {len(data)} bytes, more than {max_bytes}")
    try:
        fields = msgpack.unpackb(data, strict_map_key=True)
    except (ValueError, msgpack.UnpackException, RecursionError) as error:
        raise ProtocolError(f"header is not msgpack: {type(error).__name__}") from None
    if not isinstance(fields, dict) or not all(isinstance(key, str) for key in fields):
        raise ProtocolError("header is not a map with names as keys")
    if integer(fields, "v", 0, MAX_INT) != VERSION:
        raise ProtocolError(f"version {fields['v']}, not {VERSION}")
    return fields


@functools.cache
def _names(kind: type[DataclassInstance]) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(kind))


def integer(fields: Fields, name: str, low: int, high: int) -> int:
    """Return the whole number ``name``, which must lie in [low, high]."""
    value = fields.get(name)
    if type(value) is not int or not low <= value <= high:
        raise ProtocolError(f"{name} is not a whole number in [{low}, {high}]")
    return value


def optional_integer(fields: Fields, name: str, low: int, high: int) -> int | None:
    """Return the whole number ``name``, or None where it is missing or nil."""
    return None if fields.get(name) is None else integer(fields, name, low, high)


def number(fields: Fields, name: str, low: float, high: float) -> float:
    """Return the number ``name``, which must lie in [low, high] (NaN never does)."""
    value = fields.get(name)
    if type(value) not in (int, float) or not low <= cast(float, value) <= high:
        raise ProtocolError(f"{name} is not a number in [{low}, {high}]")
    return float(cast(float, value))


def boolean(fields: Fields, name: str) -> bool:
    """Return the truth value ``name``."""
    value = fields.get(name)
    if not isinstance(value, bool):
        raise ProtocolError(f"{name} is neither true nor false")
    return value


def choice(fields: Fields, name: str, allowed: Collection[str]) -> str:
    """Return the text ``name``, which must be one of ``allowed``."""
    value = fields.get(name)
    if not isinstance(value, str) or value not in allowed:
        raise ProtocolError(f"{name} is not one of {', '.join(sorted(allowed))}")
    return value


def source_name(value: object) -> str:
    """Return ``value`` if it can name a source: letters, digits, ``_`` and ``-``, 64 at most."""
    if not isinstance(value, str) or not SOURCE_NAME.match(value):
        raise ProtocolError("a source's name has letters, digits, _ and - only, 64 at most")
    return value


def submap(fields: Fields, name: str) -> Fields:
    """Return the map ``name`` inside ``fields``."""
    value = fields.get(name)
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise ProtocolError(f"{name} is not a map with names as keys")
    return value


def counts(fields: Fields, name: str, max_entries: int = 32) -> dict[str, int]:
    """Return the map from reasons to counts ``name``."""
    values = submap(fields, name)
    if len(values) > max_entries or any(len(key) > 64 for key in values):
        raise ProtocolError(f"{name} has too many or too long reasons")
    return {key: integer(values, key, 0, MAX_INT) for key in values}
