"""Cameras of this machine as captures, by OpenCV."""

from __future__ import annotations

import time

import cv2
import numpy as np
from numpy.typing import NDArray

from framepair.nodes.producer.sources.camera_pictures import CameraPictures
from framepair.nodes.producer.sources.driver_times import DriverTimes
from framepair.nodes.producer.sources.opencv import decode, first_format, open_camera
from framepair.nodes.producer.sources.source import (
    CaptureLost,
    Format,
    FrameLost,
    Position,
    SourceError,
    blaming,
)
from framepair.nodes.producer.sources.uri import Opening, SourceUri
from framepair.protocol.clocks import clock

Image = NDArray[np.uint8]

# A frame that had to be waited for is new; one that is there at once may be as old as the connection.
WAITED_PERIODS = 0.25
MAX_BACKLOG_S = 1.0


class LiveVideo:
    """A camera, whose frames come when they come; ``stamp`` says by which clock they have to be stamped."""

    # Another capture takes its place when it is opened again.
    reopened = skipped = 0

    def __init__(self, name: str, source: SourceUri, opening: Opening) -> None:
        self._source, self._read_timeout_s = source, opening.read_timeout_s
        self._pictures = CameraPictures(name, opening.wanted)
        stamp = opening.wanted.stamp
        self._caught_up = False
        self._times = None if stamp == "arrival" else DriverTimes()
        with blaming(name):
            video = open_camera(source, opening.read_timeout_s)
            self._name, self._video = name, video
            self.format: Format = first_format(name, video, self._pictures)
            self.position = self._driver_position()
            if stamp == "driver" and self.position is None:
                video.release()
                raise SourceError(
                    f"--stamp driver: the driver of {source} says no time of its frames"
                )

    def grab(self) -> bool:
        """Wait for a frame; raises CaptureLost if the source breaks off or sends nothing for too long."""
        asked_s = time.monotonic()
        if self._video.grab() if self._caught_up else self._catch_up():
            self.position = self._driver_position()
            return True
        waited_s = time.monotonic() - asked_s
        silent = waited_s >= self._read_timeout_s
        how = f"has sent nothing for {waited_s:.1f} s" if silent else "has broken off"
        raise CaptureLost(f"source {self._name}: {self._source} {how}")

    def retrieve(self, out: Image, seq: int, captured_ns: int) -> Image:  # noqa: ARG002
        """Decode the grabbed frame into ``out``; see Capture.

        OpenCV goes on in the old size when a stream changes its size without breaking off
        (opencv/opencv#27116); the new one shows when the stream is opened again.
        """
        image = decode(self._video, self._pictures.memory(out))
        if image is None:
            raise FrameLost(f"source {self._name}: a frame cannot be decoded")
        self.format = self._pictures.format(image, self.format)
        return self._pictures.write(image, out)

    def close(self) -> None:
        """Let go of the file, camera or connection."""
        self._video.release()

    def _driver_position(self) -> Position | None:
        """Return when the driver had the grabbed frame; None if it doesn't say, so that it was just now."""
        if self._times is None:
            return None
        buffer_ms = self._video.get(cv2.CAP_PROP_POS_MSEC)
        at_ns = self._times.time_ns(buffer_ms, time.monotonic_ns(), clock.now_ns())
        if at_ns is None:
            return None
        period_ns = round(1e9 / self.format.fps)
        # Drivers differ in whether it is the start of the exposure or the end of the transfer.
        return Position(at_ns, at_ns + period_ns // 2, "driver", period_ns)

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
