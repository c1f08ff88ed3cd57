"""The shared rings that a consumer reads from."""

from __future__ import annotations

from pathlib import Path

from protocol.frame import FrameHeader, Location
from protocol.header import ProtocolError
from protocol.ring import Ring, Slot
from protocol.shared_ring import attach


class Attached:
    """Maps each ring when its first frame comes; what is taken from it keeps it mapped.

    A producer that restarts, or whose source changes its shape, begins a ring, and of the one before nothing
    comes any more: one for each source is kept, so that what removed rings take is given back soon.
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

    def clear(self) -> None:
        """Forget all rings."""
        self._rings.clear()

    def _ring(self, header: FrameHeader, location: Location) -> Ring:
        if not location.ring.startswith(f"{header.source}.{header.run:x}."):
            raise ProtocolError(f"that is not a ring of this run of {header.source}")
        name, ring = self._rings.get(header.source, ("", None))
        if ring is None or name != location.ring:
            ring = attach(self._directory, location.ring, header.shape)
            self._rings[header.source] = location.ring, ring
        if ring.shape != header.shape:
            raise ProtocolError(f"{location.ring} does not hold frames of shape {header.shape}")
        return ring
