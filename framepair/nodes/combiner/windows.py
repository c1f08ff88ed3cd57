"""Which frames make a pair: pure logic, without sockets, threads or a clock.

Windows are tumbling windows of event time: [k * W, (k + 1) * W) of capture time. When one closes is decided in
``closing``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Generic

from framepair.nodes.combiner.closing import Closing
from framepair.nodes.combiner.open_windows import OpenClip, OpenWindows, Pixels, ReceivedFrame
from framepair.nodes.combiner.pace import Rules, policy_for
from framepair.nodes.combiner.roster import Roster
from framepair.nodes.combiner.startup import Startup
from framepair.nodes.combiner.track import Say, Track
from framepair.protocol.wire.frame import Alive, FrameHeader, SourceEnd
from framepair.protocol.wire.limits import MAX_SOURCES
from framepair.protocol.wire.pair import PairHeader, Totals, max_spans
from framepair.protocol.wire.reasons import COMBINER_LOST, STARTUP
from framepair.protocol.wire.recorded import FromProducer, RecordedClip


@dataclass(frozen=True, slots=True)
class Accepted(Generic[Pixels]):
    """A frame that is in a pair; its header says in which."""

    header: FrameHeader
    pixels: Pixels


def _say_nothing(kind: str, message: str) -> None:
    """Say nothing of what the user might want to know."""


class Windows(Generic[Pixels]):
    """The windows of one pipeline. Times are the combiner's UTC, and do not run backwards.

    ``say`` gets what the user should know of a source: a kind, and a sentence.
    """

    def __init__(
        self, sources: Iterable[str], rules: Rules, run: int, say: Say = _say_nothing
    ) -> None:
        self._rules = rules
        self._run = run
        self._say = say
        self._policy = policy_for(rules)
        self._roster = Roster({source: Track(source, self._policy, say) for source in sources})
        self._windows = OpenWindows(rules.window_ns)
        self._startup: Startup[Pixels] = Startup(rules, self._policy)
        self._closing = Closing(self._policy, self._roster.present, self._windows)
        self._first = 0
        self._announced = 0
        self._previous: int | None = None

    @property
    def rules(self) -> Rules:
        """How long a window is, and how long it is waited for."""
        return self._rules

    @property
    def announced(self) -> int:
        """How many pairs were announced."""
        return self._announced

    @property
    def finished(self) -> bool:
        """Whether every source is over for good."""
        return all(track.ended == "finished" for track in self._roster.awaited())

    @property
    def end_ns(self) -> int | None:
        """When the next window ends; None if that is not known, or not a matter of time."""
        return None if self._policy.lossless else self._windows.end_ns

    def due_ns(self, now_ns: int) -> int | None:
        """Return when the next window closes if nothing comes until then; None if that is not known."""
        return self._closing.due_ns(now_ns)

    def totals(self) -> dict[str, Totals]:
        """Return what became of each source's frames until now, also of those that were removed."""
        return {source: track.totals() for source, track in self._roster.tracks.items()}

    def add_sources(self, sources: Iterable[str]) -> None:
        """Add sources: each is in the pairs from the first window on that it covers from its start.

        One that was there before goes on with its account. Raises ValueError, and adds none, if one is there,
        or if there would have been more than MAX_SOURCES, as a header cannot name more.
        """
        sources = list(sources)
        names = self._roster.tracks.keys() | sources
        if len(names) > MAX_SOURCES:
            raise ValueError(
                f"there would have been {len(names)} sources, of which {MAX_SOURCES} is the most"
            )
        if there := [source for source in sources if not self._roster.is_free(source)]:
            raise ValueError(f"{', '.join(there)} cannot be added twice")
        for source in sources:
            if source in self._roster:
                self._roster[source].return_anew()
                track = self._roster[source]
            else:
                track = Track(source, self._policy, self._say)
            self._roster.add(source, track, self._windows.next)

    def remove_source(self, source: str, now_ns: int) -> int | None:
        """Remove a source; return the last window whose pair it is in, None if it is in none any more.

        That is the window of now, or a later one that frames of it were published for. Later frames are counted
        as removed until ``forget_source``.
        """
        following = self._windows.next
        if following is None:
            self._roster[source].drop(self._startup.forget(source), STARTUP)
            return self._roster.remove(source, -1)
        newest = self._windows.newest(source)
        return self._roster.remove(source, max(following, self._windows.index(now_ns), newest))

    def has_left(self, source: str) -> bool:
        """Return whether a source was removed, and the last window whose pair it is in has closed."""
        return self._roster.has_left(source)

    def has_ended(self, source: str) -> bool:
        """Return whether the last word of a source's producer has come."""
        return self._roster[source].ended is not None

    def forget_source(self, source: str) -> None:
        """Take note that nothing more comes of a source that has left; its account stays."""
        self._roster.forget(source)

    def frame(self, frame: ReceivedFrame[Pixels]) -> list[Accepted[Pixels]]:
        """Take a frame of a known source; return the frames that are now known to be in a pair."""
        track = self._roster[frame.header.source]
        # A recording may have gaps of any length.
        watermark_ns = 0 if track.is_recorded else track.watermark_ns
        furthest_ns = self._policy.furthest_ns(watermark_ns, frame.received_ns)
        if not track.frame(frame.header, frame.received_ns, furthest_ns):
            return []
        if self._windows.next is not None or self._roster.is_removed(frame.header.source):
            return self._place([frame])
        track.drop(self._startup.hold(frame), STARTUP)
        return self.release(frame.received_ns)

    def alive(self, alive: Alive, received_ns: int) -> None:
        """Take a producer's sign of life."""
        self._roster[alive.source].alive(alive, received_ns)

    def end(self, end: SourceEnd, received_ns: int) -> None:
        """Take a producer's last word."""
        self._roster[end.source].end(end, received_ns)

    def retell(self, word: RecordedClip, received_ns: int) -> None:
        """Take what a recording says of a window; one that is none of ours is of no use."""
        track, window_ns = self._roster[word.source], self._rules.window_ns
        furthest_ns = self._policy.furthest_ns(0, received_ns)
        fits = word.end_ns - word.start_ns == window_ns and word.start_ns % window_ns == 0
        if word.end_ns and not (fits and word.end_ns <= furthest_ns):
            track.reject()
        else:
            track.retell(word, received_ns)

    def reject(self, source: str) -> None:
        """Count a message on ``source``'s socket that is of no use; it may explain why a frame is missing."""
        self._roster[source].reject()

    def reject_rival(self, message: FromProducer) -> None:
        """Count a message of a second producer of a source; its frames are missing if it becomes the first."""
        self._roster[message.source].reject_rival(message)

    def overflow(self, source: str, count: int) -> None:
        """Count ``count`` of ``source``'s messages that had to be dropped unread."""
        self._roster[source].overflow(count)

    def release(self, now_ns: int) -> list[Accepted[Pixels]]:
        """Return the frames that waited for the first window, once it is known."""
        if self._windows.next is not None:
            return []
        present = self._roster.present.values()
        waiting = any(not (track.begun or track.ended or track.is_recorded) for track in present)
        first = self._startup.first_window(now_ns, waiting=waiting)
        if first is None:
            return []
        self._first = first
        self._windows.go_on_with(first)
        return self._place(self._startup.take())

    def closed(self, now_ns: int) -> Iterator[PairHeader]:
        """Close every window that is due; yields pairs in order."""
        while self._closing.is_due(now_ns):
            announced = self._announced_then()
            if announced is None:
                if self._closing.pass_over(now_ns):
                    self._roster.settle(self._windows.next)
                else:
                    yield self._close(now_ns)
            elif announced > (self._windows.next or 0):
                self._abandon_until(announced)
            else:
                yield self._close(now_ns)

    def _announced_then(self) -> int | None:
        """Return the next window that was announced when it was recorded; None if that is not known."""
        present = self._roster.present.values()
        if not all(track.is_recorded for track in present):
            return None
        words = [track.following for track in present if track.following]
        if not words:
            return None
        word = min(words, key=lambda word: word.start_ns)
        index, oldest = self._windows.index(word.start_ns), self._windows.oldest()
        if oldest is None or oldest >= index or word.previous_ns is None:
            return index
        # A window between that has frames, and whose header was not recorded.
        return oldest if oldest <= self._windows.index(word.previous_ns) else index

    def _abandon_until(self, index: int) -> None:
        """Go on with window ``index``: those before were not announced, though they may have frames."""
        for source, frames in self._windows.abandon_until(index):
            self._roster[source].drop(frames, COMBINER_LOST)
        self._roster.settle(self._windows.next)

    def stop(self, now_ns: int) -> list[Accepted[Pixels]]:
        """End all sources, as nothing more will come; return the frames that waited for the first window."""
        self._end_all()
        return self.release(now_ns)

    def flush(self, now_ns: int) -> Iterator[PairHeader]:
        """Close every window that holds frames, because nothing more will come.

        Frames that still wait for the first window are dropped: ``stop`` returns them.
        """
        self._end_all()
        for held in self._startup.take():
            self._roster[held.header.source].drop(1, STARTUP)
        while (oldest := self._windows.oldest()) is not None:
            if self._closing.pass_over_until(oldest):
                self._roster.settle(self._windows.next)
            else:
                yield self._close(now_ns)

    def _end_all(self) -> None:
        for track in self._roster.tracks.values():
            track.stop()

    def _place(self, frames: list[ReceivedFrame[Pixels]]) -> list[Accepted[Pixels]]:
        """Put frames into their windows; return those whose window is open."""
        accepted = []
        for frame in frames:
            if self._refuse(frame.header):
                continue
            index = self._windows.add(frame.header, frame.received_ns)
            if index is None:
                self._roster[frame.header.source].miss_window()
            else:
                window_ns = self._rules.window_ns
                header = frame.header.accepted(index, window_ns, frame.received_ns)
                accepted.append(Accepted(header, frame.pixels))
        return accepted

    def _refuse(self, header: FrameHeader) -> bool:
        """Drop a frame of before the first pair of its source, or of after its last; return whether it was."""
        index, following = self._windows.index(header.captured_ns), self._windows.next
        covers = self._policy.covers(header)
        reason = self._roster.refusal(header, index, following, covers=covers)
        if reason is None and index < self._first:
            reason = STARTUP
        if reason is not None:
            self._roster[header.source].drop(1, reason)
        return reason is not None

    def _close(self, now_ns: int) -> PairHeader:
        index, open_clips = self._windows.close()
        start_ns = index * self._rules.window_ns
        end_ns = start_ns + self._rules.window_ns
        self._closing.count(empty=not open_clips)
        present = dict(self._roster.present)
        partial = any(track.ends_within(start_ns, end_ns) for track in present.values())
        most = max_spans(len(present))
        clips = {
            source: track.announce(
                open_clips.get(source, OpenClip()), start_ns, end_ns, most, now_ns
            )
            for source, track in present.items()
        }
        self._roster.settle(self._windows.next)
        previous, self._previous = self._previous, index
        self._announced += 1
        return PairHeader(
            run=self._run,
            seq=self._announced - 1,
            window=index,
            start_ns=start_ns,
            end_ns=end_ns,
            closed_ns=now_ns,
            complete=all(clip.complete for clip in clips.values()),
            partial=partial,
            pace=self._rules.pace,
            clips=clips,
            previous=previous,
        )
