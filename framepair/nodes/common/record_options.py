"""What the recorder and the launcher know of recordings."""

# Not "from __future__ import annotations": cyclopts looks names up in the module of the class that inherits.
import re
from dataclasses import dataclass
from typing import Annotated

from framepair.nodes.common import durations
from framepair.nodes.common.options import RECORDING, Network, SharedMemory
from framepair.nodes.common.plain_words import Detail
from framepair.protocol.memory.jpeg import DEFAULT_QUALITY, Jpeg

SIZE = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)(MB|GB|TB)", re.ASCII)
BYTES = {"MB": 10**6, "GB": 10**9, "TB": 10**12}
RAW = "raw"


def parse_bytes(text: str) -> int:
    """Return the bytes that ``text`` means: 500MB, 100GB or 2TB; raises ValueError if it is no size."""
    matched = SIZE.fullmatch(text)
    nbytes = round(float(matched[1]) * BYTES[matched[2]]) if matched else 0
    if nbytes < 1:
        raise ValueError("It is a size above 0 such as 500MB, 100GB or 2TB.")
    return nbytes


def parse_codec(text: str) -> Jpeg | None:
    """Return how raw frames are coded, None: not at all; raises ValueError for another word."""
    if text == RAW:
        return None
    name, colon, quality = text.partition(":")
    if name != Jpeg.name:
        raise ValueError("It is jpeg, jpeg:QUALITY or raw.")
    return Jpeg.parse(quality if colon else None)


def _time(_type: object, value: str) -> None:
    durations.parse_s(value)


def _bytes(_type: object, value: str) -> None:
    parse_bytes(value)


def _codec(_type: object, value: str) -> None:
    parse_codec(value)


@dataclass(frozen=True, kw_only=True)
class Recording(SharedMemory, Network):
    """How a recording is written, and how much of it is kept."""

    record_codec: Annotated[str, RECORDING, Detail(validator=_codec)] = (
        f"{Jpeg.name}:{DEFAULT_QUALITY}"
    )
    """How raw frames are recorded: jpeg:QUALITY, or raw as they are. Frames that travel as JPEG are recorded as
    they come."""

    record_segment: Annotated[str, RECORDING, Detail(validator=_time)] = "10min"
    """Length of a file: then the next one begins, and at 2 GB. A time such as 90s, 10min or 1h."""

    record_keep: Annotated[str, RECORDING, Detail(validator=_time)] = "24h"
    """Age at which the oldest file is deleted: a time such as 24h or 7d."""

    record_max_bytes: Annotated[str, RECORDING, Detail(validator=_bytes)] = "100GB"
    """Size of all files together at which the oldest is deleted. Two 1080p sources at 25 frames a second, as
    JPEG, take 100GB in about an hour and a half."""
