"""One source's frames that have arrived and are not yet in any pair."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from msgspec.structs import replace

from framepair.protocol.client.clip import Clip
from framepair.protocol.client.slots import Place, Run, Storage
from framepair.protocol.memory.ring import Pixels, Shape, Slot, slot_bytes
from framepair.protocol.wire.frame import MAX_HEADER_BYTES, FrameHeader
from framepair.protocol.wire.header import ProtocolError
from framepair.protocol.wire.pair import ClipHeader, Span, spans_of

# The combiner has few windows open at a time; frames of more than that are of pairs that will never come.
MAX_WINDOWS = 256


@dataclass(frozen=True, slots=True)
class Arrival:
    """A frame in memory, and when it was there."""

    header: FrameHeader
    slot: Slot
    ready_ns: int


@dataclass(slots=True)
class Window:
    """The frames of one window that have arrived, by run and seq, and the slots that they take."""

    frames: dict[tuple[int, int], Arrival] = field(default_factory=dict)
    runs: list[Run] = field(default_factory=list)
    taken_bytes: int = 0
    writing: int = 0
    """How many slots are being filled: whoever decodes into one must not find another frame in it."""
    over: bool = False
    damaged: set[tuple[int, int]] = field(default_factory=set)
    """Run and seq of the frames that came, but were not what they should be."""

    def release(self) -> None:
        """Let the frames be overwritten, as soon as none is still being written."""
        self.over = True
        if not self.writing:
            for run in self.runs:
                run.release()

    def written(self) -> None:
        """Say that one slot less is being filled."""
        self.writing -= 1
        if self.over:
            self.release()


@dataclass(frozen=True, slots=True)
class Filling:
    """A slot that is reserved for a frame of ``window``, and being filled."""

    place: Place
    window: Window

    @property
    def image(self) -> Pixels:
        """Where the pixels go: (height, width, channels)."""
        return self.place.image


@dataclass(frozen=True, slots=True)
class Claim:
    """The frames of one clip in order of capture, of a source whose frames had ``shape`` of late.

    ``damaged`` more were announced that came and are of no use.
    """

    arrivals: tuple[Arrival, ...]
    shape: Shape
    window: Window
    damaged: int

    @property
    def intact(self) -> bool:
        """Whether none of the frames was overwritten so far."""
        return all(arrival.slot.intact for arrival in self.arrivals)

    def clip(self, source: str, header: ClipHeader) -> Clip:
        """Return the clip, with views of the slots that hold it until the window is released."""
        slots = tuple(arrival.slot for arrival in self.arrivals)
        if self.damaged:
            frames = ((arrival.header.run, arrival.header.seq) for arrival in self.arrivals)
            header = replace(header, spans=spans_of(frames), gaps=header.gaps + self.damaged)
        row = _row(slots, self.shape)
        return Clip(
            source=source,
            header=header,
            frames=tuple(arrival.header for arrival in self.arrivals),
            images=[slot.image for slot in slots] if row is None else list(row),
            ready_ns=max((arrival.ready_ns for arrival in self.arrivals), default=0),
            _row=row,
            _slots=slots,
        )


class Arrivals:
    """One source's windows: frames go in as they come, a clip's come out when its pair is announced.

    At most ``max_bytes`` of frames wait here; beyond that, the windows that began first are given up.
    """

    def __init__(self, windows: int, max_bytes: int) -> None:
        self._storage = Storage(windows, max_bytes)
        self._max_bytes = max_bytes
        self._windows: dict[int, Window] = {}
        self._shape: Shape = (0, 0, 0)

    def __len__(self) -> int:
        """Return how many windows have frames here."""
        return len(self._windows)

    def reserve(self, header: FrameHeader, index: int) -> Filling:
        """Return the slot for a frame of window ``index``; raises ProtocolError if it is here already."""
        self._check_new(header, index)
        self._make_room(slot_bytes(header.shape))
        window = self._windows.setdefault(index, Window())
        place = self._storage.reserve(header, window.runs)
        window.taken_bytes += slot_bytes(header.shape)
        window.writing += 1
        return Filling(place, window)

    def commit(self, header: FrameHeader, filling: Filling, ready_ns: int) -> None:
        """Say that the pixels of a frame are in its slot since ``ready_ns``."""
        arrival = Arrival(header, filling.place.commit(header.seq), ready_ns)
        filling.window.frames[header.run, header.seq] = arrival
        filling.window.written()
        self._shape = header.shape

    def put(self, header: FrameHeader, index: int, slot: Slot, ready_ns: int) -> None:
        """Take a frame of window ``index`` that is in shared memory; raises ProtocolError if it came before."""
        self._check_new(header, index)
        self._make_room(MAX_HEADER_BYTES)
        window = self._windows.setdefault(index, Window())
        # Its pixels take nothing here, but frames that are never announced must not pile up either.
        window.taken_bytes += MAX_HEADER_BYTES
        window.frames[header.run, header.seq] = Arrival(header, slot, ready_ns)
        self._shape = header.shape

    def claim(self, index: int, spans: Sequence[Span]) -> Claim | None:
        """Return the frames of window ``index`` that ``spans`` name, or None if one of them never came.

        The windows before it are over in any case: what is left of them is forgotten.
        """
        window = self._windows.pop(index, Window())
        self.forget(index)
        names = _names(spans, len(window.frames) + len(window.damaged))
        usable = [name for name in names or () if name not in window.damaged]
        if names is None or any(name not in window.frames for name in usable):
            window.release()
            return None
        arrivals = tuple(window.frames[name] for name in usable)
        return Claim(arrivals, self._shape, window, damaged=len(names) - len(usable))

    def forget(self, end: int | None = None) -> None:
        """Forget the windows before ``end``, or all of them: their pairs will not come."""
        for index in [index for index in self._windows if end is None or index < end]:
            self._windows.pop(index).release()

    def _check_new(self, header: FrameHeader, index: int) -> None:
        window = self._windows.get(index)
        if window is not None and (header.run, header.seq) in window.frames:
            raise ProtocolError(f"frame {header.seq} of {header.source} came twice")

    def _make_room(self, nbytes: int) -> None:
        """Give up windows until ``nbytes`` more are within bounds."""
        taken = sum(window.taken_bytes for window in self._windows.values())
        while self._windows and (taken + nbytes > self._max_bytes or len(self) > MAX_WINDOWS):
            oldest = self._windows.pop(next(iter(self._windows)))
            oldest.release()
            taken -= oldest.taken_bytes


def _names(spans: Sequence[Span], most: int) -> list[tuple[int, int]] | None:
    """Return run and seq of each frame that ``spans`` name; None if one is named twice, or they are more."""
    # The counts come from the wire: they must not decide how much is done here.
    if sum(span.count for span in spans) > most:
        return None
    names = [(span.run, span.first + i) for span in spans for i in range(span.count)]
    return names if len(set(names)) == len(names) else None


def _row(slots: Sequence[Slot], shape: Shape) -> Pixels | None:
    """Return the slots as one array without copying, or None if they don't lie in a row in one ring."""
    if not slots:
        return np.empty((0, *shape), np.uint8)
    ring, first = slots[0].ring, slots[0].index
    in_a_row = (
        slot.ring is ring and slot.index == (first + i) % ring.slots for i, slot in enumerate(slots)
    )
    # A header may name a slot twice: then there are more frames than slots.
    return ring.view(first, len(slots)) if len(slots) <= ring.slots and all(in_a_row) else None
