"""Frame: one frame of a clip, its pixels and what is known of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from framepair.protocol.client import pace
from framepair.protocol.client.colours import in_bgr
from framepair.protocol.client.pixels import FramePixels
from framepair.protocol.clocks import clock
from framepair.protocol.memory.ring import Pixels
from framepair.protocol.wire.frame import FrameHeader, StampGrade


@dataclass(frozen=True, eq=False, repr=False)
class Frame:
    """One frame: its header, and its pixels for as long as those of its pair."""

    header: FrameHeader
    ready_ns: int
    """When its clip was in this process's memory, UTC by the combiner's clock."""
    skipped: int
    """How many frames its source captured since the frame before in its clip that aren't here."""
    _pixels: FramePixels

    @property
    def image(self) -> Pixels:
        """The pixels: (height, width, channels) uint8, read-only, no copy.

        Raises Overwritten once a later pair was taken.
        """
        return self._pixels.images[0]

    @property
    def encoded(self) -> bytes | None:
        """The file that it travelled as, with ``subscribe(decode=False)``; None if it is not compressed.

        Raises Overwritten once a later pair was taken.
        """
        return self._pixels.encoded(0)

    def bgr(self) -> Pixels:
        """Return the pixels as (height, width, 3) in BGR, converted if need be; see Clip.bgr."""
        return in_bgr(self.image, self.header)

    @property
    def source(self) -> str:
        """The name of the source that captured it."""
        return self.header.source

    @property
    def run(self) -> int:
        """Which life of its producer captured it."""
        return self.header.run

    @property
    def seq(self) -> int:
        """The producer's number of it, from 0 in each run."""
        return self.header.seq

    @property
    def captured_ns(self) -> int:
        """When it was captured: UTC by the combiner's clock, or media time with pace ``max``."""
        return self.header.captured_ns

    @property
    def recorded_ns(self) -> int | None:
        """When it was captured, in UTC, if it is played from a recording; None if it is not."""
        return self.header.recorded_ns

    @property
    def stamp(self) -> StampGrade | None:
        """How ``captured_ns`` is known, from ``exact`` to ``arrival``; None: not said."""
        return self.header.stamp

    @property
    def uncertainty_ns(self) -> int | None:
        """By how much ``captured_ns`` may be wrong, for its stamp and for its clock; None: not known."""
        return self.header.whole_uncertainty_ns

    def age_ms(self) -> float:
        """Return how long ago it was captured, by this machine's clock; 0 with pace ``max``."""
        lag_ns = pace.named(self.header.pace).lag_ns(self.captured_ns, clock.now_ns())
        return lag_ns / 1e6

    @property
    def intact(self) -> bool:
        """Whether nothing has been overwritten; to be asked after the pixels were used."""
        return self._pixels.intact

    def copy(self) -> Frame:
        """Return this frame in writable memory of its own; raises Overwritten if it is too late for that."""
        return replace(self, _pixels=self._pixels.copy())

    def __repr__(self) -> str:
        return f"<Frame {self.seq} of {self.source}>"
