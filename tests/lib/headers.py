"""Every kind of header, for tests of all decoders: one good example of each, and any that the limits admit."""

from __future__ import annotations

import typing
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
from hypothesis import strategies as st
from msgspec import inspect
from msgspec.structs import replace

from framepair.protocol.wire import frame, pair, recorded, sync
from framepair.protocol.wire.frame import CHANNELS, Alive, FrameHeader, Location, SourceEnd
from framepair.protocol.wire.header import Header
from framepair.protocol.wire.pair import (
    ClipHeader,
    PairHeader,
    Progress,
    Span,
    StreamEnd,
    Totals,
)
from framepair.protocol.wire.recorded import RecordedClip
from framepair.protocol.wire.sync import Ping, Pong
from tests.lib.malformed import Decode

T = TypeVar("T")

FRAME = FrameHeader("left", 1, 10, 1000, 2000, 1001, (1080, 1920, 3), dropped=3, total=50)
ACCEPTED = FRAME.accepted(window=7, window_ns=100, received_ns=1500)
SHARED = replace(FRAME, payload="shm", location=Location("ring-1", slot=0, generation=1))
JPEG = replace(FRAME, payload="jpeg", packed_bytes=1000, offset_ns=-5, uncertainty_ns=3)
ALIVE = Alive("left", 1, seq=10, dropped=3, sent_ns=1001, next_ns=2000, offset_ns=7)
SOURCE_END = SourceEnd("left", run=1, seq=10, dropped=3, reason="finished")
TOTALS = Totals(
    captured=60, paired=50, open=5, late=1, gaps=4, rejected=2, dropped={"transport": 4},
    runs=2, reopened=3, outage_ns=10**9, began=Progress(7, 9), reached=Progress(8, 40, 2, 1),
)  # fmt: skip
CLIP = ClipHeader(
    spans=(Span(1, 10, 20), Span(2, 0, 5)), received_ns=1500, expected=25, gaps=1, late=1, dropped=1,
    missing="offline", delay_ns=5, pause_ns=40, totals=TOTALS, complete=True,
    newest_ns=1099, sent_ns=1100, uncertainty_ns=3, stamp="driver", fps=25.0, width=1920, height=1080,
)  # fmt: skip
PAIR = PairHeader(
    run=3, seq=4, window=10, start_ns=1000, end_ns=1100, closed_ns=1105, complete=False, partial=True,
    pace="realtime", clips={"left": CLIP, "right": ClipHeader()}, previous=9,
)  # fmt: skip
STREAM_END = StreamEnd(run=3, seq=5, reason="stopped", totals={"left": TOTALS, "right": Totals()})
RECORDED = RecordedClip(
    "left", 2, start_ns=1000, end_ns=1100, previous_ns=900, partial=True, frames=25,
    clip=replace(CLIP, spans=()), lost={"recorder_disk": 2}, unsent=1,
)  # fmt: skip
PING = Ping(123, "left", 7)
PONG = Pong(123, 456, 789, combiner=5, taken=10)


@dataclass(frozen=True)
class Kind:
    """One good header, and what decodes it."""

    header: Header
    decode: Decode


KINDS = {
    "frame": Kind(ACCEPTED, frame.decode),
    "frame in shared memory": Kind(SHARED, frame.decode),
    "frame as JPEG": Kind(JPEG, frame.decode),
    "alive": Kind(ALIVE, frame.decode),
    "source's end": Kind(SOURCE_END, frame.decode),
    "recorded clip": Kind(RECORDED, recorded.decode),
    "pair": Kind(PAIR, pair.decode),
    "stream's end": Kind(STREAM_END, pair.decode),
    "ping": Kind(PING, sync.decode_ping),
    "pong": Kind(PONG, sync.decode_pong),
}
DECODERS = {
    "frame": frame.decode,
    "recorded": recorded.decode,
    "pair": pair.decode,
    "ping": sync.decode_ping,
    "pong": sync.decode_pong,
}


