"""Synthetic video, synthetic://1280x720@30: a colour, its name, a moving marker and a code in the pixels."""

from __future__ import annotations

import colorsys
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import cast
from urllib.parse import parse_qsl

import numpy as np
from numpy.typing import NDArray

from framepair.nodes.producer.sources.fitting import Fitting
from framepair.nodes.producer.sources.pattern import MIN_HEIGHT, MIN_WIDTH, source_crc, stamp
from framepair.nodes.producer.sources.source import (
    Capture,
    Format,
    Image,
    Position,
    SourceError,
    blaming,
)
from framepair.nodes.producer.sources.uri import (
    MAX_FPS,
    MIN_FPS,
    Opening,
    SourceUri,
    Wanted,
    split_scheme,
)
from framepair.protocol.memory.planes import planes_of
from framepair.protocol.wire.frame import CHANNELS, Colour, Encoding, StampGrade
from framepair.protocol.wire.limits import MAX_SIDE

USAGE = "synthetic://"
STAMPS: tuple[StampGrade, ...] = ()
SIZE_AND_RATE = re.compile(
    r"(?:(?P<width>\d{1,5})x(?P<height>\d{1,5}))?(?:@(?P<fps>\d{1,4}(?:\.\d{1,9})?))?/?", re.ASCII
)
DEFAULTS = ("1920", "1080", "25")
# As an address says it; --pixels has all.
ENCODINGS = ("bgr8", "mono8")
FORMAT_USAGE = "write synthetic://1280x720@30?encoding=mono8&frames=250, or only parts of that"

GLYPH_ROWS, GLYPH_COLUMNS = 5, 3
# One octal digit is one row of three blocks: 0o25755 is .#. / #.# / ### / #.# / #.#
GLYPHS = {
    "A": 0o25755, "B": 0o65656, "C": 0o34443, "D": 0o65556, "E": 0o74647, "F": 0o74644, "G": 0o34553,
    "H": 0o55755, "I": 0o72227, "J": 0o11152, "K": 0o55655, "L": 0o44447, "M": 0o57755, "N": 0o65555,
    "O": 0o25552, "P": 0o65644, "Q": 0o25573, "R": 0o65655, "S": 0o34216, "T": 0o72222, "U": 0o55557,
    "V": 0o55552, "W": 0o55775, "X": 0o55255, "Y": 0o55222, "Z": 0o71247,
    "0": 0o75557, "1": 0o26227, "2": 0o61247, "3": 0o61216, "4": 0o55711, "5": 0o74616, "6": 0o34757,
    "7": 0o71222, "8": 0o75757, "9": 0o75716, "-": 0o00700, "_": 0o00007,
}  # fmt: skip


def parse(uri: str) -> SourceUri | None:
    """Return what ``uri`` means if it names a synthetic source; raises SourceError if it has no such format."""
    scheme, rest = split_scheme(uri)
    if scheme != "synthetic":
        return None
    return SourceUri("synthetic", uri, synthetic=_format(uri, rest))


def open_capture(name: str, source: SourceUri, opening: Opening) -> Capture:
    """Return the capture that draws it, as it is wanted; raises SourceError for a size that is too small."""
    with blaming(name):
        wanted = _wanted(name, source.synthetic or Format((0, 0, 0)), opening.wanted)
    return Synthetic(name, wanted, loop=opening.loop)


def _wanted(name: str, own: Format, wanted: Wanted) -> Format:
    encoding = wanted.pixels or own.encoding
    width, height = Fitting(name, wanted).sides(own.shape[1], own.shape[0])
    if width < MIN_WIDTH or height < MIN_HEIGHT:
        raise SourceError(
            f"a synthetic picture of {width}x{height} is too small for the code in it: choose a --size of"
            f" {MIN_WIDTH}x{MIN_HEIGHT} or more"
        )
    rows = height * 3 // 2 if encoding == "i420" else height
    colour = OF_PLANES if encoding == "i420" else None
    return replace(own, shape=(rows, width, CHANNELS[encoding]), encoding=encoding, colour=colour)


