"""Videos that are played faster or slower than they were captured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from framepair.nodes.producer.sources.source import (
    Capture,
    Compressed,
    Format,
    Image,
    Position,
    Retelling,
    Retold,
)
from framepair.nodes.producer.sources.uri import MAX_FPS, MIN_FPS


def sped_up(capture: Capture, speed: float) -> Capture:
    """Return ``capture`` played ``speed`` times as fast, itself if that is 1."""
    return capture if speed == 1.0 else SpedUp(capture, speed)


class SpedUp:
    """A capture whose frames are closer together by the factor ``speed``.

    Of a recording frames keep their names; pairs are others than those that were recorded.
    """

    window_ns: int | None = None

    def __init__(self, capture: Capture, speed: float) -> None:
        self._capture, self._speed = capture, speed

    @property
    def reopened(self) -> int:
        """How often the source was opened again; see Capture."""
        return self._capture.reopened

    @property
    def skipped(self) -> int:
        """How many frames were left out, as wanted; see Capture."""
        return self._capture.skipped

    @property
    def format(self) -> Format:
        """What frames look like, and how fast they come now; see Capture."""
        known = self._capture.format
        return replace(known, fps=min(max(known.fps * self._speed, MIN_FPS), MAX_FPS))

    @property
    def position(self) -> Position | None:
        """Time of the grabbed frame, and of the next; see Capture."""
        found = self._capture.position
        if found is None:
            return None
        at_ns, next_ns = (round(ns / self._speed) for ns in (found.at_ns, found.next_ns))
        return replace(found, at_ns=at_ns, next_ns=next_ns)

    @property
    def run(self) -> int | None:
        """The run of the first frame; see Retelling."""
        return self._capture.run if isinstance(self._capture, Retelling) else None

    def grab(self) -> bool:
        """Go on to the next frame; see Capture."""
        return self._capture.grab()

    def retrieve(self, out: Image, seq: int, captured_ns: int) -> Image:
        """Decode the grabbed frame into ``out``; see Capture."""
        return self._capture.retrieve(out, seq, captured_ns)

    def file(self) -> memoryview | None:
        """Return the grabbed frame as a JPEG file; see Compressed."""
        return self._capture.file() if isinstance(self._capture, Compressed) else None

    def retold(self) -> Sequence[Retold]:
        """Return nothing: windows hold other frames now."""
        return ()

    def close(self) -> None:
        """Let go of the source."""
        self._capture.close()
