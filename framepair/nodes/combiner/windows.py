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
from framepair.nodes.combiner.startup import Startup
from framepair.nodes.combiner.track import Say, Track
from framepair.protocol.wire.frame import Alive, FrameHeader, SourceEnd
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
        self._policy = policy_for(rules)
        self._tracks = {source: Track(source, self._policy, say) for source in sources}
        self._windows = OpenWindows(rules.window_ns)
        self._startup: Startup[Pixels] = Startup(rules, self._policy)
        self._closing = Closing(self._policy, self._tracks, self._windows)
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
        return all(track.ended == "finished" for track in self._tracks.values())

    @property
    def end_ns(self) -> int | None:
        """When the next window ends; None if that is not known, or not a matter of time."""
        return None if self._policy.lossless else self._windows.end_ns

    def due_ns(self, now_ns: int) -> int | None:
        """Return when the next window closes if nothing comes until then; None if that is not known."""
        return self._closing.due_ns(now_ns)

    def totals(self) -> dict[str, Totals]:
        """Return what became of each source's frames until now."""
        return {source: track.totals() for source, track in self._tracks.items()}

    def frame(self, frame: ReceivedFrame[Pixels]) -> list[Accepted[Pixels]]:
        """Take a frame of a known source; return the frames that are now known to be in a pair."""
        track = self._tracks[frame.header.source]
        # A recording may have gaps of any length.
        watermark_ns = 0 if track.is_recorded else track.watermark_ns
        furthest_ns = self._policy.furthest_ns(watermark_ns, frame.received_ns)
        if not track.frame(frame.header, frame.received_ns, furthest_ns):
            return []
        if self._windows.next is not None:
            return self._place([frame])
        track.drop(self._startup.hold(frame), STARTUP)
        return self.release(frame.received_ns)

    def alive(self, alive: Alive, received_ns: int) -> None:
        """Take a producer's sign of life."""
        self._tracks[alive.source].alive(alive, received_ns)

    def end(self, end: SourceEnd, received_ns: int) -> None:
        """Take a producer's last word."""
        self._tracks[end.source].end(end, received_ns)

    def retell(self, word: RecordedClip, received_ns: int) -> None:
        """Take what a recording says of a window; one that is none of ours is of no use."""
        track, window_ns = self._tracks[word.source], self._rules.window_ns
        furthest_ns = self._policy.furthest_ns(0, received_ns)
        fits = word.end_ns - word.start_ns == window_ns and word.start_ns % window_ns == 0
        if word.end_ns and not (fits and word.end_ns <= furthest_ns):
            track.reject()
        else:
            track.retell(word, received_ns)

    def reject(self, source: str) -> None:
        """Count a message on ``source``'s socket that is of no use; it may explain why a frame is missing."""
        self._tracks[source].reject()

    def reject_rival(self, message: FromProducer) -> None:
        """Count a message of a second producer of a source; its frames are missing if it becomes the first."""
        self._tracks[message.source].reject_rival(message)

    def overflow(self, source: str, count: int) -> None:
        """Count ``count`` of ``source``'s messages that had to be dropped unread."""
        self._tracks[source].overflow(count)

    def release(self, now_ns: int) -> list[Accepted[Pixels]]:
        """Return the frames that waited for the first window, once it is known."""
        if self._windows.next is not None:
            return []
        waiting = any(
            not (track.begun or track.ended or track.is_recorded) for track in self._tracks.values()
        )
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
                if not self._closing.pass_over(now_ns):
                    yield self._close(now_ns)
            elif announced > (self._windows.next or 0):
                self._abandon_until(announced)
            else:
                yield self._close(now_ns)

    def _announced_then(self) -> int | None:
        """Return the next window that was announced when it was recorded; None if that is not known."""
        if not all(track.is_recorded for track in self._tracks.values()):
            return None
        words = [track.following for track in self._tracks.values() if track.following]
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
            self._tracks[source].drop(frames, COMBINER_LOST)

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
            self._tracks[held.header.source].drop(1, STARTUP)
        while (oldest := self._windows.oldest()) is not None:
            if not self._closing.pass_over_until(oldest):
                yield self._close(now_ns)

    def _end_all(self) -> None:
        for track in self._tracks.values():
            track.stop()

    def _place(self, frames: list[ReceivedFrame[Pixels]]) -> list[Accepted[Pixels]]:
        """Put frames into their windows; return those whose window is open."""
        accepted = []
        for frame in frames:
            index = self._windows.add(frame.header, frame.received_ns)
            if index is None:
                self._refuse(frame.header)
            else:
                window_ns = self._rules.window_ns
                header = frame.header.accepted(index, window_ns, frame.received_ns)
                accepted.append(Accepted(header, frame.pixels))
        return accepted

    def _refuse(self, header: FrameHeader) -> None:
        track = self._tracks[header.source]
        if self._windows.index(header.captured_ns) < self._first:
            track.drop(1, STARTUP)
        else:
            track.miss_window()

    def _close(self, now_ns: int) -> PairHeader:
        index, open_clips = self._windows.close()
        start_ns = index * self._rules.window_ns
        end_ns = start_ns + self._rules.window_ns
        self._closing.count(empty=not open_clips)
        partial = any(track.ends_within(start_ns, end_ns) for track in self._tracks.values())
        most = max_spans(len(self._tracks))
        clips = {
            source: track.announce(
                open_clips.get(source, OpenClip()), start_ns, end_ns, most, now_ns
            )
            for source, track in self._tracks.items()
        }
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
