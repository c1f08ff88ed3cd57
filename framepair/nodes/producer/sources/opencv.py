"""Opening videos with OpenCV: quietly, within a time limit, and with a sentence for what goes wrong."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from framepair.nodes.producer.sources.source import Format, SourceError
from framepair.nodes.producer.sources.uri import MAX_FPS, MIN_FPS, SourceUri
from framepair.protocol.wire.frame import Encoding

Image = NDArray[np.uint8]

ENCODINGS: dict[int, Encoding] = {1: "mono8", 3: "bgr8"}
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


# FFmpeg prints what it thinks of a video on stderr; what matters is raised or logged by us. FFmpeg's
# own choice for RTSP is UDP, which loses packets and hangs behind a firewall (opencv/opencv#27091).
QUIET = ("OPENCV_FFMPEG_LOGLEVEL", "-8")
CAPTURE_OPTIONS = "OPENCV_FFMPEG_CAPTURE_OPTIONS"
STREAM_OPTIONS = {"rtsp_flags": "prefer_tcp"}
LOG_LEVEL = "OPENCV_LOG_LEVEL"
SILENT = 0
CAMERA_TIMEOUT = "OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT"


def open_file(source: SourceUri) -> cv2.VideoCapture:
    """Open a video file; raises SourceError if it isn't there or isn't one."""
    _prepare()
    path = Path(source.location).absolute()
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise SourceError(f"there is no file {path}: check the path") from None
    except OSError as error:
        raise SourceError(f"{path} cannot be looked at: {error.strerror}") from None
    if stat.S_ISDIR(mode):
        raise SourceError(f"{path} is a directory: name a video in it")
    if not os.access(path, os.R_OK):
        raise SourceError(f"{path} may not be read by this user: change its permissions")
    # Without file: in front, FFmpeg takes a name with a colon for a URL.
    video = cv2.VideoCapture(f"file:{path}", cv2.CAP_FFMPEG)
    if not video.isOpened():
        raise SourceError(
            f"{path} is not a video that can be played: it is of another kind, or cut short"
        )
    return video


def open_stream(
    source: SourceUri,
    open_timeout_s: float,
    read_timeout_s: float,
    *,
    allow_redirects: bool = False,
) -> cv2.VideoCapture:
    """Open a network stream; raises SourceError if that fails or takes longer than ``open_timeout_s``.

    Redirects and playlists, which may name any address, are followed only with ``allow_redirects``.

    With several threads FFmpeg holds back a frame for each of them, so that on a machine with 16
    processors frames come 0.6 s late; one thread has no such delay, and decodes 1080p well in time.
    """
    _prepare()
    limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, _milliseconds(open_timeout_s)]
    limits += [cv2.CAP_PROP_READ_TIMEOUT_MSEC, _milliseconds(read_timeout_s)]
    asked_s = time.monotonic()
    # The back end must be named: another one might be chosen that knows no time-outs (opencv/opencv#23207).
    with _capture_options(source, allow_redirects):
        video = cv2.VideoCapture(
            source.location, cv2.CAP_FFMPEG, [*limits, cv2.CAP_PROP_N_THREADS, 1]
        )
    if video.isOpened() and source.location.startswith("http") and frame_count(video):
        video.release()
        raise SourceError(
            f"{source} is a recording, not a live stream: download it and name the file"
        )
    if video.isOpened():
        return video
    if time.monotonic() - asked_s >= open_timeout_s:
        raise SourceError(
            f"{source} did not answer within {open_timeout_s:g} s: is it on, and the address right?"
        )
    raise SourceError(
        f"{source} cannot be opened: check the address, user and password, and that it is sending;"
        " where it redirects or sends a playlist, --allow-redirects"
    )


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
    """Make OpenCV quiet, unless the user has set the variables for it."""
    os.environ.setdefault(*QUIET)
    if LOG_LEVEL not in os.environ:
        # It moved in OpenCV 5.
        set_log_level = getattr(cv2, "setLogLevel", None) or cv2.utils.logging.setLogLevel
        set_log_level(SILENT)


@contextlib.contextmanager
def _capture_options(source: SourceUri, allow_redirects: bool) -> Iterator[None]:
    """Set what OpenCV tells FFmpeg while entered, unless the user has set the variable for it."""
    if CAPTURE_OPTIONS in os.environ:
        yield
        return
    options = STREAM_OPTIONS | ({} if allow_redirects else source.confinement)
    os.environ[CAPTURE_OPTIONS] = "|".join(f"{name};{value}" for name, value in options.items())
    try:
        yield
    finally:
        del os.environ[CAPTURE_OPTIONS]


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))
