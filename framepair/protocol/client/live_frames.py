"""Memory for the newest frames alone, for a program that wants no pairs."""

from __future__ import annotations

from framepair.protocol.client.clip import Pair
from framepair.protocol.client.encoded import EncodedFrame
from framepair.protocol.client.frame_store import Reservation, StoredFrame, Window
from framepair.protocol.client.losses import SubscriberStats
from framepair.protocol.client.newest import FRAMES_HELD, Newest
from framepair.protocol.client.slots import BlockRing
from framepair.protocol.memory.ring import Shape, Slot
from framepair.protocol.wire.frame import FrameHeader
from framepair.protocol.wire.header import ProtocolError
from framepair.protocol.wire.limits import MAX_SOURCES
from framepair.protocol.wire.pair import PairHeader, StreamEnd

# Addresses: frames that are held, that are being decoded, and that readers have. Unused ones take no memory.
BLOCKS = 32


class LiveFrames:
    """Keeps the newest frames of each source, each by itself; there are no pairs."""

    def __init__(self) -> None:
        self.newest = Newest()
        self._rings: dict[str, BlockRing] = {}
        self._held: dict[str, list[Window]] = {}
        self._rejected = 0
        self.end: StreamEnd | None = None
        """The combiner's last word, None while there is none."""

    def reserve(self, header: FrameHeader) -> Reservation:
        """Return where the pixels of a frame go; ``add_frame`` or its ``drop_frame`` must follow.

        Raises ProtocolError if there is no room, as readers have so many.
        """
        self.newest.collect()
        ring = self._ring(header.source, header.shape)
        if not ring.free:
            raise ProtocolError(
                f"{BLOCKS} frames of {header.source} are in use: let go of some, or copy() them"
            )
        window = Window()
        block = ring.take()
        window.blocks.append(block)
        window.hold()
        index = block.take_slot()
        return Reservation(window, ring.ring, index, ring.ring.reserve(index))

    def add_frame(self, header: FrameHeader, reservation: Reservation, ready_ns: int) -> None:
        """Add a frame whose pixels are in its slot since ``ready_ns``."""
        slot = reservation.ring.commit(reservation.index, header.seq)
        self._add(StoredFrame(header, slot, ready_ns), reservation.window)
        reservation.window.let_go()

    def add_placed_frame(
        self, header: FrameHeader, place: Slot | EncodedFrame, ready_ns: int
    ) -> None:
        """Add a frame that is in shared memory, or stays compressed."""
        self._add(StoredFrame(header, place, ready_ns), Window())

    def add_unseen_frame(self, header: FrameHeader) -> None:
        """Do nothing: there is no pair that lacks it."""

    def add_pair(
        self,
        header: PairHeader,
        ready_ns: int,  # noqa: ARG002
        clock_uncertainty_ns: int | None = 0,  # noqa: ARG002
    ) -> None:
        """Give back the memory of the sources that have been removed, as the pair lacks them."""
        for source in self.newest.removed_by(header):
            self.newest.remove(source)
            self._rings.pop(source, None)
            self._held.pop(source, None)

    def end_stream(self, end: StreamEnd) -> None:
        """Take the combiner's last word."""
        self.end = end

    def count_rejected(self) -> None:
        """Count a malformed message."""
        self._rejected += 1

    def clear(self) -> None:
        """Forget all frames but those that readers have."""
        self._rings.clear()
        self._held.clear()
        self.newest.clear()

    @property
    def queued(self) -> int:
        """How many pairs wait: none."""
        return 0

    @property
    def head(self) -> Pair | None:
        """The pair that waits: none."""
        return None

    @property
    def full(self) -> bool:
        """Whether nothing should come in: never."""
        return False

    @property
    def held_back(self) -> str | None:
        """Why a pair can't be taken: there is none."""
        return None

    def take(self) -> Pair | None:
        """Raise RuntimeError: there are no pairs."""
        raise RuntimeError(
            "subscribed with pairs=False: use latest() or frames(), or leave that out"
        )

    def stats(self) -> SubscriberStats:
        """Return the counts as they are now."""
        return SubscriberStats(
            pairs=0,
            queued=0,
            lost_pairs=0,
            delivered_frames={},
            damaged_frames={},
            lost_frames={},
            waiting_frames={},
            rejected=self._rejected,
            totals=self.end.totals if self.end else {},
            end=self.end,
            skipped_frames=dict(self.newest.skipped),
        )

    def _add(self, frame: StoredFrame, window: Window) -> None:
        source = frame.header.source
        held = self._held.setdefault(source, [])
        if len(self._held) > MAX_SOURCES:
            del self._held[source]
            raise ProtocolError(f"more than {MAX_SOURCES} sources")
        held.append(window)
        if len(held) > FRAMES_HELD:
            held.pop(0).release()
        self.newest.add(frame, window)

    def _ring(self, source: str, shape: Shape) -> BlockRing:
        ring = self._rings.get(source)
        if ring is None or ring.ring.shape != shape:
            ring = self._rings[source] = BlockRing(BLOCKS, 1, shape)
        return ring
