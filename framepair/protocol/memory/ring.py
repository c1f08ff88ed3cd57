"""Frame slots in memory, overwritten in turn; a run of them is one array even where it wraps."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import math
import mmap
import os
import tempfile
import threading
import weakref
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Not in the mmap module. The first is the same on Linux, macOS and the BSDs; the second is Linux' since 5.14.
MAP_FIXED = 0x10
MADV_POPULATE_WRITE = 23


class TwiceMapped:
    """A file's first ``head_bytes`` and, twice in a row, the ``body_bytes`` behind them.

    Both are whole pages, and the file has no less; it may be closed afterwards. Raises OSError if it cannot be
    mapped.
    """

    def __init__(
        self,
        descriptor: int,
        head_bytes: int,
        body_bytes: int,
        *,
        writable: bool = True,
    ) -> None:
        access = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
        self._address = _map_twice(descriptor, head_bytes, body_bytes, access)
        unmap = weakref.finalize(self, _libc().munmap, self._address, head_bytes + 2 * body_bytes)
        # The end of the process frees it anyway, and arrays may be in use until then.
        unmap.atexit = False

    def populate(self, offset: int, nbytes: int) -> None:
        """Find memory for all pages of a part now, not when each is first used, if the kernel can do that."""
        begin = offset // mmap.PAGESIZE * mmap.PAGESIZE
        _libc().madvise(self._address + begin, offset + nbytes - begin, MADV_POPULATE_WRITE)

    def array(
        self,
        offset: int,
        shape: tuple[int, ...],
        typestr: str,
        strides: tuple[int, ...] | None,
        *,
        read_only: bool,
        owner: object = None,
    ) -> NDArray[Any]:
        """Return an array over this memory, from byte ``offset`` on, that keeps it and ``owner``."""
        interface = {
            "version": 3,
            "data": (self._address + offset, read_only),
            "shape": shape,
            "strides": strides,
            "typestr": typestr,
        }
        return np.asarray(_Exported(self, owner, interface))


class _Exported:
    """What an array and all views of it hold on to."""

    def __init__(self, memory: TwiceMapped, owner: object, interface: dict[str, Any]) -> None:
        self._memory = memory
        self._owner = owner
        self.__array_interface__ = interface


@contextlib.contextmanager
def nameless_file(nbytes: int) -> Iterator[int]:
    """Make a file that lives as long as it is open or mapped; yield its descriptor.

    What is never written of it takes no memory, only addresses. Raises OSError if there is no room.
    """
    create = getattr(os, "memfd_create", None)
    if create is not None:
        with os.fdopen(create("framepair"), "r+b") as file:
            os.ftruncate(file.fileno(), nbytes)
            yield file.fileno()
        return
    with tempfile.TemporaryFile() as file:
        # A full disk raises here; with a sparse file it would be a SIGBUS at some later write.
        os.posix_fallocate(file.fileno(), 0, nbytes)
        yield file.fileno()


def _map_twice(descriptor: int, head_bytes: int, body_bytes: int, access: int) -> int:
    """Map a file and, right behind it, its body once more; return the address."""
    file_bytes = head_bytes + body_bytes
    # First a reservation as a whole, so that the two parts are sure to be neighbours.
    address = _mmap(None, file_bytes + body_bytes, 0, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)
    try:
        flags = mmap.MAP_SHARED | MAP_FIXED
        _mmap(address, file_bytes, access, flags, descriptor, 0)
        _mmap(address + file_bytes, body_bytes, access, flags, descriptor, head_bytes)
    except OSError:
        _libc().munmap(address, file_bytes + body_bytes)
        raise
    return address


def _mmap(
    address: int | None, nbytes: int, access: int, flags: int, descriptor: int, offset: int
) -> int:
    mapped = _libc().mmap(address, nbytes, access, flags, descriptor, offset)
    if mapped == ctypes.c_void_p(-1).value:
        error = ctypes.get_errno()
        raise OSError(error, f"cannot map {nbytes} bytes for frames: {os.strerror(error)}")
    return int(mapped)


@functools.cache
def _libc() -> ctypes.CDLL:
    """Return the C library; Python's own mmap can't say where to map."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    return libc


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
            memory = TwiceMapped(descriptor, head_bytes, body_bytes, writable=writable)
        self._generations, self._seqs = memory.array(
            0, (2, self.slots), "<i8", None, read_only=not writable
        )
        self._memory, self._body_offset = memory, head_bytes
        self._strides = (self.slot_bytes, shape[1] * shape[2], shape[2], 1)
        self._writable = self._array(0, self.slots, read_only=not writable)
        self._readable = self._array(0, 2 * self.slots, read_only=True)
        self._commits = 0
        self._populated = bytearray(self.slots)

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

    def place(self, index: int) -> tuple[int, int]:
        """Return where in the file slot ``index`` is, the counters before the first included: offset, bytes."""
        begin = self._body_offset + index * self.slot_bytes if index else 0
        return begin, self._body_offset + (index + 1) * self.slot_bytes - begin

    def populate(self, index: int) -> None:
        """Find memory for slot ``index``, once: new pages cost its first frame a millisecond or two."""
        if not self._populated[index]:
            self._populated[index] = True
            self._memory.populate(self._body_offset + index * self.slot_bytes, self.slot_bytes)

    def generation(self, index: int) -> int:
        """Return what is new whenever slot ``index`` is written; 0: it is being written, or never was."""
        return int(self._generations[index])

    def seq(self, index: int) -> int:
        """Return the seq of the frame in slot ``index``."""
        return int(self._seqs[index])

    def view(self, first: int, count: int, owner: object = None) -> Pixels:
        """Return ``count`` slots from ``first`` on: (count, height, width, channels), read-only, no copy.

        ``owner`` lives as long as this array or any view of it.
        """
        if not (0 <= first < self.slots and 0 <= count <= self.slots):
            raise ValueError(f"no run of {count} slots from {first} on in a ring of {self.slots}")
        if owner is not None:
            return self._array(first, count, read_only=True, owner=owner)
        run: Pixels = self._readable[first : first + count]
        return run

    def _array(self, first: int, count: int, *, read_only: bool, owner: object = None) -> Pixels:
        return self._memory.array(
            self._body_offset + first * self.slot_bytes,
            (count, *self.shape),
            "|u1",
            self._strides,
            read_only=read_only,
            owner=owner,
        )


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
        return all_intact((self,))


def all_intact(slots: Iterable[Slot]) -> bool:
    """Return whether none of ``slots`` was overwritten since; to be asked after their pixels were used."""
    _fence()
    return all(slot.ring.generation(slot.index) == slot.generation for slot in slots)


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
