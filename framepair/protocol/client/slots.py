"""Which slots of which ring the frames of one source are written to."""

from __future__ import annotations

import math
from dataclasses import dataclass

from framepair.protocol.memory.ring import Ring, Shape, slot_bytes, whole_pages
from framepair.protocol.wire.frame import FrameHeader
from framepair.protocol.wire.header import ProtocolError

MAX_BLOCKS_PER_WINDOW = 16
# A pair may come so long after its window's end, in nanoseconds: cameras behind a network are waited for.
LONGEST_WAIT_NS = 10 * 1_000_000_000
# The combiner has few windows open at a time; frames of more than that are of pairs that will never come.
MAX_WINDOWS = 256
# A source may be that much faster than its header says before its frames need another ring.
HEADROOM = 2


class BlockRing:
    """A ring cut into ``count`` blocks of at least ``slots`` slots: one or more for the frames of a window."""

    def __init__(self, count: int, slots: int, shape: Shape) -> None:
        self.count = count
        self.slots = whole_pages(slots, shape)
        self.ring = Ring(count * self.slots, shape)
        self.free = set(range(count))

    def take(self) -> Block:
        """Return a free block, to be released; raises ValueError if there is none."""
        # The lowest and not the next in turn, so that no more memory is touched than is in use at a time.
        number = min(self.free)
        self.free.remove(number)
        return Block(self, number)


@dataclass(slots=True)
class Block:
    """Slots in a row, of which the first ``used`` hold frames of one window."""

    home: BlockRing
    number: int
    used: int = 0

    @property
    def ring(self) -> Ring:
        """The ring that the slots are in."""
        return self.home.ring

    @property
    def full(self) -> bool:
        """Whether no slot is left."""
        return self.used == self.home.slots

    def take_slot(self) -> int:
        """Return the index in the ring of the next slot."""
        self.used += 1
        return self.number * self.home.slots + self.used - 1

    def release(self) -> None:
        """Let the slots be overwritten."""
        self.home.free.add(self.number)


class Slots:
    """The memory of one source, for ``held`` windows of pairs and all that wait to be announced.

    Its addresses are reserved when the first frame comes: for twice the rate that the header names, and for
    as many windows as may be open if pairs come 10 s after their window's end. Memory is taken only by what
    is written, once: in steady state no new page is touched. Beyond that, and for another shape, a larger
    ring is begun; the former goes as soon as none of its frames is in use. One window never has more than
    ``max_bytes``, whatever a header claims.
    """

    def __init__(self, held: int, max_bytes: int) -> None:
        self._held = held
        self._max_bytes = max_bytes
        self._newest: BlockRing | None = None

    def take(self, header: FrameHeader, blocks: list[Block]) -> tuple[Ring, int]:
        """Return ring and index of a slot for the next frame of the window that has ``blocks``.

        A block is added to them if none has a slot left; raises ProtocolError if they are too many.
        """
        block = next((b for b in reversed(blocks) if b.ring.shape == header.shape), None)
        if block is None or block.full:
            if len(blocks) == MAX_BLOCKS_PER_WINDOW:
                raise ProtocolError("the frames of one window have too many shapes")
            block = self._fitting(header, block).take()
            blocks.append(block)
        return block.ring, block.take_slot()

    def _fitting(self, header: FrameHeader, full: Block | None) -> BlockRing:
        """Return a ring with a free block, for a window that has no block of that shape but a ``full`` one."""
        newest = self._newest
        if newest is None or newest.ring.shape != header.shape:
            newest = BlockRing(self._windows(header), self._frames(header), header.shape)
        elif full is not None and full.home is newest:
            newest = BlockRing(newest.count, HEADROOM * full.used, header.shape)
        elif not newest.free:
            newest = BlockRing(2 * newest.count, newest.slots, header.shape)
        self._newest = newest
        return newest

    def _frames(self, header: FrameHeader) -> int:
        """Return how many frames a window may have."""
        frames = HEADROOM * (math.ceil(header.fps * (header.window_ns or 0) / 1e9) + 1)
        return max(1, min(frames, self._max_bytes // slot_bytes(header.shape)))

    def _windows(self, header: FrameHeader) -> int:
        """Return how many windows may be in use at a time."""
        waiting = -(-LONGEST_WAIT_NS // (header.window_ns or LONGEST_WAIT_NS))
        fitting = self._max_bytes // (self._frames(header) * slot_bytes(header.shape))
        return self._held + max(1, min(waiting, MAX_WINDOWS, HEADROOM * fitting))
