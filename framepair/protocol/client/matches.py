"""Match: frames of several sources that were captured at about the same time, from pairs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from framepair.protocol.client.clip import Pair
from framepair.protocol.client.matching import Matcher
from framepair.protocol.client.pixels import Overwritten
from framepair.protocol.client.single_frame import Frame


@dataclass(frozen=True, eq=False, repr=False)
class Match(Mapping[str, Frame]):
    """One frame of each source, by the source's name, nearest to each other in capture time.

    Their pixels stay until the next match was asked for, or longer: see ``copy``.
    """

    frames: Mapping[str, Frame]

    @property
    def spread_ns(self) -> int:
        """Time from the capture of the first to that of the last of its frames."""
        captured_ns = [frame.captured_ns for frame in self.frames.values()]
        return max(captured_ns) - min(captured_ns)

    def copy(self) -> Match:
        """Return this match in writable memory of its own; raises Overwritten if it is too late for that."""
        return Match({source: frame.copy() for source, frame in self.frames.items()})

    def __getitem__(self, source: str) -> Frame:
        return self.frames[source]

    def __iter__(self) -> Iterator[str]:
        return iter(self.frames)

    def __len__(self) -> int:
        return len(self.frames)

    def __repr__(self) -> str:
        return f"<Match of {', '.join(map(repr, self.frames.values()))}>"


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which frames match: of ``others`` to those of ``reference``, at most ``within_ns`` apart.

    Raises ValueError if that makes no sense.
    """

    reference: str
    others: Sequence[str]
    within_ns: int

    def __post_init__(self) -> None:
        names = (self.reference, *self.others)
        if not self.others or len(set(names)) < len(names):
            raise ValueError(
                f"matches of {', '.join(names)}: name at least two sources, each of them once"
            )
        if self.within_ns < 0:
            raise ValueError(
                f"within_ms is {self.within_ns / 1e6:g}: say how far apart frames may be, from 0 on"
            )


def matches(
    pairs: Iterable[Pair], wanted: Wanted, unmatched: Counter[str]
) -> Generator[Match, None, None]:
    """Yield the matches in ``pairs``, of which each may go when the next is taken; count what has none.

    A source that the first pair has may be removed, and return: it has no frames meanwhile.
    """
    matcher: Matcher[Frame | None] = Matcher(
        wanted.reference, wanted.others, wanted.within_ns, unmatched
    )
    seen: set[str] = set()
    for pair in pairs:
        frames = {
            source: [(frame.captured_ns, frame) for frame in pair[source]]
            for source in (wanted.reference, *wanted.others)
            if source in pair or source not in seen
        }
        seen |= frames.keys()
        found = matcher.add_window(frames, pair.start_ns, pair.end_ns)
        # At once, and not when the next pair is asked for: by then shared memory may be overwritten.
        matcher.replace_undecided(_lasting)
        yield from _whole(found, unmatched)
    yield from _whole(matcher.end(), unmatched)


def _lasting(frame: Frame | None) -> Frame | None:
    """Return a frame that stays; None if it is too late for that."""
    try:
        return frame and replace(frame, _pixels=frame._pixels.lasting())
    except Overwritten:
        return None


def _whole(found: Iterable[Mapping[str, Frame | None]], unmatched: Counter[str]) -> Iterator[Match]:
    for match in found:
        frames = {source: frame for source, frame in match.items() if frame is not None}
        if len(frames) == len(match):
            yield Match(frames)
        else:
            unmatched.update(match.keys())
