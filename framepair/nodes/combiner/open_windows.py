"""The windows that are still open: which frames each source has in them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic, TypeVar

from msgspec.structs import replace

from framepair.protocol.wire.frame import FrameHeader, picture_size
from framepair.protocol.wire.pair import ClipHeader, Span, spans_of

Pixels = TypeVar("Pixels")


@dataclass(frozen=True, slots=True)
class ReceivedFrame(Generic[Pixels]):
    """A frame, its pixels as received, and when that was."""

    header: FrameHeader
    pixels: Pixels
    received_ns: int


@dataclass(slots=True)
class OpenClip:
    """One source's frames of an open window: capture time, run and seq of each, in order of arrival.

    ``newest`` was captured last of them. By ``uncertainty_ns`` any capture time may be wrong (None: not known).
    """

    stamps: list[tuple[int, int, int]] = field(default_factory=list)
    received_ns: int = 0
    newest: FrameHeader | None = None
    uncertainty_ns: int | None = 0

    def add(self, header: FrameHeader, received_ns: int) -> None:
        """Add a frame that the combiner had at ``received_ns``."""
        self.stamps.append((header.captured_ns, header.run, header.seq))
        self.received_ns = max(self.received_ns, received_ns)
        if self.newest is None or header.captured_ns >= self.newest.captured_ns:
            self.newest = header
        self.uncertainty_ns = _greater(self.uncertainty_ns, header.whole_uncertainty_ns)

    def described(self, announced: ClipHeader) -> ClipHeader:
        """Return ``announced`` with what consumers without frames should know of these."""
        if self.newest is None:
            return announced
        width, height = picture_size(self.newest.shape, self.newest.encoding)
        return replace(
            announced,
            newest_ns=self.newest.captured_ns,
            sent_ns=self.newest.sent_ns,
            uncertainty_ns=self.uncertainty_ns,
            stamp=self.newest.stamp,
            fps=self.newest.fps,
            width=width,
            height=height,
        )

    def spans(self) -> tuple[Span, ...]:
        """Return the frames in order of capture, as spans of consecutive seq."""
        return spans_of((run, seq) for _, run, seq in sorted(self.stamps))


class OpenWindows:
    """Open windows by index: window k is [k * window_ns, (k + 1) * window_ns)."""

    def __init__(self, window_ns: int) -> None:
        self.window_ns = window_ns
        self._next: int | None = None
        self._clips: dict[int, dict[str, OpenClip]] = {}

    def __len__(self) -> int:
        return len(self._clips)

    @property
    def next(self) -> int | None:
        """The window that closes next, None until the first one is known."""
        return self._next

    @property
    def end_ns(self) -> int | None:
        """When the window that closes next ends, None until the first one is known."""
        return None if self._next is None else (self._next + 1) * self.window_ns

    def index(self, captured_ns: int) -> int:
        """Return the window that a stamp is in."""
        return captured_ns // self.window_ns

    def oldest(self) -> int | None:
        """Return the first window that holds a frame, None if there is none."""
        return min(self._clips, default=None)

    def newest(self, source: str) -> int:
        """Return the last window that holds a frame of ``source``, -1 if there is none."""
        return max((index for index, clips in self._clips.items() if source in clips), default=-1)

    def go_on_with(self, index: int) -> None:
        """Make ``index`` the window that closes next: the first of all, or the next with frames."""
        self._next = index

    def abandon_until(self, index: int) -> list[tuple[str, int]]:
        """Go on with ``index``; return the sources and numbers of the frames in open windows before it."""
        clips = [self._clips.pop(each) for each in sorted(self._clips) if each < index]
        self._next = index
        return [(source, len(clip.stamps)) for each in clips for source, clip in each.items()]

    def add(self, header: FrameHeader, received_ns: int) -> int | None:
        """Put a frame into its window; return the window's index, None if it is closed already."""
        index = self.index(header.captured_ns)
        if self._next is None or index < self._next:
            return None
        clips = self._clips.setdefault(index, {})
        clips.setdefault(header.source, OpenClip()).add(header, received_ns)
        return index

    def close(self) -> tuple[int, dict[str, OpenClip]]:
        """Take the next window out; return its index and its clips."""
        index = self._next or 0
        self._next = index + 1
        return index, self._clips.pop(index, {})


def _greater(one: int | None, other: int | None) -> int | None:
    """Return the greater bound of an error; None, not known, is greater than any."""
    return None if one is None or other is None else max(one, other)
