"""Where frames come from: a file, a camera, a network stream, or nowhere (synthetic)."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from nodes.sources.source import CaptureLost, Format, FrameLost, SourceError, blaming
from nodes.sources.synthetic import Synthetic
from nodes.sources.uri import SourceUri, parse, redact

__all__ = [
    "Capture",
    "CaptureLost",
    "Format",
    "FrameLost",
    "SourceError",
    "SourceUri",
    "open_capture",
    "parse",
    "redact",
]


class Capture(Protocol):
    """An open source. One thread uses it at a time."""

    @property
    def reopened(self) -> int:
        """How often the source was opened again, after it had failed."""

    @property
    def format(self) -> Format:
        """What frames look like; ``retrieve`` changes it if the source changed the size of its frames."""

    def grab(self) -> bool:
        """Wait for the next frame and take it; False if the video is over.

        A grabbed frame need not be retrieved. Raises CaptureLost if a live source failed or sent
        nothing for ``read_timeout_s``, and SourceError if a file that is looped cannot be opened again.
        """

    def retrieve(self, out: NDArray[np.uint8], seq: int, captured_ns: int) -> NDArray[np.uint8]:
        """Decode the grabbed frame into ``out``, uint8 of shape ``format.shape``, and return it.

        Only if the frame has another shape than ``out``, another array is returned, and ``format`` says
        so from then on. ``seq`` and ``captured_ns`` are what a synthetic source writes into the picture.
        Raises FrameLost if this one frame cannot be decoded.
        """

    def close(self) -> None:
        """Let go of the file, camera or connection; it may be called again."""


def open_capture(
    name: str, uri: str, *, loop: bool, open_timeout_s: float, read_timeout_s: float
) -> Capture:
    """Open what ``uri`` names for the source ``name``; raises SourceError if that doesn't work.

    ``loop`` starts a file again at its end. The time-outs are for live sources: how long opening one
    may take, and how long a frame may stay away. A signal has to wait that long, too.
    """
    with blaming(name):
        source = parse(uri)
    if source.synthetic is not None:
        return Synthetic(name, source.synthetic, loop=loop)
    # Not at the top, because it loads OpenCV, which a synthetic source shouldn't have to wait for.
    from nodes.sources.video import FileVideo, LiveVideo

    if source.live:
        return LiveVideo(name, source, open_timeout_s, read_timeout_s)
    return FileVideo(name, source, loop=loop)
