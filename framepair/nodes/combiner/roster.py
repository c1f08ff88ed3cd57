"""Which sources are in the pair of which window, as they come and go. Pure: time is an argument."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from framepair.nodes.combiner.track import Track
from framepair.protocol.wire.frame import FrameHeader
from framepair.protocol.wire.reasons import REMOVED, STARTUP


class Roster:
    """The sources of a pipeline: those in the pair of the window that closes next, and all that ever were.

    A source that is there before the first window is known is in all pairs, one that is added later from the
    first window on that it covers from its start. One that is removed is in the pairs up to its last window;
    its track stays, so that the end tells what became of its frames, and goes on if it is added again.
    """

    def __init__(self, tracks: Mapping[str, Track]) -> None:
        self.tracks = dict(tracks)
        """Those of all sources that ever were there."""
        self.present = dict(tracks)
        """Those in the pair of the window that closes next; the same dict for good."""
        self._first: dict[str, int | None] = {}
        """Of those that were added: the first window whose pair they are in, None until their first frame."""
        self._last: dict[str, int | None] = {}
        """Of those that were removed: the last window whose pair they are in, None if there is none."""

    def __getitem__(self, source: str) -> Track:
        return self.tracks[source]

    def __contains__(self, source: str) -> bool:
        return source in self.tracks

    def awaited(self) -> Iterator[Track]:
        """Yield the tracks of the sources that are to stay."""
        for source in self.present.keys() | self._first.keys():
            if source not in self._last:
                yield self.tracks[source]

    def is_removed(self, source: str) -> bool:
        """Return whether a source was removed; its last window may still be open."""
        return source in self._last

    def has_left(self, source: str) -> bool:
        """Return whether a source was removed, and the last window whose pair it is in has closed."""
        return source in self._last and source not in self.present and source not in self._first

    def is_free(self, source: str) -> bool:
        """Return whether ``source`` can be added: it is not there, and not being removed."""
        return not any(source in there for there in (self.present, self._first, self._last))

    def add(self, source: str, track: Track, following: int | None) -> None:
        """Add a source; ``following`` is the window that closes next, None before the first is known."""
        self.tracks[source] = track
        if following is None:
            self.present[source] = track
        else:
            self._first[source] = None

    def remove(self, source: str, last: int) -> int | None:
        """Remove a source after the window ``last``, -1 if there is none yet; return what its last one is.

        None: it is in no pair from now on.
        """
        first = self._first.get(source, 0)
        named = last if first is not None and first <= last else None
        self._last[source] = named
        if named is None:
            self._drop(source)
        return named

    def forget(self, source: str) -> None:
        """Forget that a source was removed, so that it can be added again; its track stays."""
        del self._last[source]

    def refusal(
        self, header: FrameHeader, index: int, following: int | None, *, covers: bool
    ) -> str | None:
        """Return why a frame of window ``index`` is in no pair, one of ``wire.reasons``; None: it may be.

        ``covers``: its source can have captured nothing of that window before it.
        """
        source = header.source
        if source in self._last:
            last = self._last[source]
            if last is None or index > last:
                return REMOVED
        if source in self._first:
            first = self._first[source]
            if first is None:
                first = max(index if covers else index + 1, following or 0)
                self._first[source] = first
                self.settle(following)
            return STARTUP if index < first else None
        return None

    def settle(self, following: int | None) -> None:
        """Let sources come and go, as ``following`` is now the window that closes next."""
        if following is None:
            return
        for source, first in self._first.items():
            if first is not None and first <= following and source not in self.present:
                self.present[source] = self.tracks[source]
        for source, last in self._last.items():
            if last is not None and last < following:
                self._drop(source)

    def _drop(self, source: str) -> None:
        self.present.pop(source, None)
        self._first.pop(source, None)
