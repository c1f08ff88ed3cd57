"""A producer whose files are decoded by OpenCV, to be compared with: python -m bench.opencv_producer"""

from __future__ import annotations

from typing import cast

import cv2
import numpy as np

from framepair.nodes.producer import main
from framepair.nodes.producer.sources import file, opening
from framepair.nodes.producer.sources.source import Capture, Format, FrameLost, Image, Position
from framepair.nodes.producer.sources.uri import Opening, SourceUri

SECOND_NS = 1_000_000_000


class OpenCvFile:
    """A file, over and over, decoded into the memory that a frame travels in, stamped by its number."""

    reopened = skipped = 0

    def __init__(self, path: str) -> None:
        self._path = path
        self._video = cv2.VideoCapture(path, cv2.CAP_FFMPEG)
        height, width = (
            int(self._video.get(side))
            for side in (cv2.CAP_PROP_FRAME_HEIGHT, cv2.CAP_PROP_FRAME_WIDTH)
        )
        self.format = Format((height, width, 3), fps=self._video.get(cv2.CAP_PROP_FPS))
        self._grabbed = 0

    @property
    def position(self) -> Position:
        """Time of the grabbed frame."""
        period_ns = SECOND_NS / self.format.fps
        return Position(round((self._grabbed - 1) * period_ns), round(self._grabbed * period_ns))

    def grab(self) -> bool:
        """Go on to the next frame; after the last one begin again."""
        self._grabbed += 1
        if not self._video.grab():
            self._video = cv2.VideoCapture(self._path, cv2.CAP_FFMPEG)
            return self._video.grab()
        return True

    def retrieve(self, out: Image, seq: int, captured_ns: int) -> Image:  # noqa: ARG002
        """Decode the grabbed frame into ``out``."""
        decoded, image = self._video.retrieve(out)
        if not decoded:
            raise FrameLost("a frame cannot be decoded")
        if image is not out:
            np.copyto(out, image)
        return out

    def close(self) -> None:
        """Close the file."""
        self._video.release()


class OpenCvFiles:
    """A kind of source: what is a file otherwise."""

    USAGE = file.USAGE
    parse = staticmethod(file.parse)

    def open_capture(self, name: str, source: SourceUri, opening: Opening) -> Capture:  # noqa: ARG002
        """Open a file."""
        return OpenCvFile(source.location)


if __name__ == "__main__":
    opening.KINDS["file"] = cast(opening.Kind, OpenCvFiles())
    main.main()
