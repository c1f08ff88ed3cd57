"""The newest frames of each source, before their pair: which of them a reader has seen, and what keeps them."""

from __future__ import annotations

import weakref
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from framepair.protocol.client.encoded import EncodedFrame, EncodedPixels
from framepair.protocol.client.frame_store import StoredFrame, Window
from framepair.protocol.client.pixels import FramePixels, Lease, Overwritten
from framepair.protocol.client.single_frame import Frame
from framepair.protocol.wire.pair import PairHeader

# Of each source: with one that is being written and one that a reader has, that makes eight slots.
FRAMES_HELD = 6


class FrameLease(Lease):
    """The right to read one frame's pixels; its memory is kept until this is over, or gone."""

    __slots__ = ("__weakref__",)


@dataclass(frozen=True, slots=True)
class _Arrival:
    """The ``number``-th frame of its source that came, in memory of ``window``."""

    number: int
    frame: StoredFrame
    window: Window

    @property
    def usable(self) -> bool:
        """Whether its pixels are still there."""
        place = self.frame.place
        return isinstance(place, EncodedFrame) or (not self.window.released and place.intact)


class Newest:
    """Up to six frames of each source, for any number of readers. Not for several threads at a time."""

    def __init__(self) -> None:
        self._arrivals: dict[str, deque[_Arrival]] = {}
        self._numbers: Counter[str] = Counter()
        self.skipped: Counter[str] = Counter()
        """Frames of each source that came, and that a reader passed over."""
        # Filled by finalizers, which run in any thread at any time: they can't wait for a lock.
        self._returned: deque[Window] = deque()

    @property
    def sources(self) -> list[str]:
        """The sources of which frames have come."""
        return list(self._arrivals)

    def add(self, frame: StoredFrame, window: Window) -> None:
        """Add a frame that has just come, in memory of ``window``."""
        source = frame.header.source
        self._numbers[source] += 1
        arrivals = self._arrivals.setdefault(source, deque(maxlen=FRAMES_HELD))
        arrivals.append(_Arrival(self._numbers[source], frame, window))

    def remove(self, source: str) -> None:
        """Forget the frames of a source that was removed; arrays of them stay as long as they are in use."""
        # It is still known how many came: a reader may ask for those after that number when the source returns.
        self._arrivals.pop(source, None)

    def removed_by(self, header: PairHeader) -> list[str]:
        """Return the sources that a pair lacks, and of which no frame of a later window has come."""
        return [
            source
            for source, arrivals in self._arrivals.items()
            if source not in header.clips
            and (arrivals[-1].frame.header.window or 0) <= header.window
        ]

    def clear(self) -> None:
        """Forget all frames but those that readers have."""
        self._arrivals.clear()

    def collect(self) -> None:
        """Release the memory of frames that the program has let go."""
        while self._returned:
            self._returned.popleft().let_go()

    def after(self, source: str, number: int) -> Iterator[_Arrival]:
        """Yield the frames of ``source`` that came after its ``number``-th and are there, oldest first."""
        arrivals = self._arrivals.get(source, ())
        return (each for each in arrivals if each.number > number and each.usable)

    def lend(
        self, arrival: _Arrival
    ) -> tuple[FramePixels, FrameLease, Callable[[], object] | None]:
        """Return a frame's pixels, the right to read them, and what ends that when it is called.

        A compressed one needs no lease: it brings its own memory.
        """
        self.collect()
        source, place, lease = arrival.frame.header.source, arrival.frame.place, FrameLease()
        if isinstance(place, EncodedFrame):
            return EncodedPixels(source, [place]), lease, None
        arrival.window.hold()
        end = weakref.finalize(lease, self._returned.append, arrival.window)
        end.atexit = False
        image = place.ring.view(place.index, 1, lease)[0]
        return FramePixels(source, None, [image], (place,), lease), lease, end


@dataclass(slots=True)
class _Seen:
    """What a reader got last of a source."""

    number: int
    frame: Frame
    lease: FrameLease
    end: Callable[[], object] | None


class Reader:
    """One place in the newest frames: what it gets is newer than what it got. Not for several threads.

    A frame's pixels stay until the reader gets the next one of its source; if it is gone, as long as any array
    of them is in use. With ``copy`` they stay, in any case.
    """

    def __init__(self, newest: Newest, *, copy: bool = False) -> None:
        self._newest = newest
        self._copy = copy
        self._seen: dict[str, _Seen] = {}

    def latest(self) -> dict[str, Frame] | None:
        """Return the newest frame of each source; None if none of them is newer than those returned last."""
        self._forget_removed()
        found = [self._take(source, newest=True) for source in self._newest.sources]
        if not any(found):
            return None
        return {source: seen.frame for source, seen in self._seen.items()}

    def following(self, source: str) -> Frame | None:
        """Return the oldest frame of ``source`` that is newer than the one returned last; None: not yet."""
        self._forget_removed()
        return self._take(source, newest=False)

    def _forget_removed(self) -> None:
        # Their leases do not end here: the program may still have those frames.
        for source in self._seen.keys() - self._newest.sources:
            del self._seen[source]

    def _take(self, source: str, *, newest: bool) -> Frame | None:
        seen = self._seen.get(source)
        arrivals = list(self._newest.after(source, seen.number if seen else 0))
        if not arrivals:
            return None
        arrival = arrivals[-1 if newest else 0]
        try:
            return self._hand_over(source, arrival, seen)
        except Overwritten:
            return None

    def _hand_over(self, source: str, arrival: _Arrival, seen: _Seen | None) -> Frame:
        pixels, lease, end = self._newest.lend(arrival)
        if self._copy and end is not None:
            pixels = pixels.lasting()
        skipped = _skipped(arrival, seen)
        if seen:
            self._newest.skipped[source] += arrival.number - seen.number - 1
            _end(seen)
        frame = Frame(arrival.frame.header, arrival.frame.ready_ns, skipped, pixels)
        self._seen[source] = _Seen(arrival.number, frame, lease, end)
        return frame


def _skipped(arrival: _Arrival, seen: _Seen | None) -> int:
    """Return how many frames the source captured between the two."""
    header = arrival.frame.header
    if seen is None or seen.frame.run != header.run:
        return 0
    return max(0, header.seq - seen.frame.seq - 1)


def _end(seen: _Seen) -> None:
    seen.lease.end()
    if seen.end is not None:
        # The window is let go with the next frame that is lent.
        seen.end()
