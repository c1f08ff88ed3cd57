"""Which slots of which ring the frames of one source are kept in."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from framepair.protocol.memory.ring import Pixels, Ring, Shape, Slot, slot_bytes, whole_pages
from framepair.protocol.wire.frame import FrameHeader
from framepair.protocol.wire.header import ProtocolError

MAX_RUNS_PER_WINDOW = 16


class Blocks:
    """A ring cut into ``count`` blocks of at least ``slots`` slots: room for a window's frames each."""

    def __init__(self, count: int, slots: int, shape: Shape) -> None:
        self.count = count
        self.slots = whole_pages(slots, shape)
        self.ring = Ring(count * self.slots, shape)
        self.free = set(range(count))

    def begin(self) -> Run:
        """Return a run that begins in a free block."""
        # The lowest and not the next in turn, so that no more memory is touched than is in use at a time.
        run = Run(self)
        run.take(min(self.free))
        return run


@dataclass(slots=True)
class Run:
    """Slots in a row that the frames of one window fill, from the start of a block on.

    It goes on into the next block if that one is free, from the last one into the first.
    """

    blocks: Blocks
    used: int = 0
    _taken: list[int] = field(default_factory=list)

    @property
    def shape(self) -> Shape:
        """The shape of the frames in this run."""
        return self.blocks.ring.shape

    def has_room(self) -> bool:
        """Take the next block if it is needed; return whether there is a slot for another frame."""
        if self.used < len(self._taken) * self.blocks.slots:
            return True
        following = (self._taken[-1] + 1) % self.blocks.count
        if following not in self.blocks.free:
            return False
        self.take(following)
        return True

    def take(self, block: int) -> None:
        """Make the free ``block`` part of this run."""
        self.blocks.free.remove(block)
        self._taken.append(block)

    def reserve(self) -> Place:
        """Return the next slot, now being written."""
        ring = self.blocks.ring
        index = (self._taken[0] * self.blocks.slots + self.used) % ring.slots
        self.used += 1
        return Place(ring, index, ring.reserve(index))

    def release(self) -> None:
        """Let the slots be overwritten."""
        self.blocks.free.update(self._taken)
        self._taken.clear()


@dataclass(frozen=True, slots=True)
class Place:
    """A slot that is being written: ``image`` takes the pixels, (height, width, channels)."""

    ring: Ring
    index: int
    image: Pixels

    def commit(self, seq: int) -> Slot:
        """Say that the pixels of frame ``seq`` are in."""
        return self.ring.commit(self.index, seq)


@dataclass(slots=True)
class Storage:
    """The memory of one source: room for ``windows`` windows at the rate that its headers name.

    What is taken on a header's word is ``max_bytes`` at most. If more frames really come, or more windows
    are in use at once, a larger ring is begun; the former goes as soon as nobody looks at its frames.
    """

    windows: int
    max_bytes: int
    _blocks: Blocks | None = None

    def reserve(self, header: FrameHeader, runs: list[Run]) -> Place:
        """Return a slot for the next frame of the window that fills ``runs``; a new run is added if need be.

        Raises ProtocolError if the frames of the window have too many shapes.
        """
        run = next((run for run in reversed(runs) if run.shape == header.shape), None)
        if run is None or not run.has_room():
            if len(runs) == MAX_RUNS_PER_WINDOW:
                raise ProtocolError("the frames of one window have too many shapes")
            run = self._fitting(header, run).begin()
            runs.append(run)
        return run.reserve()

    def _fitting(self, header: FrameHeader, blocked: Run | None) -> Blocks:
        """Return blocks of which one is free, for a window whose run so far, if any, can't go on."""
        blocks = self._blocks
        if blocks is None or blocks.ring.shape != header.shape:
            blocks = Blocks(self.windows, self._slots(header), header.shape)
        elif blocked is not None and blocked.blocks is blocks:
            blocks = Blocks(blocks.count, 2 * blocked.used, header.shape)
        elif not blocks.free:
            blocks = Blocks(2 * blocks.count, blocks.slots, header.shape)
        self._blocks = blocks
        return blocks

    def _slots(self, header: FrameHeader) -> int:
        """Return how many frames a window has at the rate in ``header``, and one more for its jitter."""
        frames = math.ceil(header.fps * (header.window_ns or 0) / 1e9) + 1
        return max(1, min(frames, self.max_bytes // (self.windows * slot_bytes(header.shape))))
