"""Memory that is mapped twice, back to back, and lives as long as any array over it."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import mmap
import os
import tempfile
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Not in the mmap module; the same number on Linux, macOS and the BSDs.
MAP_FIXED = 0x10


class TwiceMapped:
    """A file's first ``head_bytes`` and, twice in a row, the ``body_bytes`` behind them.

    Both are whole pages, and the file has no less; it may be closed afterwards. With ``populate`` no page
    of the first mapping has to be found when it is first used. Raises OSError if it cannot be mapped.
    """

    def __init__(
        self,
        descriptor: int,
        head_bytes: int,
        body_bytes: int,
        *,
        writable: bool = True,
        populate: bool = False,
    ) -> None:
        access = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
        extra = getattr(mmap, "MAP_POPULATE", 0) if populate else 0
        self._address = _map_twice(descriptor, head_bytes, body_bytes, access, extra)
        unmap = weakref.finalize(self, _libc().munmap, self._address, head_bytes + 2 * body_bytes)
        # The end of the process frees it anyway, and arrays may be in use until then.
        unmap.atexit = False

    def array(
        self,
        offset: int,
        shape: tuple[int, ...],
        typestr: str,
        strides: tuple[int, ...] | None,
        *,
        read_only: bool,
    ) -> NDArray[Any]:
        """Return an array over this memory, from byte ``offset`` on, that keeps it mapped."""
        interface = {
            "version": 3,
            "data": (self._address + offset, read_only),
            "shape": shape,
            "strides": strides,
            "typestr": typestr,
        }
        return np.asarray(_Exported(self, interface))


class _Exported:
    """What an array and all views of it hold on to."""

    def __init__(self, memory: TwiceMapped, interface: dict[str, Any]) -> None:
        self._memory = memory
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


def _map_twice(descriptor: int, head_bytes: int, body_bytes: int, access: int, extra: int) -> int:
    """Map a file and, right behind it, its body once more; return the address."""
    file_bytes = head_bytes + body_bytes
    # First a reservation as a whole, so that the two parts are sure to be neighbours.
    address = _mmap(None, file_bytes + body_bytes, 0, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)
    try:
        flags = mmap.MAP_SHARED | MAP_FIXED
        _mmap(address, file_bytes, access, flags | extra, descriptor, 0)
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
    return libc
