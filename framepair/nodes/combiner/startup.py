"""Finding the first window, and holding frames until it is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from framepair.protocol.wire.frame import FrameHeader, Pace

Pixels = TypeVar("Pixels")


@dataclass(frozen=True, slots=True)
class Held(Generic[Pixels]):
    """A frame, and when the combiner had it."""

    header: FrameHeader
    pixels: Pixels
    received_ns: int


class Startup(Generic[Pixels]):
    """The time before the first window: the first one that every source was there for from its start.

    In real time no more than the newest window of each source is held, and ``timeout_ns`` after the first
    frame nobody is waited for any longer. With pace max nothing is dropped and everybody is waited for:
    whoever calls this must not read far ahead. There the first window is the first that holds a frame.
    """

    def __init__(self, window_ns: int, timeout_ns: int, pace: Pace) -> None:
        self._window_ns = window_ns
        self._timeout_ns = timeout_ns
        self._pace = pace
        self._held: list[Held[Pixels]] = []
        self._newest: dict[str, int] = {}
        self._covered_from: dict[str, int] = {}
        self._began_ns: int | None = None

    def hold(self, frame: Held[Pixels], now_ns: int) -> int:
        """Hold a frame; return how many of its source's frames are outdated, and dropped."""
        if self._began_ns is None:
            self._began_ns = now_ns
        source, index = frame.header.source, self._index(frame)
        self._covered_from.setdefault(source, self._first_covered(frame.header))
        self._held.append(frame)
        newest = self._newest.setdefault(source, index)
        return 0 if index == newest or self._pace == "max" else self._drop_outdated(source, index)

    def first_window(self, now_ns: int, *, waiting: bool) -> int | None:
        """Return the first window; None if it is too early to say, since ``waiting`` for a source."""
        indices = self._covered_from.values()
        if not indices or (waiting and not self._is_over(now_ns)):
            return None
        return min(indices) if self._pace == "max" else max(indices)

    def take(self) -> list[Held[Pixels]]:
        """Return all frames that are held, in order of arrival, and hold them no longer."""
        held, self._held = self._held, []
        return held

    def _index(self, frame: Held[Pixels]) -> int:
        return frame.header.captured_ns // self._window_ns

    def _first_covered(self, first: FrameHeader) -> int:
        """Return the first window in which nothing can have been captured before ``first``."""
        index, into_window_ns = divmod(first.captured_ns, self._window_ns)
        return index if self._pace == "max" or into_window_ns < first.period_ns else index + 1

    def _drop_outdated(self, source: str, index: int) -> int:
        newest = self._newest[source] = max(index, self._newest[source])
        self._covered_from[source] = max(newest, self._covered_from[source])
        count = len(self._held)
        self._held = [
            frame
            for frame in self._held
            if frame.header.source != source or self._index(frame) == newest
        ]
        return count - len(self._held)

    def _is_over(self, now_ns: int) -> bool:
        began_ns = now_ns if self._began_ns is None else self._began_ns
        return self._pace == "realtime" and now_ns - began_ns > self._timeout_ns