def _format(uri: str, rest: str) -> Format:
    size, _, query = rest.partition("?")
    matched = SIZE_AND_RATE.fullmatch(size)
    options = {"encoding": "bgr8", "frames": "0"}
    given = dict(parse_qsl(query, keep_blank_values=True))
    if matched is None or not given.keys() <= options.keys():
        raise SourceError(f"{uri!r} is no synthetic source: {FORMAT_USAGE}")
    options |= given
    if options["encoding"] not in ENCODINGS or not re.fullmatch("[0-9]{1,18}", options["frames"]):
        raise SourceError(f"{uri!r} has a bad encoding or number of frames: {FORMAT_USAGE}")
    parts = zip(matched.groups(), DEFAULTS, strict=True)
    width, height, fps = (float(part or default) for part, default in parts)
    if not (MIN_WIDTH <= width <= MAX_SIDE and MIN_HEIGHT <= height <= MAX_SIDE):
        limits = f"{MIN_WIDTH}x{MIN_HEIGHT} to {MAX_SIDE}x{MAX_SIDE}"
        raise SourceError(f"{uri!r} has a bad size: synthetic pictures have {limits} pixels")
    if not MIN_FPS <= fps <= MAX_FPS:
        raise SourceError(
            f"{uri!r} has a bad rate: {MIN_FPS} to {MAX_FPS:.0f} frames a second can be had"
        )
    shape = (int(height), int(width), CHANNELS[options["encoding"]])
    return Format(shape, cast(Encoding, options["encoding"]), fps, total=int(options["frames"]))


def lettering(text: str) -> NDArray[np.bool_]:
    """Return ``text`` in capitals as blocks, (5, 4 * letters); a letter that isn't known is blank."""
    row_shifts = GLYPH_COLUMNS * np.arange(GLYPH_ROWS)[::-1, np.newaxis]
    shifts = row_shifts + np.arange(GLYPH_COLUMNS)[::-1]
    blocks = np.zeros((GLYPH_ROWS, len(text), GLYPH_COLUMNS + 1), np.bool_)
    for index, letter in enumerate(text.upper()):
        blocks[:, index, :GLYPH_COLUMNS] = GLYPHS.get(letter, 0) >> shifts & 1
    return blocks.reshape(GLYPH_ROWS, -1)


SECOND_NS = 1_000_000_000
# With this many hues, the names that people give to two cameras (left, right; a, b; front, rear) differ.
HUES = 21
BARS = 8
NAME_WIDTH = 0.5
MARKER_ROWS = (0.90, 0.96)
MARKER_WIDTH = 0.02
# From blue, green and red, 0 to 1, to luma and the differences of blue and red.
LIMITED_BT601 = np.array(
    [[24.966, 128.553, 65.481], [112.0, -74.203, -37.797], [-18.214, -93.786, 112.0]]
)
NEUTRAL = 128
OF_PLANES = Colour("bt601", full=False)


class Synthetic:
    """A capture that draws its frames: always there, at any pace, the same for the same arguments.

    The marker crosses the picture once a second of capture time, so that the frames of a pair can be
    compared by eye. ``format`` is the one asked for; after ``format.total`` frames, if any, it is over.
    """

    # It never fails.
    reopened = skipped = 0

    def __init__(self, name: str, wanted: Format, *, loop: bool = False) -> None:
        self.format = replace(wanted, total=0) if loop else wanted
        self._name = name
        self._grabbed = 0
        self._background = background(name, wanted.shape, wanted.encoding)

    @property
    def position(self) -> Position:
        """Where in the video the grabbed frame is."""
        number, period_ns = self._grabbed, SECOND_NS / self.format.fps
        return Position(round((number - 1) * period_ns), round(number * period_ns))

    def grab(self) -> bool:
        """Go on to the next frame; False after the last one."""
        if self.format.total and self._grabbed >= self.format.total:
            return False
        self._grabbed += 1
        return True

    def retrieve(self, out: Image, seq: int, captured_ns: int) -> Image:
        """Draw the frame into ``out``, of shape ``format.shape``, and return it."""
        np.copyto(out, self._background)
        picture = out
        if self.format.encoding == "i420":
            luma, *colours = planes_of(out)
            picture = luma[..., np.newaxis]
            for colour in colours:
                colour[_marker(colour, captured_ns)] = NEUTRAL
        picture[_marker(picture, captured_ns)] = 255
        stamp(picture, self._name, seq, captured_ns)
        return out

    def close(self) -> None:
        """Do nothing: there is nothing to close."""


