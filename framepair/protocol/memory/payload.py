"""What a payload is: how pixels travel from a producer to a consumer. ``payloads`` is the table of them."""

# Light: the launcher reads the table. numpy and codecs are imported by the ends, when they are used.
from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol, Self

from framepair.protocol.memory.free_space import NoRoom
from framepair.protocol.wire.limits import MAX_FRAME_BYTES, ProtocolError

if TYPE_CHECKING:
    from framepair.protocol.memory.ring import Pixels, Shape, Slot
    from framepair.protocol.memory.shared_ring import Attached
    from framepair.protocol.wire.frame import Encoding, FrameHeader, Location, PayloadKind

# Windows that a ring holds at the least; one of a relay has also to hold that which the program has in hands.
MIN_WINDOWS, MIN_RELAYED_WINDOWS = 2, 3
# What a pair's way takes after the combiner has closed its window, in seconds: to the consumer, and its turn.
DELIVERY_S = 1.0


@dataclass(frozen=True, slots=True)
class Packed:
    """What goes into a message: the pixels, their compressed form, or nothing and their location."""

    data: memoryview | bytes
    payload: PayloadKind = "raw"
    location: Location | None = None

    @property
    def packed_bytes(self) -> int | None:
        """How many bytes the compressed form has, None if the pixels are not compressed."""
        return None if self.payload == "raw" or self.location else len(self.data)


@dataclass(frozen=True, slots=True)
class Place:
    """Whose frames a payload holds, at which rate, for how long, and where if in shared memory."""

    source: str
    run: int
    fps: float
    history_s: float
    directory: Path


class Writer(Protocol):
    """A producer's memory for frames, one after the other."""

    def reserve(self, shape: Shape) -> Pixels:
        """Return memory for the next frame, (height, width, channels); raises NoRoom if it can't be had."""

    def pack(self, seq: int, encoding: Encoding) -> Packed:
        """Return frame ``seq``, which was written into the memory reserved last, as it travels."""

    def close(self) -> None:
        """Give the memory back."""


@dataclass(frozen=True, slots=True)
class Payload(ABC):
    """One way for pixels to travel, as the user asked for it; both ends are made here."""

    name: ClassVar[PayloadKind]
    what: ClassVar[str]
    """For the help of ``--payload``: how its pixels travel, in a few words."""
    usages: ClassVar[tuple[str, ...]]
    """How it may be written, such as ``jpeg`` and ``jpeg:QUALITY``."""
    argument: ClassVar[str] = ""
    """What its argument is, such as ``a quality from 1 to 100``."""
    one_machine: ClassVar[bool] = False
    """Whether both ends have to be on one machine, as no pixels are in the message."""
    waits: ClassVar[bool] = True
    """Whether it can wait for a consumer without losing a frame, as ``--pace max`` asks for."""
    slow: ClassVar[bool] = False
    """Whether ``store`` takes so long that several threads should share the work."""

    @classmethod
    def parse(cls, argument: str | None) -> Self:
        """Return the payload with ``argument``, what follows ``name:``; raises ValueError if it takes none."""
        if argument is not None:
            raise ValueError(f"{cls.name} takes no {argument!r}")
        return cls()

    def __str__(self) -> str:
        return self.name

    @abstractmethod
    def writer(self, place: Place) -> Writer:
        """Return a producer's end; raises NoRoom if its memory does not fit."""

    @classmethod
    def locate(cls, header: FrameHeader, attached: Attached) -> Slot:  # noqa: ARG003
        """Return the slot of ``attached`` memory that holds a frame whose message has no pixels.

        Raises ProtocolError if it is in no such memory.
        """
        raise ProtocolError(f"a {cls.name} frame without pixels")

    @classmethod
    def store(cls, data: Pixels | memoryview, out: Pixels, encoding: Encoding) -> None:  # noqa: ARG003
        """Write the pixels of a message's ``data`` into ``out``; raises ProtocolError if it is damaged."""
        raise ProtocolError(f"a {cls.name} frame with {len(data)} bytes of pixels")

    def message_bytes(self, image: Pixels, encoding: Encoding) -> int:  # noqa: ARG002
        """Return how many bytes a message has for ``image``."""
        return image.nbytes

    def ring_bytes(self, shape: Shape, fps: float, history_s: float) -> int:  # noqa: ARG002
        """Return how much shared memory a source of such frames reserves."""
        return 0


def message_complaint(shape: Shape) -> str | None:
    """Return what to do about frames of ``shape`` if they are too large for a message; None if they aren't."""
    height, width, _ = shape
    nbytes = math.prod(shape)
    if nbytes <= MAX_FRAME_BYTES:
        return None
    return (
        f"a frame of {width}x{height} has {nbytes} bytes and a message may have {MAX_FRAME_BYTES}: choose a"
        " smaller picture, or --payload shm on one machine"
    )


def check_message(shape: Shape) -> None:
    """Raise NoRoom if a frame of ``shape`` is too large for a message, which its receiver would drop."""
    if complaint := message_complaint(shape):
        raise NoRoom(complaint)


def history_s(asked_s: float, window_s: float, max_wait_s: float) -> float:
    """Return how many seconds of frames a ring must hold: a frame may be read until its pair is delivered.

    That is its window, the wait for slow sources, and the delivery: ``asked_s`` only if it is more than that,
    and two windows at the least.
    """
    return max(asked_s, MIN_WINDOWS * window_s, window_s + max_wait_s + DELIVERY_S)


def relayed_history_s(asked_s: float, window_s: float) -> float:
    """Return how many seconds of frames a relay's ring must hold; ``asked_s`` has the wait for slow sources."""
    return max(MIN_RELAYED_WINDOWS * window_s, history_s(asked_s, window_s, 0.0))


def history_frames(fps: float, history_s: float) -> int:
    """Return how many frames come in ``history_s``."""
    return math.ceil(fps * history_s)
