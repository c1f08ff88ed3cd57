"""Frames as small JPEG files, of the width that a browser shows."""

from __future__ import annotations

from typing import Final

import numpy as np
from msgspec.structs import replace

from framepair.protocol.client.colours import in_bgr
from framepair.protocol.client.scaling import scale, scaled_shape
from framepair.protocol.memory import jpeg
from framepair.protocol.memory.payloads import PAYLOADS
from framepair.protocol.memory.ring import Pixels
from framepair.protocol.wire.frame import FrameHeader, picture_size

# Of what is only looked at: 30 kB for 640x360, a third of quality 90.
QUALITY: Final = 80


def draw(
    header: FrameHeader, pixels: Pixels | memoryview, widths: frozenset[int]
) -> dict[int, bytes]:
    """Return the frame as a JPEG file for each of ``widths``: that wide or more, or its own size if it is less.

    Raises ProtocolError if the frame is a damaged file. A frame is scaled by a whole divisor, so that several
    widths often make one file; a file that is small enough is passed on as it is.
    """
    width, _ = picture_size(header.shape, header.encoding)
    divisors = {wanted: max(1, width // wanted) for wanted in widths}
    files = {divisor: _file(header, pixels, divisor) for divisor in set(divisors.values())}
    return {wanted: files[divisor] for wanted, divisor in divisors.items()}


def _file(header: FrameHeader, pixels: Pixels | memoryview, divisor: int) -> bytes:
    if isinstance(pixels, memoryview):
        if header.encoding == "i420":
            return _coded(header, _reduced(header, _decoded(header, pixels), divisor))
        if divisor == 1 and not _is_video(header):
            return bytes(pixels)
        least = header.shape[1] // divisor
        picture = jpeg.decode_scaled(pixels, header.shape, header.encoding, least)
        return _coded(header, picture)
    return _coded(header, _reduced(header, pixels, divisor))


def _decoded(header: FrameHeader, file: memoryview) -> Pixels:
    image = np.empty(header.shape, np.uint8)
    PAYLOADS[header.payload].store(file, image, header.encoding)
    return image


def _reduced(header: FrameHeader, image: Pixels, divisor: int) -> Pixels:
    """Return the picture in a size that is smaller by ``divisor``."""
    if divisor == 1:
        return image
    width, height = (side // divisor for side in picture_size(header.shape, header.encoding))
    if header.encoding == "i420":
        width, height = width // 2 * 2, height // 2 * 2
    small = np.empty(
        scaled_shape(header.shape, header.encoding, (max(2, width), max(2, height))), np.uint8
    )
    scale(image, small, header.encoding)
    return small


def _coded(header: FrameHeader, picture: Pixels) -> bytes:
    if not _is_video(header):
        return jpeg.encode(picture, QUALITY, header.encoding)
    return jpeg.encode(in_bgr(picture, replace(header, shape=picture.shape)), QUALITY, "bgr8")


def _is_video(header: FrameHeader) -> bool:
    """Return whether the levels are those of video, which a browser would not show as they are meant."""
    full = header.colour is None or header.colour.full
    return header.encoding == "i420" or (header.encoding == "mono8" and not full)
