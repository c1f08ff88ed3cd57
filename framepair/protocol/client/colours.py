"""Pictures of any encoding as BGR."""

from __future__ import annotations

from typing import Final, cast

import numpy as np
from numpy.typing import NDArray

from framepair.protocol.memory.ring import Pixels
from framepair.protocol.wire.frame import Colour, FrameHeader

# FFmpeg's AVColorSpace and AVColorRange.
MATRICES: Final = {"bt601": 5, "bt709": 1, "bt2020": 9, "fcc": 4, "smpte240m": 7}
LIMITED, FULL = 1, 2


def in_bgr(image: Pixels, header: FrameHeader) -> Pixels:
    """Return ``image`` as (height, width, 3) in BGR: itself if it is, else in memory of its own."""
    match header.encoding:
        case "bgr8":
            return image
        case "rgb8":
            return np.ascontiguousarray(image[..., ::-1])
        case "mono8":
            full = header.colour is None or header.colour.full
            return np.repeat(image if full else _spread()[image], 3, axis=2)
        case "i420":
            return _from_planes(image, header.colour or Colour())


def _spread() -> NDArray[np.uint8]:
    """Return what each level of luma in limited range, 16 to 235, is in grey, 0 to 255."""
    levels = (np.arange(256) - 16) * 255 / 219
    return np.clip(np.round(levels), 0, 255).astype(np.uint8)


def _from_planes(image: Pixels, colour: Colour) -> Pixels:
    """Return what a producer makes of the same planes, by the same code: swscale."""
    # Most consumers never need it.
    from av.video.frame import VideoFrame
    from av.video.reformatter import Interpolation, VideoReformatter

    frame = VideoFrame.from_ndarray(np.ascontiguousarray(image[..., 0]), format="yuv420p")
    frame.colorspace = MATRICES[colour.matrix]
    frame.color_range = FULL if colour.full else LIMITED
    found = VideoReformatter().reformat(
        frame, format="bgr24", interpolation=Interpolation.BICUBIC, threads=1
    )
    return cast(Pixels, found.to_ndarray())