@dataclass(frozen=True)
class Field:
    """A field of a header, where it is in an encoded one, and what may stand there."""

    path: tuple[str | int, ...]
    type: inspect.Type
    required: bool


def fields(header: msgspec.Struct) -> list[Field]:
    """Return every field of a header and of what is in it, that the header has a value for."""
    return list(_fields((), header))


def any_header(kind: type[T]) -> st.SearchStrategy[T]:
    """Return a strategy of all headers of ``kind`` that its limits admit."""
    made: st.SearchStrategy[T] = _any(inspect.type_info(kind))
    return made


def _fields(path: tuple[str | int, ...], value: Any) -> typing.Iterator[Field]:
    if isinstance(value, msgspec.Struct):
        described = inspect.type_info(type(value))
        assert isinstance(described, inspect.StructType)
        for field in described.fields:
            inner = getattr(value, field.name)
            if inner is not None:
                yield Field((*path, field.name), field.type, field.required)
                yield from _fields((*path, field.name), inner)
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _fields((*path, key), inner)
    elif isinstance(value, tuple):
        for index, inner in enumerate(value):
            yield from _fields((*path, index), inner)


def _any(kind: inspect.Type) -> st.SearchStrategy[Any]:
    match kind:
        case inspect.IntType():
            low, high = kind.ge or 0, kind.le or 0
            return st.integers(low, high) | st.sampled_from([low, high])
        case inspect.FloatType():
            return st.floats(kind.ge, kind.le)
        case inspect.BoolType():
            return st.booleans()
        case inspect.NoneType():
            return st.none()
        case inspect.StrType(pattern=str(pattern)):
            return st.from_regex(pattern)
        case inspect.StrType():
            return st.text(max_size=kind.max_length)
        case inspect.LiteralType():
            return st.sampled_from(kind.values)
        case inspect.UnionType():
            return st.one_of([_any(one) for one in kind.types])
        case inspect.TupleType():
            return st.tuples(*[_any(item) for item in kind.item_types])
        case inspect.VarTupleType():
            return st.lists(_any(kind.item_type), max_size=4).map(tuple)
        case inspect.DictType():
            return st.dictionaries(_any(kind.key_type), _any(kind.value_type), max_size=4)
        case inspect.StructType():
            parts = {field.name: _any(field.type) for field in kind.fields if field.name != "v"}
            return st.fixed_dictionaries(parts).map(
                lambda values: kind.cls(**_consistent(kind.cls, values))
            )
    raise AssertionError(f"no strategy for {kind}")


def _consistent(kind: type, values: dict[str, Any]) -> dict[str, Any]:
    """Return ``values`` as the rules that span several fields want them."""
    if "dropped" in values and "seq" in values:
        values["dropped"] = min(values["dropped"], values["seq"])
    if kind is FrameHeader:
        values["next_ns"] = max(values["captured_ns"], values["next_ns"])
        height, width, _ = values["shape"]
        if values["encoding"] == "i420":
            # Whole planes: 4095 is a multiple of 3.
            height, width = max(3, height // 3 * 3), max(2, width // 2 * 2)
        values["shape"] = (height, width, CHANNELS[values["encoding"]])
        if values["payload"] != "shm":
            values["location"] = None
        elif values["location"] is None:
            values["location"] = Location("ring", 0, 1)
        if values["payload"] == "jpeg":
            values["shape"] = (min(height, 4095), min(width, 4096), values["shape"][2])
            values["packed_bytes"] = values["packed_bytes"] or 1
        else:
            values["packed_bytes"] = None
    if kind is RecordedClip:
        clip = values["clip"] or CLIP
        values["clip"] = replace(clip, spans=()) if values["end_ns"] or values["clip"] else None
    if kind is PairHeader or (kind is RecordedClip and values["end_ns"]):
        values["start_ns"] = min(values["start_ns"], 2**63 - 2)
        values["end_ns"] = max(values["end_ns"], values["start_ns"] + 1)
    return values
