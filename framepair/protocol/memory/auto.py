"""``auto``: a ring in shared memory where one fits, else the pixels are in the message."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from framepair.protocol.memory.free_space import NoRoom
from framepair.protocol.memory.payload import Packed, Place, Writer
from framepair.protocol.memory.raw import Raw
from framepair.protocol.memory.shm import Shm
from framepair.protocol.transport.endpoints import EndpointError

if TYPE_CHECKING:
    from framepair.protocol.memory.ring import Pixels, Shape
    from framepair.protocol.wire.frame import Encoding

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Auto(Shm):
    """``shm``, until a ring does not fit; to be asked for only where all nodes are on one machine."""

    what = "shm where all nodes are on this machine and the rings fit, else raw"
    usages = ("auto",)

    def __str__(self) -> str:
        return "auto"

    def writer(self, place: Place) -> Writer:
        """Return a producer's end."""
        return RingOrMessage(place)


class RingOrMessage:
    """A ring in shared memory; once one can't be made, memory that messages take along."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._ring = Shm().writer(place)
        self._current: Writer = self._ring

    def reserve(self, shape: Shape) -> Pixels:
        """Return memory for the next frame, (height, width, channels); raises NoRoom if it is too large."""
        if self._current is self._ring:
            try:
                return self._ring.reserve(shape)
            except (NoRoom, EndpointError) as error:
                log.warning("%s: payload raw instead of shm: %s", self._place.source, error)
            self._current = Raw().writer(self._place)
        return self._current.reserve(shape)

    def pack(self, seq: int, encoding: Encoding) -> Packed:
        """Return the frame as it travels."""
        return self._current.pack(seq, encoding)

    def close(self) -> None:
        """Remove the ring, if there is one."""
        # Also after the way has changed: consumers may still be reading the frames that are in it.
        self._ring.close()
