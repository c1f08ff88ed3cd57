"""Clips of which only the announcement is received: which frames there are, and no pixels."""

from __future__ import annotations

from functools import cached_property
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from framepair.protocol.client.clip import Clip
from framepair.protocol.client.pixels import FramePixels
from framepair.protocol.memory.ring import Pixels
from framepair.protocol.wire.pair import ClipHeader


def announced_clip(source: str, header: ClipHeader) -> Clip:
    """Return the clip that ``header`` announces, without its frames."""
    return AnnouncedClip(source, header, (), 0, NoPixels(source, None))


class AnnouncedClip(Clip):
    """A clip that knows how many frames there are, and their numbers; all else of them raises ValueError."""

    @cached_property
    def seq(self) -> NDArray[np.int64]:
        """The producer's numbers of the frames: (n,)."""
        none = np.empty(0, np.int64)
        spans = self.header.spans
        return np.concatenate(
            [none, *(span.first + np.arange(span.count, dtype=np.int64) for span in spans)]
        )

    @cached_property
    def run(self) -> NDArray[np.int64]:
        """Of each frame, which life of its producer captured it: (n,)."""
        spans = self.header.spans
        return np.repeat(
            np.array([span.run for span in spans], np.int64), [span.count for span in spans]
        )

    @cached_property
    def captured_ns(self) -> NDArray[np.int64]:
        """Raise ValueError: that stands in the headers of frames."""
        _refuse(self.source)

    def __len__(self) -> int:
        return self.header.frames


class NoPixels(FramePixels):
    """What raises ValueError if anything is asked for."""

    @property
    def images(self) -> list[Pixels]:
        """Raise ValueError."""
        _refuse(self._source)

    @property
    def array(self) -> Pixels:
        """Raise ValueError."""
        _refuse(self._source)

    def select(self, chosen: slice) -> FramePixels:  # noqa: ARG002
        """Raise ValueError."""
        _refuse(self._source)

    def copy(self) -> FramePixels:
        """Return this: there is nothing to copy."""
        return self

    def held_by(self, owner: object) -> FramePixels:  # noqa: ARG002
        """Return this: it holds nothing."""
        return self

    def __reduce__(self) -> tuple[type[NoPixels], tuple[str, None]]:
        return NoPixels, (self._source, None)


def _refuse(source: str) -> NoReturn:
    raise ValueError(f"the frames of {source} are not received: leave out sources=[]")
