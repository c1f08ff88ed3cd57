"""The shared rings that a consumer reads from."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import stat
import threading
import time
import weakref
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TypeGuard

from framepair.protocol.memory import free_space
from framepair.protocol.memory.free_space import MEBIBYTE, NoRoom
from framepair.protocol.memory.ring import Pixels, Ring, Shape, Slot, file_bytes, whole_pages
from framepair.protocol.transport import endpoints
from framepair.protocol.wire.frame import FrameHeader, Location
from framepair.protocol.wire.header import ProtocolError

DIRECTORY_VARIABLE = "FRAMEPAIR_SHM_DIR"
# SOURCE.RUN.COUNT.SLOTS.ring: the name says what a reader has to know before it maps the file.
NAME = re.compile(r"[A-Za-z0-9_-]{1,64}\.[0-9a-f]{1,16}\.[0-9]{1,9}\.([0-9]{1,9})\.ring\Z")
# O_NOFOLLOW: no symlinks. O_NONBLOCK: opening a FIFO without a writer must not block.
TO_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
# Many producers may start at once, and each makes its ring while the others wait. A process that only removes
# stale rings gives up soon: the next one removes them.
MAKE_PATIENCE_S, TIDY_PATIENCE_S = 30.0, 1.0
LOCK_POLL_S = 0.01
# Of st_blocks in stat(2).
BLOCK_BYTES = 512
# Of finding the directory where it was just made.
ATTEMPTS = 100
REMEDIES = {
    errno.ENOSPC: "choose a smaller --history, or another --shm-dir",
    errno.ETIMEDOUT: "end the process that holds it, or choose another --shm-dir",
}


def default_directory() -> Path:
    """Return where rings are: FRAMEPAIR_SHM_DIR, else this user's directory below /dev/shm."""
    named = os.environ.get(DIRECTORY_VARIABLE)
    # Another name than the run directory, which is in /dev/shm, too, where TMPDIR says so, and stays locked.
    return Path(named) if named else Path("/dev/shm") / f"framepair-rings-{os.getuid()}"  # noqa: S108


class SharedRing:
    """A ring that this process writes and others read, until ``close``.

    There is room for all of it when it is made; a thread then reserves and maps its memory ahead of the writer.
    That takes a second and more for some hundred frames of 1080p, which neither the first frame waits for nor
    the rings of other producers. Raises NoRoom if there is not so much memory, EndpointError if the directory
    can't be used.
    """

    def __init__(self, directory: Path, stem: str, slots: int, shape: Shape) -> None:
        slots = whole_pages(slots, shape)
        self._nbytes = file_bytes(slots, shape)
        self.name = f"{stem}.{slots}.ring"
        self._path = directory / self.name
        self._lock = -1
        self._supply: _Supply | None = None
        try:
            self._lock = _create(self._path, self._nbytes)
            self.ring = Ring(slots, shape, self._lock)
            self._supply = _Supply(self._lock, self.ring)
        except OSError as error:
            self.close()
            raise self._no_room(error) from None

    def reserve(self, index: int) -> Pixels:
        """Mark slot ``index`` as being written and return its pixels; raises NoRoom if it has no memory."""
        try:
            if self._supply is not None:
                self._supply.ensure(self.ring, index)
        except OSError as error:
            raise self._no_room(error) from None
        return self.ring.reserve(index)

    def close(self) -> None:
        """Remove the ring; processes that have mapped it keep what it holds."""
        if self._supply is not None:
            self._supply.stop()
        if self._lock >= 0:
            self._path.unlink(missing_ok=True)
            os.close(self._lock)
            self._lock = -1

    def _no_room(self, error: OSError) -> NoRoom:
        size = f"a ring of {self._nbytes / MEBIBYTE:.1f} MiB in {self._path.parent}"
        remedy = REMEDIES.get(error.errno or 0, "choose another --shm-dir")
        return NoRoom(f"cannot make {size}: {error.strerror}: {remedy}")


class _Supply:
    """Reserves and maps the memory of a ring's slots, in a thread that stays ahead of the writer.

    No slot is written before its memory is reserved: if others have taken that meanwhile, it is an error where
    a mapping alone would be a SIGBUS. Raises OSError if there is none for the first slot.
    """

    def __init__(self, descriptor: int, ring: Ring) -> None:
        self._descriptor = descriptor
        # A reference that does not keep the ring, as nothing may close it.
        self._ring = weakref.ref(ring)
        self._supplied = 0
        """How many slots have memory, from the first on."""
        self._stopped = False
        self.ensure(ring, 0)
        self._thread = threading.Thread(target=self._run, name="framepair-populate", daemon=True)
        self._thread.start()

    def ensure(self, ring: Ring, index: int) -> None:
        """Return once slot ``index`` has memory; raises OSError if there is none."""
        if index >= self._supplied:
            os.posix_fallocate(self._descriptor, *ring.place(index))
            ring.populate(index)

    def stop(self) -> None:
        """Reserve no more; return once the thread has ended."""
        self._stopped = True
        self._thread.join()

    def _run(self) -> None:
        # What fails is tried again, and told, by the writer when it gets there.
        with contextlib.suppress(OSError):
            while self._has_more(ring := self._ring()) and not self._stopped:
                self.ensure(ring, self._supplied)
                self._supplied += 1

    def _has_more(self, ring: Ring | None) -> TypeGuard[Ring]:
        return ring is not None and self._supplied < ring.slots


class RingUnseen(ProtocolError):  # noqa: N818 - it says what there is
    """A ring that this process can't see, or not use; the message says why and what to do."""


