"""The way of a received frame into memory: as it is, scaled, decoded by another thread, or still compressed."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Protocol

from framepair.protocol.client.decoders import Decoders
from framepair.protocol.client.encoded import EncodedFrame
from framepair.protocol.client.frame_store import Reservation
from framepair.protocol.client.scaling import scale
from framepair.protocol.client.selection import Selection
from framepair.protocol.memory.payloads import PAYLOADS
from framepair.protocol.memory.ring import Pixels, Slot
from framepair.protocol.memory.shared_ring import Attached
from framepair.protocol.wire.frame import FrameHeader
from framepair.protocol.wire.header import ProtocolError

# Write a frame's pixels into an array; raises ProtocolError if they aren't what they should be.
Fill = Callable[[Pixels], None]


class FrameMemory(Protocol):
    """Where frames are put, under a lock."""

    def reserve(self, header: FrameHeader) -> Reservation:
        """Return where the pixels of a frame go; ``add_frame`` or its ``drop_frame`` must follow."""

    def add_frame(self, header: FrameHeader, reservation: Reservation, ready_ns: int) -> None:
        """Add a frame whose pixels are in their place since ``ready_ns``."""

    def add_placed_frame(
        self, header: FrameHeader, place: Slot | EncodedFrame, ready_ns: int
    ) -> None:
        """Add a frame that needs no memory here, or that brings its own."""


class FrameWriter:
    """Puts the frames that ``selection`` keeps into ``memory``, which ``lock`` is for; calls ``added`` with it.

    Frames in shared memory are found in ``shm_dir``. ``reject`` is told of frames that turn out to be damaged.
    """

    def __init__(
        self,
        memory: FrameMemory,
        lock: threading.Condition,
        selection: Selection,
        shm_dir: Path,
        reject: Callable[[ProtocolError], None],
        added: Callable[[], None] = lambda: None,
    ) -> None:
        self._memory = memory
        self._lock = lock
        self._selection = selection
        self._attached = Attached(shm_dir)
        self._decoders = Decoders()
        self._reject = reject
        self._added = added

    def write(
        self,
        header: FrameHeader,
        pixels: Pixels | memoryview | None,
        now: Callable[[], int],
    ) -> None:
        """Put a frame into memory if it is kept: now, or before ``drain`` returns.

        Raises ProtocolError if it can't be part of any pair, WindowTooLarge if there will be no such pair.
        """
        selection = self._selection
        if not selection.keeps(header):
            return
        kept = selection.reduced(header)
        if pixels is None:
            self._write_shared(header, kept, now)
        elif isinstance(pixels, memoryview) and not selection.decode:
            with self._lock:
                self._memory.add_placed_frame(kept, EncodedFrame(kept, bytes(pixels)), now())
                self._added()
        else:
            slow = PAYLOADS[header.payload].slow
            self._fill(kept, _filling(header, kept, pixels), now, slow=slow)

    def keep_only(self, sources: Collection[str]) -> None:
        """Unmap the shared memory of all other sources, as soon as nothing uses it."""
        self._attached.keep_only(sources)

    def drain(self) -> None:
        """Return as soon as all frames are in memory."""
        self._decoders.drain()

    def close(self) -> None:
        """End the threads that decode."""
        self._decoders.close()

    def clear(self) -> None:
        """Unmap all shared memory that nothing uses."""
        self._attached.clear()

    def _write_shared(self, header: FrameHeader, kept: FrameHeader, now: Callable[[], int]) -> None:
        slot = PAYLOADS[header.payload].locate(header, self._attached)
        if kept.shape != header.shape:
            self._fill(kept, functools.partial(_scale_slot, header, slot), now, slow=True)
            return
        with self._lock:
            self._memory.add_placed_frame(kept, slot, now())
            self._added()

    def _fill(self, header: FrameHeader, fill: Fill, now: Callable[[], int], *, slow: bool) -> None:
        with self._lock:
            place = self._memory.reserve(header)
        # Megabytes: the consumer must not wait for them, so not under the lock.
        store = functools.partial(self._store, header, fill, place, now)
        if slow or self._selection.size is not None:
            self._decoders.submit(store)
        else:
            store()

    def _store(
        self, header: FrameHeader, fill: Fill, place: Reservation, now: Callable[[], int]
    ) -> None:
        """Write a frame's pixels to where they belong, perhaps in a thread of its own."""
        try:
            fill(place.image)
        except ProtocolError as error:
            with self._lock:
                place.drop_frame(header)
            self._reject(error)
            return
        with self._lock:
            self._memory.add_frame(header, place, now())
            self._added()
        # While nothing waits: the last frame of a window is what its pair's lag is of.
        place.prepare_next()


def _filling(header: FrameHeader, kept: FrameHeader, pixels: Pixels | memoryview) -> Fill:
    """Return what writes a message's ``pixels`` in the size that is kept."""
    if kept.shape != header.shape:
        return functools.partial(_scale_message, header, pixels)
    store = PAYLOADS[header.payload].store
    return lambda out: store(pixels, out, header.encoding)


def _scale_message(header: FrameHeader, pixels: Pixels | memoryview, out: Pixels) -> None:
    if isinstance(pixels, memoryview):
        pixels = EncodedFrame(header, pixels).image
    scale(pixels, out, header.encoding)


def _scale_slot(header: FrameHeader, slot: Slot, out: Pixels) -> None:
    scale(slot.image, out, header.encoding)
    if not slot.intact:
        raise ProtocolError("a frame was overwritten before it was scaled: use a longer --history")
