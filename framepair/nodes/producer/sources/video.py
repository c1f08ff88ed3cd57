"""Videos as captures: files, which can be had at any pace, and live sources, which can be lost."""

from __future__ import annotations

import logging
import time
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from framepair.nodes.producer.sources.opencv import (
    decode,
    first_format,
    open_camera,
    open_file,
    open_stream,
    reshaped,
)
from framepair.nodes.producer.sources.source import (
    CaptureLost,
    Format,
    FrameLost,
    SourceError,
    blaming,
)
from framepair.nodes.producer.sources.uri import SourceUri

Image = NDArray[np.uint8]

# Containers count roughly; a file that lacks more than a tenth is damaged.
WHOLE = 0.9
# A frame that had to be waited for is new; one that is there at once may be as old as the connection.
WAITED_PERIODS = 0.25
MAX_BACKLOG_S = 1.0

log = logging.getLogger(__name__)


class _Video:
    """What files and live sources have in common: OpenCV decodes them."""

    # Who opens it again has a new one.
    reopened = 0

    def __init__(self, name: str, video: cv2.VideoCapture, *, live: bool) -> None:
        self._name = name
        self._video = video
        self.format: Format = first_format(name, video, live=live)

    def retrieve(self, out: Image, seq: int, captured_ns: int) -> Image:  # noqa: ARG002
        """Decode the grabbed frame into ``out``; see Capture.

        OpenCV goes on in the old size when a stream changes its size without breaking off
        (opencv/opencv#27116); the new one shows when the stream is opened again.
        """
        image = decode(self._video, out)
        if image is None:
            raise FrameLost(f"source {self._name}: a frame cannot be decoded")
        if image.shape != out.shape:
            self.format = reshaped(self.format, image)
            return image
        if image is not out:
            np.copyto(out, image)
        return out

    def close(self) -> None:
        """Let go of the file, camera or connection."""
        self._video.release()


class FileVideo(_Video):
    """A video file, from its first frame to its last, or over and over again with ``loop``."""

    def __init__(self, name: str, source: SourceUri, *, loop: bool) -> None:
        with blaming(name):
            super().__init__(name, open_file(source), live=False)
        self._source, self._loop = source, loop
        if loop:
            self.format = replace(self.format, total=0)
        self._grabbed = 0

    def grab(self) -> bool:
        """Go on to the next frame; False after the last one. Raises SourceError if looping it fails."""
        # The first frame was grabbed when the file was opened.
        if self._grabbed and not self._video.grab():
            if not self._loop:
                self._warn_if_short()
                return False
            self._rewind()
        self._grabbed += 1
        return True

    def _rewind(self) -> None:
        # Opened again rather than sought, because not every container can be sought in exactly.
        self.close()
        with blaming(self._name):
            self._video = open_file(self._source)
            if not self._video.grab():
                raise SourceError(
                    f"{self._source} has no frames any more: leave it alone while it is played"
                )
        self._grabbed = 0

    def _warn_if_short(self) -> None:
        total = self.format.total
        if self._grabbed < WHOLE * total:
            message = "source %s ended after %d of %d frames: the file is damaged or cut short"
            log.warning(message, self._name, self._grabbed, total)


class LiveVideo(_Video):
    """A camera or a network stream, whose frames come when they come."""

    def __init__(
        self,
        name: str,
        source: SourceUri,
        open_timeout_s: float,
        read_timeout_s: float,
        *,
        allow_redirects: bool = False,
    ) -> None:
        self._source, self._read_timeout_s = source, read_timeout_s
        self._caught_up = False
        with blaming(name):
            if source.kind == "camera":
                video = open_camera(source, read_timeout_s)
            else:
                video = open_stream(
                    source, open_timeout_s, read_timeout_s, allow_redirects=allow_redirects
                )
            super().__init__(name, video, live=True)

    def grab(self) -> bool:
        """Wait for a frame; raises CaptureLost if the source breaks off or sends nothing for too long."""
        asked_s = time.monotonic()
        if self._video.grab() if self._caught_up else self._catch_up():
            return True
        waited_s = time.monotonic() - asked_s
        silent = waited_s >= self._read_timeout_s
        how = f"has sent nothing for {waited_s:.1f} s" if silent else "has broken off"
        raise CaptureLost(f"source {self._name}: {self._source} {how}")

    def _catch_up(self) -> bool:
        """Leave out what piled up since the source was opened: stamped now, it would bear a wrong time."""
        self._caught_up = True
        new_s = WAITED_PERIODS / self.format.fps
        started_s = asked_s = time.monotonic()
        while self._video.grab():
            now_s = time.monotonic()
            if now_s - asked_s >= new_s or now_s - started_s >= MAX_BACKLOG_S:
                return True
            asked_s = now_s
        return False
