"""A file that takes whole chunks or nothing: what a disk does not take as a whole is cut off again."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from pathlib import Path


class ChunkFile:
    """The stream that a recording is written to: bytes wait until ``flush``, which writes all of them or none.

    The file is made here, none is overwritten, and it is locked as long as it is open. Raises OSError.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self._descriptor = os.open(path, flags, 0o644)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self.size = 0
        """How many bytes are in the file: whole chunks."""

    def write(self, data: bytes) -> int:
        """Let ``data`` wait for the next flush."""
        self._waiting.append(data)
        self._waiting_bytes += len(data)
        return len(data)

    def tell(self) -> int:
        """Return where the next byte will be."""
        return self.size + self._waiting_bytes

    def flush(self) -> None:
        """Write what waits; if that fails, raises OSError, with the file as it was and nothing waiting."""
        waiting, self._waiting = self._waiting, []
        wanted, self._waiting_bytes = self._waiting_bytes, 0
        try:
            # A directory that was removed takes bytes as before, and nobody will ever see them.
            if not os.fstat(self._descriptor).st_nlink:
                raise FileNotFoundError(errno.ENOENT, "the file was removed")
            for data in waiting:
                _write_all(self._descriptor, data)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, self.size)
                os.lseek(self._descriptor, self.size, os.SEEK_SET)
            raise
        self.size += wanted

    def close(self) -> None:
        """Close the file as it is; what waits is forgotten."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _write_all(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