def _marker(picture: Image, captured_ns: int) -> tuple[slice, slice]:
    """Return where the marker is in a picture, or in a plane of it."""
    height, width = picture.shape[:2]
    top, bottom = (round(height * part) for part in MARKER_ROWS)
    marker_px = max(1, round(width * MARKER_WIDTH))
    left = (width - marker_px) * (captured_ns % SECOND_NS) // SECOND_NS
    return slice(top, bottom), slice(left, left + marker_px)


def background(name: str, shape: tuple[int, int, int], encoding: Encoding) -> Image:
    """Return the picture behind a source's marker and stamp, uint8 of ``shape``: bars in a hue of its own."""
    if encoding != "i420":
        picture = _bars(name, shape)
        return picture[..., ::-1].copy() if encoding == "rgb8" else picture
    rows, width, _ = shape
    coloured = _bars(name, (rows * 2 // 3, width, 3))
    # Behind the code, colour is neutral.
    stamp(coloured, name, 0, 0)
    picture = np.empty(shape, np.uint8)
    for place, plane in zip(planes_of(picture), _planes(coloured), strict=True):
        np.copyto(place, plane)
    return picture


def _planes(picture: Image) -> Iterator[Image]:
    """Yield luma, and blue and red difference in half the resolution: BT.601 in limited range."""
    levels = LIMITED_BT601 @ (picture.reshape(-1, 3).T / 255.0) + [[16], [NEUTRAL], [NEUTRAL]]
    luma, *colours = np.round(levels).astype(np.uint8).reshape(3, *picture.shape[:2])
    yield luma
    yield from (colour[::2, ::2] for colour in colours)


def _bars(name: str, shape: tuple[int, int, int]) -> Image:
    height, width, channels = shape
    colour = _colour(name) if channels == 3 else np.array([180.0])
    bars = np.linspace(1.0, 0.5, BARS)[np.arange(width) * BARS // width]
    line = (bars[:, np.newaxis] * colour).astype(np.uint16)
    fading = np.linspace(256, 150, height).astype(np.uint16)
    picture = (np.multiply.outer(fading, line) >> 8).astype(np.uint8)
    _write(picture, name)
    return picture


def _colour(name: str) -> NDArray[np.float64]:
    """Return a friendly colour (blue, green, red), 0 to 255, that depends on nothing but the name."""
    red, green, blue = colorsys.hsv_to_rgb(source_crc(name) % HUES / HUES, 0.65, 0.95)
    return 255 * np.array([blue, green, red])


def _write(picture: Image, name: str) -> None:
    """Write the name in white in the picture's middle, up to half its width and a quarter of its height."""
    height, width, _ = picture.shape
    blocks = lettering(name)
    scale = min(int(width * NAME_WIDTH) // max(1, blocks.shape[1]), height // 4 // GLYPH_ROWS)
    letters = np.repeat(np.repeat(blocks, scale, axis=0), scale, axis=1)
    top, left = (height - letters.shape[0]) // 2, (width - letters.shape[1]) // 2
    picture[top : top + letters.shape[0], left : left + letters.shape[1]][letters] = 255
