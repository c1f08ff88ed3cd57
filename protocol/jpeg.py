"""JPEG: frames as small files, for links that the pixels don't fit."""

from __future__ import annotations

import simplejpeg

from protocol.header import ProtocolError
from protocol.ring import Pixels

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
        found = simplejpeg.decode_jpeg_header(file)
        if found[:2] != (height, width) or (found[2] == "Gray") != (channels == 1):
            raise ProtocolError(f"a JPEG of {found[1]}x{found[0]}, not {width}x{height}")
        simplejpeg.decode_jpeg(file, colorspace=colours, buffer=out)
    except (ValueError, TypeError) as error:
        raise ProtocolError(f"it is no whole JPEG: {error}") from None
