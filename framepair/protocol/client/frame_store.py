"""One source's frames that have arrived and are not yet in any pair, by window."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from msgspec.structs import replace

from framepair.protocol.client.clip import Clip
from framepair.protocol.client.encoded import EncodedFrame, in_places
from framepair.protocol.client.pixels import Lease
from framepair.protocol.client.slots import MAX_WINDOWS, Block, Slots
from framepair.protocol.memory.ring import Pixels, Ring, Shape, Slot, slot_bytes
from framepair.protocol.wire import reasons
from framepair.protocol.wire.frame import MAX_HEADER_BYTES, FrameHeader
from framepair.protocol.wire.header import ProtocolError
from framepair.protocol.wire.pair import ClipHeader, Span, spans_of

# Run and seq, which name a frame of a source.
FrameName = tuple[int, int]


class WindowTooLarge(Exception):  # noqa: N818 - it says what there is
    """A window has more bytes of frames than may wait for their announcement; its pair is lost."""


@dataclass(frozen=True, slots=True)
class StoredFrame:
    """A frame that is at ``place`` since ``ready_ns``."""

    header: FrameHeader
    place: Slot | EncodedFrame
    ready_ns: int


@dataclass(slots=True)
class Window:
    """The frames of one window that have arrived, and the memory that they take until ``release``."""

    frames: dict[FrameName, StoredFrame] = field(default_factory=dict)
    damaged: set[FrameName] = field(default_factory=set)
    """Frames that came, but were not what they should be."""
    came: set[FrameName] = field(default_factory=set)
    """Those, the others, and the ones that are being written."""
    shape: Shape = (0, 0, 0)
    """Of the source's frames of late: an empty clip has it too."""
    blocks: list[Block] = field(default_factory=list)
    taken_bytes: int = 0
    refused: str | None = None
    """Why there will be no pair of this window, one of ``wire.reasons``."""
    _holders: int = 0
    _released: bool = False

    def count_frame(self, header: FrameHeader, nbytes: int) -> None:
        """Count a frame that has come, and the memory that it takes."""
        self.came.add((header.run, header.seq))
        self.taken_bytes += nbytes

    @property
    def released(self) -> bool:
        """Whether its frames may be overwritten."""
        return self._released

    def hold(self) -> None:
        """Keep the memory, even if it is released, until ``let_go``: a decoder or a reader has it."""
        self._holders += 1

    def let_go(self) -> None:
        """Give the memory back if it was released meanwhile, and nothing else holds it."""
        self._holders -= 1
        if self._released:
            self.release()

    def release(self) -> None:
        """Let the frames be overwritten, as soon as nothing holds them."""
        self._released = True
        if not self._holders:
            while self.blocks:
                self.blocks.pop().release()

    def give_up(self) -> None:
        """Forget the frames of a window that is too large, and remember that it is."""
        self.refused = reasons.TOO_LARGE
        self.frames.clear()
        self.came.clear()
        self.taken_bytes = 0
        self.release()

    def clip(self, source: str, header: ClipHeader, lease: Lease) -> Clip | None:
        """Return the clip that ``header`` announces, None if one of its frames never came.

        It lacks those that are damaged. Its arrays are views of memory that is its own until ``release``;
        ``lease`` has to be over by then.
        """
        if self.refused:
            return None
        names = _names(header.spans, len(self.frames) + len(self.damaged))
        usable = [name for name in names or () if name not in self.damaged]
        if names is None or any(name not in self.frames for name in usable):
            return None
        if damaged := len(names) - len(usable):
            spans, gaps = spans_of(usable), header.gaps + damaged
            header = replace(header, spans=spans, gaps=gaps, complete=False)
        frames = [self.frames[name] for name in usable]
        places = tuple(frame.place for frame in frames)
        return Clip(
            source=source,
            header=header,
            frames=tuple(frame.header for frame in frames),
            ready_ns=max((frame.ready_ns for frame in frames), default=0),
            _pixels=in_places(source, places, self.shape, lease),
        )


@dataclass(frozen=True, slots=True)
class Reservation:
    """A slot that is being written for a frame of ``window``: ``image`` takes (height, width, channels)."""

    window: Window
    ring: Ring
    index: int
    image: Pixels
    next_index: int | None = None

    def prepare_next(self) -> None:
        """Find memory for the slot that the next frame of the window most likely goes to."""
        if self.next_index is not None:
            self.ring.populate(self.next_index)

    def drop_frame(self, header: FrameHeader) -> None:
        """Note that what was written is not the frame: its clip comes without it."""
        self.window.damaged.add((header.run, header.seq))
        self.window.let_go()


