"""The machine-readable code in a synthetic picture: which source drew it, which frame it is, and when."""

from __future__ import annotations

import binascii
import functools
import struct
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from framepair.nodes.producer.sources.source import Image

# Every edge is a fraction of the picture's sides, so that the code is found again in a resized copy:
# the picture is divided into 64 x 36 squares, and the code fills 16 x 9 of them, one bit each.
GRID_COLUMNS, GRID_ROWS = 64, 36
CODE_COLUMNS, CODE_ROWS = 16, 9
FIRST_COLUMN, FIRST_ROW = 1, 1
# A square with less than a pixel could not be told from its neighbour.
MIN_WIDTH, MIN_HEIGHT = GRID_COLUMNS, GRID_ROWS
# Not quite black and white: JPEG overshoots at edges, and clipping would turn that into an offset.
DARK, BRIGHT = 16, 240
THRESHOLD = (DARK + BRIGHT) // 2
# A square is looked at in its centre and at this part of its side around it: away from the edges, which
# interpolation and JPEG blur.
SAMPLED = 0.15

FIELDS = struct.Struct(">IIQ")
CHECKSUM = struct.Struct(">H")
# Not 0: with 0 a black picture would have a right checksum.
CHECKSUM_START = 0xFFFF


@dataclass(frozen=True, slots=True)
class Code:
    """What the code in a picture says: the crc32 of the source's name, seq modulo 2**32, the capture time."""

    source_crc: int
    seq: int
    captured_ns: int


def source_crc(name: str) -> int:
    """Return what stands for a source's name in the code: its crc32, 32 bits."""
    return zlib.crc32(name.encode())


def stamp(image: Image, source: str, seq: int, captured_ns: int) -> None:
    """Draw the code into ``image``, uint8 (height, width, channels), in place, in its upper left quarter.

    ``seq`` is kept modulo 2**32 and ``captured_ns`` modulo 2**64. Raises ValueError if the image is
    smaller than 64 x 36 pixels.
    """
    height, width, channels = image.shape
    if height < MIN_HEIGHT or width < MIN_WIDTH:
        raise ValueError(f"{width}x{height} pixels are too few for the code: 64x36 at least")
    message = FIELDS.pack(source_crc(source), seq % 2**32, captured_ns % 2**64)
    bits = np.unpackbits(np.frombuffer(message + _checksum(message), np.uint8))
    rows, columns = _edges(height, width)
    squares = np.where(bits, np.uint8(BRIGHT), np.uint8(DARK)).reshape(CODE_ROWS, CODE_COLUMNS)
    lines = np.repeat(squares, np.diff(columns) * channels, axis=1)
    # Repeated in memory: numpy is five times slower if it has to broadcast a line into the picture.
    code = np.repeat(lines, np.diff(rows), axis=0).reshape(-1, lines.shape[1] // channels, channels)
    image[rows[0] : rows[-1], columns[0] : columns[-1]] = code


def read(image: Image) -> Code | None:
    """Return what the code in ``image`` says, uint8 (height, width, channels) or (height, width).

    None if there is none, or it cannot be read without doubt, or the image is too small to hold one.
    """
    height, width = image.shape[:2]
    if height < MIN_HEIGHT or width < MIN_WIDTH:
        return None
    patches = image[_looked_at(height, width)].reshape(CODE_ROWS, 3, CODE_COLUMNS, -1)
    levels = patches.mean(axis=(1, 3))
    data = np.packbits(levels > THRESHOLD).tobytes()
    message, checksum = data[: FIELDS.size], data[FIELDS.size :]
    return Code(*FIELDS.unpack(message)) if checksum == _checksum(message) else None


def _checksum(message: bytes) -> bytes:
    return CHECKSUM.pack(binascii.crc_hqx(message, CHECKSUM_START))


@functools.lru_cache(maxsize=8)
def _edges(height: int, width: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return where each row and column of squares begins, and where the last one ends, in pixels."""
    rows = np.arange(FIRST_ROW, FIRST_ROW + CODE_ROWS + 1)
    columns = np.arange(FIRST_COLUMN, FIRST_COLUMN + CODE_COLUMNS + 1)
    return _nearest(rows, height, GRID_ROWS), _nearest(columns, width, GRID_COLUMNS)


def _nearest(squares: NDArray[np.intp], side_px: int, grid: int) -> NDArray[np.intp]:
    """Return ``squares * side_px / grid``, rounded; a half goes up, always, so that no two edges meet."""
    return (2 * squares * side_px + grid) // (2 * grid)


@functools.lru_cache(maxsize=8)
def _looked_at(height: int, width: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the index of the pixels that are looked at, (rows x 3, columns x 3)."""
    rows = _middles(FIRST_ROW, CODE_ROWS, height / GRID_ROWS)
    columns = _middles(FIRST_COLUMN, CODE_COLUMNS, width / GRID_COLUMNS)
    return rows[:, np.newaxis], columns[np.newaxis, :]


def _middles(first: int, count: int, square_px: float) -> NDArray[np.intp]:
    centres = (np.arange(first, first + count) + 0.5) * square_px
    around = np.round(np.array([-SAMPLED, 0, SAMPLED]) * square_px)
    pixels: NDArray[np.intp] = (np.floor(centres)[:, np.newaxis] + around).astype(np.intp)
    return pixels.ravel()
