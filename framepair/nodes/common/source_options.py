"""What may be asked of one source alone: for a producer one value each, for the launcher VALUE or NAME=VALUE.

A producer's options are ``SourceOptions``, the launcher's ``EachSource``; ``of_sources`` makes the one of the
other, so that both refuse the same values with the same sentence.
"""

# Not "from __future__ import annotations": cyclopts looks names up in the module of the class that inherits.
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Annotated, Literal

from framepair.nodes.common import plain_words
from framepair.nodes.common.options import PIXELS, SEVERAL, VIDEOS
from framepair.nodes.common.plain_words import Detail
from framepair.nodes.common.runtime import MAX_SECONDS, Refused
from framepair.nodes.common.usage import sentence
from framepair.protocol.wire.limits import MAX_FPS, MAX_SIDE, MIN_FPS

SIZE = re.compile(r"(\d{1,5})?x(\d{1,5})?", re.ASCII)
OFFSET = re.compile(r"(-?\d{1,10}(?:\.\d{1,9})?)(ms|s)", re.ASCII)
MIN_SIDE = 2


def parse_size(text: str) -> tuple[int | None, int | None]:
    """Return width and height that ``text`` asks for: 640x360, or one of them, 640x or x360.

    Raises ValueError if it is none.
    """
    matched = SIZE.fullmatch(text)
    sides = tuple(int(side) for side in matched.groups() if side) if matched else ()
    if matched is None or not sides or not all(MIN_SIDE <= side <= MAX_SIDE for side in sides):
        raise ValueError(
            f"It is WIDTHxHEIGHT, WIDTHx or xHEIGHT, each {MIN_SIDE} to {MAX_SIDE} pixels."
        )
    width, height = matched.groups()
    return int(width) if width else None, int(height) if height else None


def parse_offset_ns(text: str) -> int:
    """Return the nanoseconds that ``text`` means: 1.25s, 40ms or -2s; raises ValueError if it is no time."""
    matched = OFFSET.fullmatch(text)
    seconds = float(matched[1]) / (1000 if matched[2] == "ms" else 1) if matched else 0.0
    if matched is None or abs(seconds) > MAX_SECONDS:
        raise ValueError("It is a time such as 1.25s, 40ms or -2s.")
    return round(seconds * 1e9)


def _size(_type: object, value: str | None) -> None:
    if value is not None:
        parse_size(value)


def _offset(_type: object, value: str | None) -> None:
    if value is not None:
        parse_offset_ns(value)


def _rate(_type: object, value: float | None) -> None:
    if value is not None and not MIN_FPS <= value <= MAX_FPS:
        raise ValueError(f"It must be {MIN_FPS} to {MAX_FPS} frames a second.")


def _not_negative(_type: object, value: int | None) -> None:
    if value is not None and value < 0:
        raise ValueError("It must be 0 or more.")


# Said of one source, and of each.
PIXELS_ARE = (
    "bgr8, rgb8, mono8 (grey: a video's luma) or i420 (a video's planes as they are decoded, 1.5 bytes a"
    " pixel instead of 3)"
)
PIXELS_DEFAULT = "[default: bgr8, of a grey camera mono8]"
SIZE_IS = "640x360, or 640x or x360 to keep the proportions: scaled before a frame travels"
SIZE_DEFAULT = "[default: as it comes]"
FPS_IS = (
    "Frames a second, at most: others are left out by their time. Of a file without times, its rate"
)
FPS_DEFAULT = "[default: all]"
STREAM_IS = "Which video of a file or stream to play if it has several, counted from 0"
STREAM_DEFAULT = "[default: the one with the most pixels]"
STAMP_IS = (
    "Which clock stamps the frames of a camera or stream, driver, camera, media or arrival, even if"
    " it is not trusted"
)
STAMP_DEFAULT = "[default: the best that can be trusted]"
OFFSET_IS = "Time that is added to the stamps, such as 1.25s, 40ms or, of a live source, -40ms"


