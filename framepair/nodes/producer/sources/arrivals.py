"""When the pictures of a network stream came, which is not when FFmpeg hands them out."""

from __future__ import annotations

from dataclasses import dataclass

from av.video.frame import VideoFrame


@dataclass(frozen=True, slots=True)
class Arrived:
    """A decoded frame, its media time, and when its packet came; nanoseconds.

    ``frame`` is None if FFmpeg held it back when the stream fell silent.
    """

    frame: VideoFrame | None
    pts_ns: int | None
    arrived_ns: int


class Arrivals:
    """When each picture began to come, by its media time.

    FFmpeg's parser hands a picture out when it sees the next one begin (``parsed``): that one came then.
    """

    def __init__(self, *, parsed: bool) -> None:
        self._parsed = parsed
        self._came: dict[int, int] = {}
        self._handed_out_ns: int | None = None
        self._newest_ns = 0

    def add(self, pts: int | None, now_ns: int) -> None:
        """Add a packet that was handed out just now."""
        before_ns = self._handed_out_ns if self._parsed else None
        self._came_ns = now_ns if before_ns is None else before_ns
        self._handed_out_ns = now_ns
        if pts is not None:
            self._came[pts] = self._came_ns

    def pop(self, pts: int | None) -> int:
        """Return when the frame that is shown next came, and what is shown before it, too."""
        own_ns = self._came_ns if pts is None else self._came.get(pts, self._came_ns)
        self._came = {late: at_ns for late, at_ns in self._came.items() if late > (pts or 0)}
        self._newest_ns = max(self._newest_ns, own_ns)
        return self._newest_ns
