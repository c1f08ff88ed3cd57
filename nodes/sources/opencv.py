"""Opening videos with OpenCV: quietly, within a time limit, and with a sentence for what goes wrong."""

from __future__ import annotations

import math
import os
import stat
import time
from pathlib import Path

import cv2

from nodes.sources.decoding import frame_count
from nodes.sources.source import SourceError
from nodes.sources.uri import SourceUri

# FFmpeg prints what it thinks of a video on stderr; what matters is raised or logged by us. FFmpeg's
# own choice for RTSP is UDP, which loses packets and hangs behind a firewall (opencv/opencv#27091).
ENVIRONMENT = {
    "OPENCV_FFMPEG_LOGLEVEL": "-8",
    "OPENCV_FFMPEG_CAPTURE_OPTIONS": "rtsp_flags;prefer_tcp",
}
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
    source: SourceUri, open_timeout_s: float, read_timeout_s: float
) -> cv2.VideoCapture:
    """Open a network stream; raises SourceError if that fails or takes longer than ``open_timeout_s``.

    With several threads FFmpeg holds back a frame for each of them, so that on a machine with 16
    processors frames come 0.6 s late; one thread has no such delay, and decodes 1080p well in time.
    """
    _prepare()
    limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, _milliseconds(open_timeout_s)]
    limits += [cv2.CAP_PROP_READ_TIMEOUT_MSEC, _milliseconds(read_timeout_s)]
    asked_s = time.monotonic()
    # The back end must be named: another one might be chosen that knows no time-outs (opencv/opencv#23207).
    video = cv2.VideoCapture(source.location, cv2.CAP_FFMPEG, [*limits, cv2.CAP_PROP_N_THREADS, 1])
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
        f"{source} cannot be opened: check the address, user and password, and that it is sending"
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
    """Have OpenCV be quiet and prefer TCP, unless the user has set the variables for it."""
    for variable, value in ENVIRONMENT.items():
        os.environ.setdefault(variable, value)
    if LOG_LEVEL not in os.environ:
        # It moved in OpenCV 5.
        set_log_level = getattr(cv2, "setLogLevel", None) or cv2.utils.logging.setLogLevel
        set_log_level(SILENT)


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))
