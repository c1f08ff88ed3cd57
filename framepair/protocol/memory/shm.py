"""``shm``: the pixels are in a ring in shared memory, and the message says where."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from framepair.protocol.memory.payload import Packed, Payload, Place, Writer, history_frames

if TYPE_CHECKING:
    from framepair.protocol.memory.ring import Pixels, Shape, Slot
    from framepair.protocol.memory.shared_ring import Attached, SharedRing
    from framepair.protocol.wire.frame import Encoding, FrameHeader

# Slots beyond the history: the one that is written, and the one that was just sent.
SPARE_SLOTS = 2


@dataclass(frozen=True, slots=True)
class Shm(Payload):
    """Pixels in a ring in shared memory, which consumers read without a copy."""

    name = "shm"
    what = "in shared memory, to consumers on this machine only"
    usages = ("shm",)
    one_machine = True
    # A ring is overwritten in turn, whether its frames were read or not.
    waits = False

    def writer(self, place: Place) -> Writer:
        """Return a producer's end."""
        return RingWriter(place)

    @classmethod
    def locate(cls, header: FrameHeader, attached: Attached) -> Slot:
        """Return the slot that holds the frame; raises ProtocolError if it can't be read here."""
        return attached.slot(header)

    def message_bytes(self, image: Pixels, encoding: Encoding) -> int:  # noqa: ARG002
        """Return 0: no pixels are in the message."""
        return 0

    def ring_bytes(self, shape: Shape, fps: float, history_s: float) -> int:
        """Return how much shared memory a source of such frames reserves."""
        from framepair.protocol.memory.ring import file_bytes, whole_pages

        slots = history_frames(fps, history_s) + SPARE_SLOTS
        return file_bytes(whole_pages(slots, shape), shape)


class RingWriter:
    """A ring in shared memory: the newest ``history_s`` seconds of frames, overwritten in turn.

    Another shape begins another ring; the former stays until that one has gone round, or yet another is
    begun, since frames of it are still on their way. Raises NoRoom if a ring does not fit.
    """

    def __init__(self, place: Place) -> None:
        self._directory: Path = place.directory
        self._stem = f"{place.source}.{place.run:x}"
        self._slots = history_frames(place.fps, place.history_s) + SPARE_SLOTS
        self._rings: list[SharedRing] = []
        self._count = 0
        self._next = 0

    def reserve(self, shape: Shape) -> Pixels:
        """Return the next slot, (height, width, channels), marked as being written."""
        if not self._rings or self._rings[-1].ring.shape != shape:
            self._begin(shape)
        newest = self._rings[-1]
        if self._next == newest.ring.slots:
            self._next = 0
            self._close_former()
        return newest.reserve(self._next)

    def pack(self, seq: int, encoding: Encoding) -> Packed:  # noqa: ARG002
        """Mark the slot as holding frame ``seq``; return where that is."""
        from framepair.protocol.wire.frame import Location

        newest = self._rings[-1]
        slot = newest.ring.commit(self._next, seq)
        self._next += 1
        return Packed(b"", "shm", Location(newest.name, slot.index, slot.generation))

    def close(self) -> None:
        """Remove the rings; a consumer that has mapped them keeps what they hold."""
        from framepair.protocol.memory.shared_ring import remove_stale

        while self._rings:
            self._rings.pop().close()
        remove_stale(self._directory)

    def _begin(self, shape: Shape) -> None:
        from framepair.protocol.memory.shared_ring import SharedRing

        # A camera that changes its size every second must not fill the memory.
        self._close_former()
        stem = f"{self._stem}.{self._count}"
        self._rings.append(SharedRing(self._directory, stem, self._slots, shape))
        self._count, self._next = self._count + 1, 0

    def _close_former(self) -> None:
        while len(self._rings) > 1:
            self._rings.pop(0).close()
