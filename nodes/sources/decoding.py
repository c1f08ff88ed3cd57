"""What OpenCV hands out, as this project wants it: whole images, and a format that can be relied on."""

from __future__ import annotations

import logging
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from nodes.sources.source import Format, SourceError
from nodes.sources.uri import MAX_FPS, MIN_FPS

Image = NDArray[np.uint8]

ENCODINGS = {1: "mono8", 3: "bgr8"}
USUAL_FPS = 25.0
MAX_FRAMES = 2**31

log = logging.getLogger(__name__)


def decode(video: cv2.VideoCapture, out: Image | None = None) -> Image | None:
    """Return the grabbed frame, uint8 (height, width, channels), or None if it cannot be decoded.

    It is ``out`` itself if OpenCV could decode into it: if it has the frame's shape (also with gaps between
    its rows) and the video isn't rotated by a quarter turn.
    """
    try:
        decoded, pixels = video.retrieve(out)
    except cv2.error:
        return None
    if not decoded or pixels.dtype != np.uint8:
        return None
    image = cast(Image, pixels if pixels.ndim == 3 else pixels[..., np.newaxis])
    return image if image.shape[2] in ENCODINGS else None


def reshaped(known: Format, image: Image) -> Format:
    """Return ``known`` with the shape and encoding of ``image``."""
    height, width, channels = image.shape
    encoding = ENCODINGS[channels]
    return Format((height, width, channels), encoding, known.fps, known.total, known.live)


def first_format(name: str, video: cv2.VideoCapture, *, live: bool) -> Format:
    """Grab a first frame and return what it looks like; it can be decoded again, and so isn't lost.

    The container isn't asked, because it says nothing of rotation. Raises SourceError if there is no frame.
    """
    image = decode(video) if video.grab() else None
    if image is None:
        raise SourceError(
            "it can be opened, but not one frame of it can be decoded: try it in a player"
        )
    total = 0 if live else frame_count(video)
    return reshaped(Format((0, 0, 0), fps=_fps(name, video), total=total, live=live), image)


def frame_count(video: cv2.VideoCapture) -> int:
    """Return how many frames the container says there are, 0 if it doesn't know."""
    count = video.get(cv2.CAP_PROP_FRAME_COUNT)
    return int(count) if 0 < count < MAX_FRAMES else 0


def _fps(name: str, video: cv2.VideoCapture) -> float:
    fps = video.get(cv2.CAP_PROP_FPS)
    if MIN_FPS <= fps <= MAX_FPS:
        return fps
    log.warning(
        "source %s: a rate of %g frames a second can't be right, using %g", name, fps, USUAL_FPS
    )
    return USUAL_FPS
