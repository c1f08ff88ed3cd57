"""The pixels of some frames: where they lie, and for how long they may be read."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from framepair.protocol.memory.ring import Pixels, Shape, Slot, all_intact


class Overwritten(RuntimeError):  # noqa: N818 - it says what happened
    """The pixels are gone: a later pair was taken, or they were overwritten before they were copied."""


class Place(Protocol):
    """Where one frame is."""

    @property
    def image(self) -> Pixels:
        """The pixels: (height, width, channels), read-only."""


class Lease:
    """The right to read the pixels of a pair, until ``end``: from then on their memory is used again."""

    __slots__ = ("over",)

    def __init__(self) -> None:
        self.over = False

    def end(self) -> None:
        """Make each later look at the pixels raise Overwritten."""
        self.over = True


class FramePixels:
    """The pixels of ``source``'s frames in order: one array (n, height, width, channels), or one for each.

    They lie in ``slots`` that are overwritten at some time after ``lease`` is over. Without slots and lease
    they stay. Those of a copy are in ``memory``.
    """

    def __init__(
        self,
        source: str,
        row: Pixels | None,
        images: Sequence[Pixels] = (),
        slots: tuple[Slot, ...] = (),
        lease: Lease | None = None,
        memory: Pixels | None = None,
    ) -> None:
        self._source = source
        self._row = row
        self._given = images
        self.slots = slots
        self._lease = lease
        self._memory = memory

    @property
    def _images(self) -> Sequence[Pixels]:
        return self._given

    def encoded(self, index: int) -> bytes | None:  # noqa: ARG002
        """Return the file that a frame travelled as, None if it is not kept; raises Overwritten likewise."""
        return None

    @property
    def images(self) -> list[Pixels]:
        """The frames one by one, (height, width, channels) each; raises Overwritten once the lease is over."""
        self._check_lease()
        return list(self._images if self._row is None else self._row)

    @property
    def array(self) -> Pixels:
        """All frames as one array: no copy if they lie in a row in one ring.

        Raises Overwritten once the lease is over, ValueError if the frames differ in shape.
        """
        self._check_lease()
        return self._stacked if self._row is None else self._row

    @property
    def intact(self) -> bool:
        """Whether nothing has been overwritten, and no later pair was taken."""
        return not (self._lease and self._lease.over) and all_intact(self.slots)

    def copy(self) -> FramePixels:
        """Return these pixels in writable memory of their own; raises Overwritten if it is too late."""
        self._check_lease()
        copied = self._copied()
        if not self.intact:
            raise Overwritten(
                f"frames of {self._source} were overwritten before they were copied: be quicker, or"
                " use a longer --history"
            )
        return copied

    def select(self, chosen: slice) -> FramePixels:
        """Return the pixels of the ``chosen`` frames, in the same memory and for as long."""
        row = None if self._row is None else self._row[chosen]
        return FramePixels(self._source, row, self._images[chosen], self.slots[chosen], self._lease)

    def held_by(self, owner: object) -> FramePixels:
        """Return arrays over the same memory that keep ``owner`` alive, each by itself, and need no lease."""
        if self._row is None:
            images = [slot.ring.view(slot.index, 1, owner)[0] for slot in self.slots]
            return FramePixels(self._source, None, images)
        if not self.slots:
            return FramePixels(self._source, self._row)
        first = self.slots[0]
        return FramePixels(self._source, first.ring.view(first.index, len(self.slots), owner))

    def lasting(self) -> FramePixels:
        """Return pixels that stay, read-only: these if they do, else a copy; raises as ``copy``."""
        if self._stays:
            return self
        copied = self.copy()
        copied.freeze()
        return copied

    def freeze(self) -> Pixels | None:
        """Make a copy's memory read-only; return what lives as long as anything of it, None for no copy."""
        for array in self._images if self._row is None else (self._row,):
            array.flags.writeable = False
        return self._memory

    def __reduce__(self) -> tuple[Any, ...]:
        # Pickled arrays are written after this has returned: nothing could look whether they were intact.
        own = self if self._stays else self.copy()
        return FramePixels, (own._source, own._row, list(own._images))

    def __deepcopy__(self, _: object) -> FramePixels:
        return self.copy()

    @property
    def _stays(self) -> bool:
        return self._lease is None and not self.slots

    @cached_property
    def _stacked(self) -> Pixels:
        if not _has_one_shape(self._images):
            raise ValueError(f"the frames of {self._source} differ in shape: use .images")
        stacked = np.stack(self._images)
        stacked.flags.writeable = False
        return stacked

    def _copied(self) -> FramePixels:
        if self._row is not None or _has_one_shape(self._images):
            row = np.stack(self._images) if self._row is None else self._row.copy()
            return FramePixels(self._source, row, memory=row)
        flat = np.concatenate([image.ravel() for image in self._images])
        ends = np.cumsum([image.size for image in self._images])
        parts = zip(np.split(flat, ends[:-1]), self._images, strict=True)
        images = [part.reshape(image.shape) for part, image in parts]
        return FramePixels(self._source, None, images, memory=flat)

    def _check_lease(self) -> None:
        if self._lease and self._lease.over:
            raise Overwritten(
                f"the frames of {self._source} went when a later pair was taken: copy() them before, or"
                " subscribe(copy=True)"
            )


def in_slots(source: str, slots: tuple[Slot, ...], shape: Shape, lease: Lease) -> FramePixels:
    """Return the pixels in ``slots``, without copying; ``shape`` is that of no frames."""
    row = _row(slots, shape)
    images = [slot.image for slot in slots] if row is None else ()
    return FramePixels(source, row, images, slots, lease)


def _row(slots: Sequence[Slot], shape: Shape) -> Pixels | None:
    """Return the slots as one array without copying, or None if they don't lie in a row in one ring."""
    if not slots:
        return np.empty((0, *shape), np.uint8)
    ring, first = slots[0].ring, slots[0].index
    in_a_row = (
        slot.ring is ring and slot.index == (first + i) % ring.slots for i, slot in enumerate(slots)
    )
    # A header may name a slot twice: then there are more frames than slots.
    return ring.view(first, len(slots)) if len(slots) <= ring.slots and all(in_a_row) else None


def _has_one_shape(images: Sequence[Pixels]) -> bool:
    return len({image.shape for image in images}) == 1
