"""JPEG: frames as small files, for links that the pixels don't fit."""

from __future__ import annotations

import re

import simplejpeg

from framepair.protocol.memory.ring import Pixels
from framepair.protocol.wire.header import ProtocolError

MARKER, START_OF_SCAN, END_OF_IMAGE = b"\xff", 0xDA, b"\xff\xd9"
# Beginnings of frames that are not baseline or extended sequential ones: progressive, lossless and others.
OTHER_FRAMES = {*range(0xC2, 0xD0)} - {0xC4, 0xC8, 0xCC}
# What ends a scan: any marker but those that a scan has in it.
IN_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7]")
# By the number of channels. Video has half of the resolution in colour before it gets here.
COLOURS = {3: ("BGR", "420"), 1: ("GRAY", "Gray")}


def encode(image: Pixels, quality: int) -> bytes:
    """Return ``image``, (height, width, 3 or 1) BGR or grey, as a JPEG file of ``quality`` 1 to 100."""
    colours, subsampling = COLOURS[image.shape[2]]
    file: bytes = simplejpeg.encode_jpeg(
        image, quality=quality, colorspace=colours, colorsubsampling=subsampling
    )
    return file


def decode(file: memoryview, out: Pixels) -> None:
    """Decode a JPEG file into ``out``, (height, width, 3 or 1), without holding the interpreter's lock.

    Raises ProtocolError if the file is damaged or is not of that size; ``out`` may be half written then.
    """
    height, width, channels = out.shape
    colours, _ = COLOURS[channels]
    try:
        _refuse_slow(file)
        found = simplejpeg.decode_jpeg_header(file)
        if found[:2] != (height, width) or (found[2] == "Gray") != (channels == 1):
            raise ProtocolError(f"a JPEG of {found[1]}x{found[0]}, not {width}x{height}")
        simplejpeg.decode_jpeg(file, colorspace=colours, buffer=out)
    except ProtocolError:
        raise
    except (ValueError, TypeError, IndexError) as error:
        raise ProtocolError(f"it is no whole JPEG: {error}") from None


def _refuse_slow(file: memoryview) -> None:
    """Raise ProtocolError unless all of the picture is in one scan, as ``encode`` makes it.

    A picture in many scans, which are allowed to say the same again and again, takes hours to decode.
    """
    position = 2
    while file[position : position + 1] == MARKER:
        kind = file[position + 1]
        length = int.from_bytes(file[position + 2 : position + 4], "big")
        position += 2 + length
        if kind in OTHER_FRAMES or length < 2:
            raise ProtocolError("a JPEG of a kind that takes too long to decode")
        if kind == START_OF_SCAN:
            break
    found = IN_SCAN.search(file, position)
    if found is None or bytes(file[found.start() :]) != END_OF_IMAGE:
        raise ProtocolError("it is no whole JPEG: its first scan is not followed by its end")
