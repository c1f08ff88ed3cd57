"""Pictures of a camera as they are wanted: OpenCV hands them out in BGR, or grey."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from framepair.nodes.producer.sources.fitting import Fitting
from framepair.nodes.producer.sources.source import Format
from framepair.nodes.producer.sources.uri import Wanted
from framepair.protocol.wire.frame import Colour, Encoding

Image = NDArray[np.uint8]

ENCODINGS: Final[Mapping[int, Encoding]] = {1: "mono8", 3: "bgr8"}
# How one becomes another, in steps.
CONVERSIONS: Final[Mapping[tuple[Encoding, Encoding], tuple[int, ...]]] = {
    ("bgr8", "rgb8"): (cv2.COLOR_BGR2RGB,),
    ("bgr8", "mono8"): (cv2.COLOR_BGR2GRAY,),
    ("bgr8", "i420"): (cv2.COLOR_BGR2YUV_I420,),
    ("mono8", "bgr8"): (cv2.COLOR_GRAY2BGR,),
    ("mono8", "rgb8"): (cv2.COLOR_GRAY2BGR,),
    ("mono8", "i420"): (cv2.COLOR_GRAY2BGR, cv2.COLOR_BGR2YUV_I420),
}
# What OpenCV makes planes with.
OF_PLANES: Final = Colour("bt601", full=False)


class CameraPictures:
    """Makes pictures of what OpenCV decoded, (height, width, 3 or 1), of the source ``name``."""

    def __init__(self, name: str, wanted: Wanted) -> None:
        self._pixels, self._size = wanted.pixels, wanted.size
        self._fitting = Fitting(name, wanted)

    def memory(self, out: Image) -> Image | None:
        """Return what to decode into for a picture in ``out``; None: into memory of OpenCV's own."""
        return out if self._pixels is None and self._size is None else None

    def format(self, image: Image, known: Format) -> Format:
        """Return ``known`` with shape, encoding and colour of the picture that ``image`` becomes."""
        encoding = self._pixels or ENCODINGS[image.shape[2]]
        width, height = self._fitting.sides(image.shape[1], image.shape[0])
        if encoding == "i420":
            return replace(
                known, shape=(height * 3 // 2, width, 1), encoding=encoding, colour=OF_PLANES
            )
        shape = (height, width, 1 if encoding == "mono8" else 3)
        return replace(known, shape=shape, encoding=encoding, colour=None)

    def write(self, image: Image, out: Image) -> Image:
        """Write the picture into ``out`` if it has its shape; return that, or the picture."""
        if image is out:
            return out
        picture = self._converted(self._scaled(image), ENCODINGS[image.shape[2]])
        if picture.shape != out.shape:
            return picture
        np.copyto(out, picture)
        return out

    def _scaled(self, image: Image) -> Image:
        width, height = self._fitting.sides(image.shape[1], image.shape[0])
        if self._size is None:
            return image[:height, :width]
        # Averages what falls together; where nothing does, it would only repeat pixels.
        smaller = width <= image.shape[1] and height <= image.shape[0]
        how = cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
        return _with_channels(cv2.resize(image, (width, height), interpolation=how))

    def _converted(self, image: Image, own: Encoding) -> Image:
        for step in CONVERSIONS.get((own, self._pixels or own), ()):
            image = _with_channels(cv2.cvtColor(np.ascontiguousarray(image), step))
        return image


def _with_channels(image: NDArray[np.generic]) -> Image:
    pixels: Image = image.astype(np.uint8, copy=False)
    return pixels if pixels.ndim == 3 else pixels[..., np.newaxis]