class FrameStore:
    """One source's windows: frames go in as they come, a window comes out when its pair is announced.

    Pairs and the consumer hold ``held`` windows besides. At most ``max_bytes`` of frames wait here; beyond
    that, the windows that began first are given up.
    """

    def __init__(self, held: int, max_bytes: int) -> None:
        self._slots = Slots(held, max_bytes)
        self._max_bytes = max_bytes
        self._windows: dict[int, Window] = {}
        self._shape: Shape = (0, 0, 0)

    def __len__(self) -> int:
        """Return how many windows have frames here."""
        return len(self._windows)

    def reserve(self, header: FrameHeader, index: int) -> Reservation:
        """Return the slot for a frame of window ``index``; ``add_frame`` or its ``drop_frame`` must follow.

        Raises ProtocolError if the frame has come already, WindowTooLarge if there will be no such pair.
        """
        nbytes = slot_bytes(header.shape)
        window = self._window(header, index, nbytes)
        ring, slot = self._slots.take(header, window.blocks)
        window.count_frame(header, nbytes)
        window.hold()
        following = None if window.blocks[-1].full else slot + 1
        return Reservation(window, ring, slot, ring.reserve(slot), following)

    def add_frame(
        self, header: FrameHeader, reservation: Reservation, ready_ns: int
    ) -> StoredFrame:
        """Add a frame whose pixels are in its slot since ``ready_ns``; return it."""
        slot = reservation.ring.commit(reservation.index, header.seq)
        window = reservation.window
        frame = window.frames[header.run, header.seq] = StoredFrame(header, slot, ready_ns)
        window.let_go()
        self._shape = header.shape
        return frame

    def add_placed_frame(
        self, header: FrameHeader, index: int, place: Slot | EncodedFrame, ready_ns: int
    ) -> tuple[StoredFrame, Window]:
        """Add a frame of window ``index`` that is in a producer's slot, or compressed; raises likewise.

        Return it, and its window.
        """
        # Pixels in shared memory take nothing here, but frames that are never announced must not pile up.
        nbytes = MAX_HEADER_BYTES + header.message_bytes
        window = self._window(header, index, nbytes)
        window.count_frame(header, nbytes)
        frame = window.frames[header.run, header.seq] = StoredFrame(header, place, ready_ns)
        self._shape = header.shape
        return frame, window

    def add_unseen_frame(self, header: FrameHeader, index: int) -> None:
        """Note a frame of window ``index`` that this process can't see; raises as ``reserve`` does."""
        window = self._window(header, index, MAX_HEADER_BYTES)
        window.count_frame(header, MAX_HEADER_BYTES)
        window.refused = reasons.UNSEEN

    def take_window(self, index: int) -> Window:
        """Remove window ``index`` and return it, to be released; those before it are over, and forgotten."""
        window = self._windows.pop(index, Window())
        window.shape = self._shape
        self.forget(index)
        return window

    def forget(self, end: int | None = None) -> None:
        """Forget the windows before ``end``, or all of them: their pairs will not come."""
        for index in [index for index in self._windows if end is None or index < end]:
            self._windows.pop(index).release()

    def _window(self, header: FrameHeader, index: int, nbytes: int) -> Window:
        """Return the window of a new frame, with ``nbytes`` to spare for it."""
        window = self._windows.setdefault(index, Window())
        if (header.run, header.seq) in window.came:
            raise ProtocolError(f"frame {header.seq} of {header.source} came twice")
        self._make_room(index, nbytes)
        if window.refused == reasons.TOO_LARGE or window.taken_bytes + nbytes > self._max_bytes:
            window.give_up()
            raise WindowTooLarge(self._complaint(header))
        return window

    def _make_room(self, index: int, nbytes: int) -> None:
        """Forget the windows that began first, except ``index``, until ``nbytes`` more are within bounds."""
        taken = sum(window.taken_bytes for window in self._windows.values())
        others = [other for other in self._windows if other != index]
        for other in others:
            if taken + nbytes <= self._max_bytes and len(self) <= MAX_WINDOWS:
                return
            taken -= self._windows[other].taken_bytes
            self._windows.pop(other).release()

    def _complaint(self, header: FrameHeader) -> str:
        window_s, frame_bytes = (header.window_ns or 0) / 1e9, slot_bytes(header.shape)
        nbytes = math.ceil(header.fps * window_s) * frame_bytes
        if nbytes <= self._max_bytes:
            # Frames came at a higher rate than the header says.
            nbytes = self._max_bytes + frame_bytes
        return (
            f"no pair comes: a window of {header.source}, {window_s:g} s, has about {nbytes} bytes of frames"
            f" and max_bytes is {self._max_bytes}: use a larger max_bytes, or a smaller --window"
        )


def _names(spans: Sequence[Span], most: int) -> list[FrameName] | None:
    """Return the frames that ``spans`` name; None if one is named twice, or they are more than ``most``."""
    # The counts come from the wire: they must not decide how much is done here.
    if sum(span.count for span in spans) > most:
        return None
    names = [(span.run, span.first + i) for span in spans for i in range(span.count)]
    return names if len(set(names)) == len(names) else None
