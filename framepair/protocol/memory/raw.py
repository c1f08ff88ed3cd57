"""``raw``: the pixels are in the message."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from framepair.protocol.memory.payload import Packed, Payload, Place, check_message

if TYPE_CHECKING:
    from framepair.protocol.memory.ring import Pixels, Shape
    from framepair.protocol.wire.frame import Encoding


@dataclass(frozen=True, slots=True)
class Raw(Payload):
    """Pixels as they are, in the message."""

    name = "raw"
    what = "in the message"
    usages = ("raw",)

    def writer(self, place: Place) -> RawWriter:  # noqa: ARG002 - it needs no place
        """Return a producer's end."""
        return RawWriter()

    @classmethod
    def store(cls, data: Pixels | memoryview, out: Pixels, encoding: Encoding) -> None:  # noqa: ARG003
        """Copy the pixels into ``out``."""
        import numpy as np

        np.copyto(out, data)


class RawWriter:
    """Memory of its own for every frame: the message takes it along."""

    def __init__(self) -> None:
        self._frame: Pixels | None = None

    def reserve(self, shape: Shape) -> Pixels:
        """Return memory for the next frame, (height, width, channels); raises NoRoom if it is too large."""
        import numpy as np

        check_message(shape)
        self._frame = np.empty(shape, np.uint8)
        return self._frame

    def pack(self, seq: int, encoding: Encoding) -> Packed:  # noqa: ARG002 - others have to know
        """Return the frame's own memory, not a copy."""
        return Packed(b"" if self._frame is None else self._frame.data)

    def close(self) -> None:
        """Do nothing: the memory goes with the last message."""
