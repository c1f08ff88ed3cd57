"""Frames that stay compressed, as they travelled, until their pixels are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from framepair.protocol.client.pixels import FramePixels, Lease, Place, in_slots
from framepair.protocol.memory.payloads import PAYLOADS
from framepair.protocol.memory.ring import Pixels, Shape, Slot
from framepair.protocol.wire.frame import FrameHeader


class EncodedFrame:
    """The file that a frame travelled as, and its pixels from when they are first asked for."""

    def __init__(self, header: FrameHeader, file: bytes | memoryview) -> None:
        self._header = header
        self.file = file

    @cached_property
    def image(self) -> Pixels:
        """The pixels, (height, width, channels), read-only; raises ProtocolError if the file is damaged."""
        image: Pixels = np.empty(self._header.shape, np.uint8)
        file = self.file if isinstance(self.file, memoryview) else memoryview(self.file)
        PAYLOADS[self._header.payload].store(file, image, self._header.encoding)
        image.flags.writeable = False
        return image

    def __reduce__(self) -> tuple[type[EncodedFrame], tuple[FrameHeader, bytes]]:
        return EncodedFrame, (self._header, bytes(self.file))


class EncodedPixels(FramePixels):
    """The pixels of frames of which some or all are compressed: those are decoded when they are looked at."""

    def __init__(
        self,
        source: str,
        places: Sequence[Place],
        lease: Lease | None = None,
        owner: object = None,
    ) -> None:
        slots = tuple(place for place in places if isinstance(place, Slot))
        super().__init__(source, None, (), slots, lease)
        self._places = places
        self._owner = owner

    @property
    def _images(self) -> Sequence[Pixels]:
        return [place.image for place in self._places]

    def encoded(self, index: int) -> bytes | None:
        """Return the file that a frame travelled as; raises Overwritten once the lease is over."""
        self._check_lease()
        place = self._places[index]
        return bytes(place.file) if isinstance(place, EncodedFrame) else None

    def select(self, chosen: slice) -> FramePixels:
        """Return the ``chosen`` frames, in the same memory and for as long."""
        return EncodedPixels(self._source, self._places[chosen], self._lease, self._owner)

    def held_by(self, owner: object) -> FramePixels:
        """Return the same frames without a lease; they keep ``owner`` alive."""
        places = [_held(place, owner) for place in self._places]
        return EncodedPixels(self._source, places, owner=owner)

    def __reduce__(self) -> tuple[Any, ...]:
        if self.slots:
            return super().__reduce__()
        return EncodedPixels, (self._source, list(self._places))

    def __deepcopy__(self, memo: object) -> FramePixels:
        return super().__deepcopy__(memo) if self.slots else self


class _Image:
    """A frame that is an array already."""

    def __init__(self, image: Pixels) -> None:
        self.image = image


def _held(place: Place, owner: object) -> Place:
    if not isinstance(place, Slot):
        return place
    return _Image(place.ring.view(place.index, 1, owner)[0])


def in_places(source: str, places: Sequence[Place], shape: Shape, lease: Lease) -> FramePixels:
    """Return the pixels at ``places``, without copying; ``shape`` is that of no frames."""
    slots = tuple(place for place in places if isinstance(place, Slot))
    if len(slots) == len(places):
        return in_slots(source, slots, shape, lease)
    return EncodedPixels(source, places, lease)
