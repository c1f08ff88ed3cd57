"""Frames in another size, by the mean of the pixels that each new one covers."""

from __future__ import annotations

from framepair.protocol.memory.planes import planes_of
from framepair.protocol.memory.ring import Pixels, Shape
from framepair.protocol.wire.frame import Encoding
from framepair.protocol.wire.header import ProtocolError


def scaled_shape(shape: Shape, encoding: Encoding, size: tuple[int, int]) -> Shape:
    """Return the shape of a frame once its picture has ``size``, (width, height).

    Raises ProtocolError if its encoding has no such pictures.
    """
    width, height = size
    if encoding != "i420":
        return height, width, shape[2]
    if width % 2 or height % 2:
        raise ProtocolError(f"i420 has no picture of {width}x{height}: ask for an even size")
    return height * 3 // 2, width, 1


def scale(image: Pixels, out: Pixels, encoding: Encoding) -> None:
    """Write ``image`` into ``out``, which is of a ``scaled_shape``."""
    import cv2

    for part, into in zip(_parts(image, encoding), _parts(out, encoding), strict=True):
        height, width = into.shape[:2]
        cv2.resize(part, (width, height), dst=into, interpolation=cv2.INTER_AREA)


def _parts(image: Pixels, encoding: Encoding) -> tuple[Pixels, ...]:
    if encoding == "i420":
        return planes_of(image)
    # Of one channel cv2 makes arrays of two dimensions, which would not be written in place.
    return (image[:, :, 0] if image.shape[2] == 1 else image,)
