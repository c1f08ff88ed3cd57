"""Which frames of several sources show the same instant of capture, as they come: a pure core."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

Frame = TypeVar("Frame")
Picture = TypeVar("Picture")

# A source that sent nothing for so long, and for so many of its periods, is not waited for.
SILENT_NS: Final = 1_000_000_000
SILENT_PERIODS: Final = 2.5
# Nor is one whose frames are captured so much before the instant: its delay is longer, or its clock is wrong.
BEHIND_NS: Final = 3_000_000_000
# Instants that wait: 10 a second for as long as a source may be behind, twice.
MAX_OPEN: Final = 60


@dataclass(frozen=True, slots=True)
class Arrival(Generic[Frame]):
    """A frame that has come: when it was captured, and the time between two of its source's frames."""

    source: str
    captured_ns: int
    period_ns: int
    frame: Frame


@dataclass(slots=True)
class Instant(Generic[Picture]):
    """A moment of capture, ``at_ns``, and of each source the picture of it; None: it has none."""

    at_ns: int
    widths: frozenset[int]
    pictures: dict[str, Picture | None] = field(default_factory=dict)


@dataclass(slots=True)
class _Track(Generic[Frame]):
    """A source: its newest frame, and when that came."""

    newest: Arrival[Frame]
    heard_ns: int


class Instants(Generic[Frame, Picture]):
    """Chooses an instant each ``interval_ns`` and, of each source, the frame that was captured nearest to it.

    An instant is that of the frame that comes first when the next one is due. Of the other sources it has the
    frame that is no more than their period away, if there is one. ``draw`` makes a picture of it at once, so
    that only the newest frame of each source is kept. An instant is whole once it has all sources that are
    waited for.
    """

    def __init__(
        self, interval_ns: int, draw: Callable[[Frame, frozenset[int]], Picture | None]
    ) -> None:
        self._interval_ns = interval_ns
        self._draw = draw
        self._due_ns = 0
        self._begun_ns: int | None = None
        self._tracks: dict[str, _Track[Frame]] = {}
        self._open: list[Instant[Picture]] = []

    def add(
        self, arrival: Arrival[Frame], now_ns: int, widths: frozenset[int]
    ) -> Instant[Picture] | None:
        """Add a frame that came at ``now_ns``; return the newest instant that is whole now, if there is one.

        Those before it are forgotten. If pictures of any ``widths`` are wanted, the frame may begin an instant.
        """
        if not self._tracks:
            # The other sources have to be heard of first.
            self._due_ns = now_ns + self._interval_ns
        track = self._tracks.get(arrival.source)
        for instant in self._open:
            if arrival.source not in instant.pictures and _decides(instant.at_ns, arrival):
                former = track.newest if track else arrival
                self._choose(instant, _nearer(instant.at_ns, former, arrival))
        self._tracks[arrival.source] = _Track(arrival, now_ns)
        if widths and now_ns >= self._due_ns and self._begins(arrival, now_ns):
            # On a schedule: frames at 25 a second would give 8.3 pictures instead of 10.
            self._due_ns = max(self._due_ns + self._interval_ns, now_ns - self._interval_ns)
            self._begin(arrival, widths)
        return self._take_whole(now_ns)

    def keep_only(self, sources: Collection[str]) -> None:
        """Forget the frames of all other sources, and do not wait for them."""
        for source in self._tracks.keys() - sources:
            del self._tracks[source]

    def clear(self) -> None:
        """Forget all frames and instants."""
        self._tracks.clear()
        self._open.clear()

    def _begins(self, arrival: Arrival[Frame], now_ns: int) -> bool:
        """Return whether a frame may begin an instant: another one, that all sources will reach."""
        begun_ns = self._begun_ns
        if begun_ns is not None and abs(arrival.captured_ns - begun_ns) <= arrival.period_ns // 2:
            return False
        return all(
            track.newest.captured_ns <= arrival.captured_ns
            for track in self._tracks.values()
            if not _is_silent(track, now_ns)
        )

    def _begin(self, arrival: Arrival[Frame], widths: frozenset[int]) -> None:
        instant: Instant[Picture] = Instant(arrival.captured_ns, widths)
        self._begun_ns = instant.at_ns
        for track in self._tracks.values():
            if _decides(instant.at_ns, track.newest):
                self._choose(instant, track.newest)
        self._open.append(instant)
        del self._open[:-MAX_OPEN]

    def _choose(self, instant: Instant[Picture], arrival: Arrival[Frame]) -> None:
        near = abs(arrival.captured_ns - instant.at_ns) <= arrival.period_ns
        picture = self._draw(arrival.frame, instant.widths) if near else None
        instant.pictures[arrival.source] = picture

    def _take_whole(self, now_ns: int) -> Instant[Picture] | None:
        for index in reversed(range(len(self._open))):
            if self._is_whole(self._open[index], now_ns):
                instant = self._open[index]
                del self._open[: index + 1]
                return instant
        return None

    def _is_whole(self, instant: Instant[Picture], now_ns: int) -> bool:
        return not any(
            source not in instant.pictures
            and not _is_silent(track, now_ns)
            and instant.at_ns - track.newest.captured_ns < BEHIND_NS
            for source, track in self._tracks.items()
        )


def _decides(at_ns: int, arrival: Arrival[Frame]) -> bool:
    """Return whether no later frame of the source, if it keeps its rate, is nearer to the instant."""
    return arrival.captured_ns >= at_ns - arrival.period_ns // 2


def _nearer(at_ns: int, one: Arrival[Frame], other: Arrival[Frame]) -> Arrival[Frame]:
    return min(one, other, key=lambda each: abs(each.captured_ns - at_ns))


def _is_silent(track: _Track[Frame], now_ns: int) -> bool:
    patience_ns = max(SILENT_NS, SILENT_PERIODS * track.newest.period_ns)
    return now_ns - track.heard_ns > patience_ns