def _said(what: str, default: str = "") -> Detail:
    return Detail(help=f"{what}. {default}")


def _of_each(what: str, example: str, default: str = "") -> Detail:
    return Detail(help=f"{what}; NAME={example} is for one source only. {default}")


@dataclass(frozen=True, kw_only=True)
class SourceOptions:
    """What a producer is told of the frames that it should make of its source."""

    pixels: Annotated[
        Literal["bgr8", "rgb8", "mono8", "i420"] | None, PIXELS, _said(PIXELS_ARE, PIXELS_DEFAULT)
    ] = None
    size: Annotated[str | None, PIXELS, _said(SIZE_IS, SIZE_DEFAULT), Detail(validator=_size)] = (
        None
    )
    fps: Annotated[float | None, VIDEOS, _said(FPS_IS, FPS_DEFAULT), Detail(validator=_rate)] = None
    stream: Annotated[
        int | None, VIDEOS, _said(STREAM_IS, STREAM_DEFAULT), Detail(validator=_not_negative)
    ] = None
    stamp: Annotated[
        Literal["driver", "camera", "media", "arrival"] | None,
        VIDEOS,
        _said(STAMP_IS, STAMP_DEFAULT),
    ] = None
    offset: Annotated[str | None, VIDEOS, _said(OFFSET_IS), Detail(validator=_offset)] = None

    @property
    def offset_ns(self) -> int:
        """``offset`` in nanoseconds."""
        return 0 if self.offset is None else parse_offset_ns(self.offset)


Words = tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class EachSource:
    """The same for all sources at once: VALUE for each of them, NAME=VALUE for one."""

    pixels: Annotated[Words, PIXELS, SEVERAL, _of_each(PIXELS_ARE, "i420", PIXELS_DEFAULT)] = ()
    size: Annotated[Words, PIXELS, SEVERAL, _of_each(SIZE_IS, "640x", SIZE_DEFAULT)] = ()
    fps: Annotated[Words, VIDEOS, SEVERAL, _of_each(FPS_IS, "5", FPS_DEFAULT)] = ()
    stream: Annotated[Words, VIDEOS, SEVERAL, _of_each(STREAM_IS, "1", STREAM_DEFAULT)] = ()
    stamp: Annotated[Words, VIDEOS, SEVERAL, _of_each(STAMP_IS, "media", STAMP_DEFAULT)] = ()
    offset: Annotated[Words, VIDEOS, SEVERAL, _of_each(OFFSET_IS, "1.25s")] = ()


NAMES: tuple[str, ...] = tuple(field.name for field in fields(EachSource))


def of_sources(asked: EachSource, names: Collection[str]) -> dict[str, SourceOptions]:
    """Return what is asked of each of the sources ``names``; a later word wins over an earlier one.

    Raises Refused for a value that can't be used, or a source that isn't there.
    """
    told: dict[str, dict[str, str]] = {name: {} for name in names}
    for option in NAMES:
        words: Sequence[str] = getattr(asked, option)
        for word in words:
            name, separator, value = word.rpartition("=")
            if separator and name not in told:
                raise Refused(
                    f"--{option} {word}: no source is called {name}: they are {', '.join(names)}"
                )
            for each in [name] if separator else names:
                told[each][option] = value
    return {name: _parsed(values) for name, values in told.items()}


def _parsed(values: Mapping[str, str]) -> SourceOptions:
    """Return the options that have these values, as a producer takes them from its flags."""
    words = [f"--{option}={value}" for option, value in values.items()]
    return plain_words.read(SourceOptions, words) or _refused(words)


def _refused(words: Sequence[str]) -> SourceOptions:
    """Return what the parser makes of ``words``; raises Refused with what it says against them."""
    # Not at the top: it takes 0.1 s to import, which only a value that is refused is worth.
    from cyclopts import CycloptsError

    from framepair.nodes.common.parser import options_parser

    try:
        parser = options_parser(SourceOptions)
        parsed: SourceOptions = parser(words, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        raise Refused(sentence(error)) from None
    return parsed
