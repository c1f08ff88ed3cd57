"""Frame slots in memory, overwritten in turn; a run of them is one array even where it wraps."""

from __future__ import annotations

import math
import mmap
import threading
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocol.memory import TwiceMapped, nameless_file

Pixels = NDArray[np.uint8]
Shape = tuple[int, int, int]

BEING_WRITTEN = 0
INT64_BYTES = 8
CACHE_LINE_BYTES = 64


class Ring:
    """At least ``slots`` slots for frames of one shape, (height, width, channels).

    The slots lie in memory twice, back to back, so that any run of them, also one from the last slots to
    the first, is one array. Beside them each slot has two counters: the seq of the frame that it holds,
    and a generation, new whenever the slot is written, which tells a reader whether it was overwritten.
    The memory is the file ``descriptor``, of ``file_bytes``, or nobody else's. It lives as long as any view
    of it. Raises OSError if there is no room.
    """

    def __init__(
        self, slots: int, shape: Shape, descriptor: int | None = None, *, writable: bool = True
    ) -> None:
        self.slots = whole_pages(slots, shape)
        self.shape = shape
        self.slot_bytes = slot_bytes(shape)
        head_bytes, body_bytes = _head_bytes(self.slots), self.slots * self.slot_bytes
        if descriptor is None:
            with nameless_file(head_bytes + body_bytes) as nameless:
                memory = TwiceMapped(nameless, head_bytes, body_bytes)
        else:
            # Each of its pages would cost a capture microseconds in the first lap: milliseconds a frame.
            memory = TwiceMapped(
                descriptor, head_bytes, body_bytes, writable=writable, populate=writable
            )
        self._generations, self._seqs = memory.array(
            0, (2, self.slots), "<i8", None, read_only=not writable
        )
        strides = (self.slot_bytes, shape[1] * shape[2], shape[2], 1)
        once, twice = (self.slots, *shape), (2 * self.slots, *shape)
        self._writable: Pixels = memory.array(
            head_bytes, once, "|u1", strides, read_only=not writable
        )
        self._readable: Pixels = memory.array(head_bytes, twice, "|u1", strides, read_only=True)
        self._commits = 0

    def reserve(self, index: int) -> Pixels:
        """Mark slot ``index`` as being written and return its pixels, (height, width, channels)."""
        self._generations[index] = BEING_WRITTEN
        _fence()
        image: Pixels = self._writable[index]
        return image

    def commit(self, index: int, seq: int) -> Slot:
        """Say that slot ``index`` now holds frame ``seq``."""
        self._commits += 1
        self._seqs[index] = seq
        _fence()
        self._generations[index] = self._commits
        return Slot(self, index, self._commits)

    def generation(self, index: int) -> int:
        """Return what is new whenever slot ``index`` is written; 0: it is being written, or never was."""
        return int(self._generations[index])

    def seq(self, index: int) -> int:
        """Return the seq of the frame in slot ``index``."""
        return int(self._seqs[index])

    def view(self, first: int, count: int) -> Pixels:
        """Return ``count`` slots from ``first`` on: (count, height, width, channels), read-only, no copy."""
        if not (0 <= first < self.slots and 0 <= count <= self.slots):
            raise ValueError(f"no run of {count} slots from {first} on in a ring of {self.slots}")
        run: Pixels = self._readable[first : first + count]
        return run


@dataclass(frozen=True, slots=True)
class Slot:
    """One slot of ``ring``, as it was when its ``generation`` was written."""

    ring: Ring
    index: int
    generation: int

    @property
    def image(self) -> Pixels:
        """The pixels: (height, width, channels), read-only, no copy."""
        image: Pixels = self.ring.view(self.index, 1)[0]
        return image

    @property
    def intact(self) -> bool:
        """Whether the slot was not overwritten since; to be asked after its pixels were used."""
        _fence()
        return self.ring.generation(self.index) == self.generation


def file_bytes(slots: int, shape: Shape) -> int:
    """Return the size of a file that holds a ring of ``slots``, which must be ``whole_pages``."""
    return _head_bytes(slots) + slots * slot_bytes(shape)


def slot_bytes(shape: Shape) -> int:
    """Return the distance between slots: nearly all sizes of video fill whole cache lines as they are."""
    return _round_up(math.prod(shape), CACHE_LINE_BYTES)


def whole_pages(slots: int, shape: Shape) -> int:
    """Return how many slots, ``slots`` or somewhat more, fill whole pages, which is all that can be mapped.

    Making each slot whole pages instead would leave gaps between the frames of a clip: such an array isn't
    contiguous, and many libraries copy it first.
    """
    return _round_up(slots, mmap.PAGESIZE // math.gcd(slot_bytes(shape), mmap.PAGESIZE))


def _fence() -> None:
    """Have every processor see all reads and writes before this as earlier than those after it.

    Python has no name for that, and only x86 keeps such an order by itself. But no access moves down past
    the release of a lock or up past an acquisition, and these two keep their order.
    """
    # A lock of its own, which nothing that interrupts this can ever wait for.
    lock = threading.Lock()
    for _ in range(2):
        lock.acquire()
        lock.release()


def _head_bytes(slots: int) -> int:
    return _round_up(2 * slots * INT64_BYTES, mmap.PAGESIZE)


def _round_up(number: int, step: int) -> int:
    return -(-number // step) * step
