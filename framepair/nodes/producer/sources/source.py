"""What a source's frames look like, and what can go wrong with a source."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from framepair.protocol.wire.frame import Colour, Encoding, StampGrade
from framepair.protocol.wire.pair import ClipHeader

# A picture: uint8 (height, width, channels).
Image = NDArray[np.uint8]


class SourceError(RuntimeError):
    """A source that cannot be used as it is named: the message is one sentence that says what to do."""


class AccessRefused(SourceError):  # noqa: N818 - it says what happened
    """A source that wants another user or password: asked too often, some lock the user out."""


class CaptureLost(RuntimeError):  # noqa: N818 - it says what happened to the source
    """A live source that worked has failed or gone silent; opening it again may help."""


class FrameLost(RuntimeError):  # noqa: N818 - likewise
    """One frame that was grabbed cannot be decoded; the next one may be fine."""


@dataclass(frozen=True, slots=True)
class Format:
    """What a source's frames look like, and how they come.

    ``shape`` is that of the array, (height, width, channels), ``encoding`` what is in it and ``colour`` what
    its levels mean, as in a frame's header. ``fps`` is the nominal rate, ``total`` how many frames there are
    in all (0: not known), and ``live`` whether frames come at their own time, to be stamped by the clock, or
    can be had at any pace. ``begins_ns`` is the UTC at the video's beginning, if it was recorded with that;
    it is played from ``start_ns`` within it on, where positions are 0.
    """

    shape: tuple[int, int, int]
    encoding: Encoding = "bgr8"
    fps: float = 25.0
    total: int = 0
    live: bool = False
    colour: Colour | None = None
    begins_ns: int | None = None
    start_ns: int = 0


@dataclass(frozen=True, slots=True)
class FrameName:
    """What a recorded frame was called: its run and seq, and how many of that run had not been sent by then."""

    run: int
    seq: int
    dropped: int


@dataclass(frozen=True, slots=True)
class Position:
    """Time of a frame, and the earliest one of the next; nanoseconds since the video began to play.

    Of a live source: nanoseconds of UTC. ``grade`` says how the time is known, ``uncertainty_ns`` how far it
    may be wrong (None: not known); ``named`` is what it is to be called again if it was recorded, at
    ``recorded_ns`` of UTC.
    """

    at_ns: int
    next_ns: int
    grade: StampGrade = "exact"
    uncertainty_ns: int | None = 0
    named: FrameName | None = None
    recorded_ns: int | None = None


class Capture(Protocol):
    """An open source. One thread uses it at a time."""

    @property
    def reopened(self) -> int:
        """How often the source was opened again, after it had failed."""

    @property
    def skipped(self) -> int:
        """How many frames were left out because fewer a second are wanted."""

    @property
    def format(self) -> Format:
        """What frames look like; ``retrieve`` changes it if the source changed the size of its frames."""

    @property
    def position(self) -> Position | None:
        """Where in the video the grabbed frame is, or when it was captured if the source is live.

        None if a live source doesn't know: then it was just now.
        """

    def grab(self) -> bool:
        """Wait for the next frame and take it; False if the video is over.

        A grabbed frame need not be retrieved. Raises CaptureLost if a live source failed or sent
        nothing for ``read_timeout_s``, and SourceError if a file that is looped cannot be opened again.
        """

    def retrieve(self, out: Image, seq: int, captured_ns: int) -> Image:
        """Decode the grabbed frame into ``out``, uint8 of shape ``format.shape``, and return it.

        Only if the frame has another shape than ``out``, another array is returned, and ``format`` says
        so from then on. ``seq`` and ``captured_ns`` are what a synthetic source writes into the picture.
        Raises FrameLost if this one frame cannot be decoded.
        """

    def close(self) -> None:
        """Let go of the file, camera or connection; it may be called again."""


@runtime_checkable
class Compressed(Protocol):
    """A capture whose frames may be files already, which need not be decoded to travel as such."""

    def file(self) -> memoryview | None:
        """Return the grabbed frame as a JPEG file of the source's format, None if it is none."""


@dataclass(frozen=True, slots=True)
class Retold:
    """A source's part of a recorded pair, as RecordedClip has it; times are those of a Position.

    With ``end_ns`` None it is of no window: only the clip's totals count.
    """

    clip: ClipHeader
    start_ns: int = 0
    end_ns: int | None = None
    previous_ns: int | None = None
    partial: bool = False
    frames: int = 0
    lost: Mapping[str, int] = field(default_factory=dict)


@runtime_checkable
class Retelling(Protocol):
    """A capture that may know what its frames were called, and what pairs they were in."""

    @property
    def run(self) -> int | None:
        """The run of its first frame; None if it isn't known."""

    @property
    def window_ns(self) -> int | None:
        """How long the windows of those pairs were; None if there are none."""

    def retold(self) -> Sequence[Retold]:
        """Return what was announced between the grabbed frame and the next, or at first before any frame."""


@contextmanager
def blaming(name: str) -> Iterator[None]:
    """Put the source's name in front of a SourceError that is raised inside."""
    try:
        yield
    except SourceError as error:
        raise SourceError(f"source {name}: {error}") from None
