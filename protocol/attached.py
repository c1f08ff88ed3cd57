"""The shared rings that a consumer reads from."""

from __future__ import annotations

from pathlib import Path

from protocol.frame import FrameHeader
from protocol.header import ProtocolError
from protocol.ring import Ring, Slot
from protocol.shared_ring import attach

# A producer that restarts, or whose source changes its shape, begins a ring; of its old ones nothing comes.
MAX_RINGS_PER_SOURCE = 4


class Attached:
    """Maps each ring when its first frame comes; what is taken from it keeps it mapped."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._rings: dict[str, dict[str, Ring]] = {}

    def slot(self, header: FrameHeader) -> Slot:
        """Return where the pixels of a frame are; raises ProtocolError if they can't be had here."""
        location = header.location
        if location is None:
            raise ProtocolError("the frame is not in shared memory")
        ring = self._ring(header.source, location.ring, header)
        if location.slot >= ring.slots:
            raise ProtocolError(f"slot {location.slot} of a ring of {ring.slots}")
        return Slot(ring, location.slot, location.generation)

    def _ring(self, source: str, name: str, header: FrameHeader) -> Ring:
        rings = self._rings.setdefault(source, {})
        if name not in rings:
            rings[name] = attach(self._directory, name, header.shape)
            if len(rings) > MAX_RINGS_PER_SOURCE:
                del rings[next(iter(rings))]
        if rings[name].shape != header.shape:
            raise ProtocolError(f"{name} does not hold frames of shape {header.shape}")
        return rings[name]
