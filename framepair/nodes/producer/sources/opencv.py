"""Opening cameras with OpenCV: quietly, within a time limit, and with a sentence for what goes wrong."""

from __future__ import annotations

import logging
import math
import os
from pathlib import Path
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from framepair.nodes.producer.sources.camera_pictures import ENCODINGS, CameraPictures
from framepair.nodes.producer.sources.source import Format, SourceError
from framepair.nodes.producer.sources.uri import MAX_FPS, MIN_FPS, SourceUri

Image = NDArray[np.uint8]

USUAL_FPS = 25.0

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


def first_format(name: str, video: cv2.VideoCapture, pictures: CameraPictures) -> Format:
    """Grab a first frame and return what it looks like; it can be decoded again, and so isn't lost.

    The container isn't asked, because it says nothing of rotation. Raises SourceError if there is no frame.
    """
    image = decode(video) if video.grab() else None
    if image is None:
        raise SourceError(
            "it can be opened, but not one frame of it can be decoded: try it in a player"
        )
    return pictures.format(image, Format((0, 0, 0), fps=_fps(name, video), live=True))


def _fps(name: str, video: cv2.VideoCapture) -> float:
    fps = video.get(cv2.CAP_PROP_FPS)
    if MIN_FPS <= fps <= MAX_FPS:
        return fps
    log.warning(
        "source %s: a rate of %g frames a second can't be right, using %g", name, fps, USUAL_FPS
    )
    return USUAL_FPS


LOG_LEVEL = "OPENCV_LOG_LEVEL"
SILENT = 0
CAMERA_TIMEOUT = "OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT"


def open_camera(source: SourceUri, read_timeout_s: float) -> cv2.VideoCapture:
    """Open a camera of this computer; raises SourceError if there is none, or it is in use."""
    _prepare()
    # Read once per process, at the first frame; whole seconds.
    os.environ.setdefault(CAMERA_TIMEOUT, str(max(1, math.ceil(read_timeout_s))))
    device = Path(source.location)
    if not device.exists():
        raise SourceError(f"there is no camera {device}: list those there are with ls /dev/video*")
    if not os.access(device, os.R_OK | os.W_OK):
        raise SourceError(
            f"{device} may not be used by this user: make them a member of group video"
        )
    video = cv2.VideoCapture(str(device), cv2.CAP_V4L2)
    if not video.isOpened():
        raise SourceError(
            f"{device} is no camera, or another program uses it: end that one, or name another"
        )
    return video


def _prepare() -> None:
    """Have OpenCV be quiet, unless the user has set the variable for it."""
    if LOG_LEVEL not in os.environ:
        # It moved in OpenCV 5.
        set_log_level = getattr(cv2, "setLogLevel", None) or cv2.utils.logging.setLogLevel
        set_log_level(SILENT)