def attach(directory: Path, name: str, shape: Shape) -> Ring:
    """Return another process's ring, to be read; raises RingUnseen if it can't be, else ProtocolError."""
    match = NAME.match(name)
    if match is None:
        raise ProtocolError("that is not the name of a ring")
    slots = int(match.group(1))
    try:
        descriptor = os.open(directory / name, TO_READ)
    except OSError as error:
        raise RingUnseen(
            f"its frames are in shared memory that this process cannot see: no ring {name} in {directory}:"
            f" {error.strerror}: name the producer's directory (--shm-dir, shm_dir), share it with this"
            " container, or send the frames with --payload raw"
        ) from None
    try:
        status = os.fstat(descriptor)
        wanted = (os.getuid(), file_bytes(slots, shape))
        if (
            not stat.S_ISREG(status.st_mode)
            or (status.st_uid, status.st_size) != wanted
            # Beyond the end of the file is nothing but a SIGBUS.
            or slots != whole_pages(slots, shape)
        ):
            raise ProtocolError(f"{name} is not a ring of {slots} frames of shape {shape}")
        return Ring(slots, shape, descriptor, writable=False)
    except OSError as error:
        raise ProtocolError(f"cannot map {name}: {error.strerror}") from None
    finally:
        os.close(descriptor)


def is_visible(directory: Path, name: str) -> bool:
    """Return whether this process can see the ring of that name."""
    return NAME.match(name) is not None and os.access(directory / name, os.R_OK)


def remove_stale(directory: Path) -> None:
    """Remove the rings of owners that are dead, and the directory if nothing is left in it."""
    with contextlib.suppress(OSError), _locked(directory, TIDY_PATIENCE_S):
        _remove_stale(directory)
        directory.rmdir()


def _remove_stale(directory: Path) -> None:
    for path in [path for path in directory.iterdir() if NAME.match(path.name)]:
        with contextlib.suppress(OSError):
            descriptor = os.open(path, TO_READ)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()
            finally:
                os.close(descriptor)


def _create(path: Path, nbytes: int) -> int:
    """Make a file of ``nbytes`` in a directory made if need be; return a descriptor that holds it locked."""
    directory = path.parent
    directory.parent.mkdir(parents=True, exist_ok=True)
    for _ in range(ATTEMPTS):
        with contextlib.suppress(FileExistsError):
            directory.mkdir(mode=0o700)
        # A process that removes stale rings may have removed it since.
        with contextlib.suppress(FileNotFoundError), _locked(directory, MAKE_PATIENCE_S):
            endpoints.make_run_dir(directory, "directory of shared memory")
            _remove_stale(directory)
            free_space.check(directory, nbytes, _promised(directory))
            return _make(path, nbytes)
    raise FileNotFoundError(errno.ENOENT, "the directory is not there, or not for long")


def _promised(directory: Path) -> int:
    """Return how many bytes the rings in ``directory`` will still take: those that have no memory yet."""
    promised = 0
    for path in [path for path in directory.iterdir() if NAME.match(path.name)]:
        with contextlib.suppress(OSError):
            status = path.lstat()
            promised += max(0, status.st_size - status.st_blocks * BLOCK_BYTES)
    return promised


def _make(path: Path, nbytes: int) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(descriptor, nbytes)
    except BaseException:
        path.unlink(missing_ok=True)
        os.close(descriptor)
        raise
    return descriptor


@contextlib.contextmanager
def _locked(directory: Path, patience_s: float) -> Iterator[None]:
    """Keep others from looking for stale rings, or for room, while one is being made.

    Raises TimeoutError if another process holds the lock for longer than ``patience_s``, FileNotFoundError if
    the directory is gone.
    """
    deadline_s = time.monotonic() + patience_s
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        while not _try_lock(descriptor):
            # Not a wait in the kernel: the holder may be stopped, or hold it for another reason for good.
            if time.monotonic() > deadline_s:
                raise TimeoutError(errno.ETIMEDOUT, "another process has it locked")
            time.sleep(LOCK_POLL_S)
        # It may have been removed before we had the lock, and made again: then others lock the new one.
        if not os.path.samestat(os.fstat(descriptor), directory.stat()):
            raise FileNotFoundError(errno.ENOENT, "the directory was removed")
        yield
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class Attached:
    """Maps each ring when its first frame comes; what is taken from it keeps it mapped.

    A producer that restarts, or whose source changes its shape, begins a ring, and of the one before nothing
    comes any more: one for each source is kept, so that what removed rings take is given back soon. Of sources
    that are removed ``keep_only`` gives it back.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._rings: dict[str, tuple[str, Ring]] = {}

    def slot(self, header: FrameHeader) -> Slot:
        """Return where the pixels of a frame are; raises ProtocolError if they can't be had here."""
        location = header.location
        if location is None:
            raise ProtocolError("the frame is not in shared memory")
        ring = self._ring(header, location)
        if location.slot >= ring.slots:
            raise ProtocolError(f"slot {location.slot} of a ring of {ring.slots}")
        return Slot(ring, location.slot, location.generation)

    def keep_only(self, sources: Collection[str]) -> None:
        """Forget the rings of all other sources; the next frame of one maps its ring again."""
        for source in self._rings.keys() - sources:
            del self._rings[source]

    def clear(self) -> None:
        """Forget all rings."""
        self._rings.clear()

    def _ring(self, header: FrameHeader, location: Location) -> Ring:
        # Not of the header's run: a producer whose stamps go over to another clock keeps its ring.
        if not location.ring.startswith(f"{header.source}."):
            raise ProtocolError(f"that is not a ring of {header.source}")
        name, ring = self._rings.get(header.source, ("", None))
        if ring is None or name != location.ring:
            ring = attach(self._directory, location.ring, header.shape)
            self._rings[header.source] = location.ring, ring
        if ring.shape != header.shape:
            raise ProtocolError(f"{location.ring} does not hold frames of shape {header.shape}")
        return ring
