"""Which frames make a pair, and when it closes: pure logic, without sockets, threads or a clock.

Windows are tumbling windows of event time: [k * W, (k + 1) * W) of capture time. A window closes once the
watermark of every source that is there has passed its end or, in real time, ``max_wait_ns`` after its end.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from framepair.nodes.combiner.open_windows import OpenClip, OpenWindows
from framepair.nodes.combiner.startup import Held, Startup
from framepair.nodes.combiner.track import Rules, Track
from framepair.protocol.wire.frame import FrameHeader, SourceEnd
from framepair.protocol.wire.pair import ClipHeader, PairHeader, Totals, max_spans
from framepair.protocol.wire.reasons import COMBINER_OVERFLOW, CORRUPT, FRAGMENTED, FUTURE, STARTUP


@dataclass(frozen=True, slots=True)
class ClosedWindow:
    """A window [start_ns, end_ns) as it is announced; a clip may be announced in ``max_spans`` pieces."""

    start_ns: int
    end_ns: int
    max_spans: int

    def clip(self, track: Track, clip: OpenClip, *, idle: bool) -> tuple[ClipHeader, bool]:
        """Return the clip of ``track``, and whether all that was captured is in it. Counts its frames."""
        spans = clip.spans()
        kept = spans[: self.max_spans]
        left_out = sum(span.count for span in spans[self.max_spans :])
        # Their stamps are in disorder, or nearly all of the others were lost.
        track.refuse(left_out, FRAGMENTED)
        missing = track.why_missing(self.start_ns, self.end_ns, idle=idle)
        lost, may_lack = track.continuity.lost_in(self.start_ns, self.end_ns)
        late, dropped = track.announce(len(clip.stamps) - left_out, self.end_ns)
        header = ClipHeader(
            spans=kept,
            received_ns=clip.received_ns,
            expected=track.expected(self.start_ns, self.end_ns),
            gaps=lost,
            late=late,
            dropped=dropped,
            missing=missing,
            totals=track.totals(),
        )
        return header, missing is None and not may_lack and not left_out


# After so many windows in which nobody captured anything, further ones are passed over, not announced: in
# real time if they all were over before anybody looked at the clock, with pace max in any case.
MAX_EMPTY = 10


class Closing:
    """Decides for the window that closes next, from how far each source has come and the clock."""

    def __init__(self, rules: Rules, tracks: Mapping[str, Track], windows: OpenWindows) -> None:
        self._rules = rules
        self._tracks = tracks
        self._windows = windows
        self._empty = 0

    def is_due(self, now_ns: int) -> bool:
        """Return whether it closes now."""
        if self._windows.next is None:
            return False
        end_ns = (self._windows.next + 1) * self._rules.window_ns
        waited_for = [t for t in self._tracks.values() if self._is_waited_for(t, now_ns)]
        if waited_for and all(track.watermark_ns >= end_ns for track in waited_for):
            return True
        if self._rules.pace == "max":
            return not waited_for and len(self._windows) > 0
        return now_ns >= end_ns + self._rules.max_wait_ns

    def end_ns(self) -> int | None:
        """Return when the next window ends; None if that is not a matter of time."""
        if self._windows.next is None or self._rules.pace == "max":
            return None
        return (self._windows.next + 1) * self._rules.window_ns

    def is_idle(self, track: Track, now_ns: int) -> bool:
        """Return whether a source has been silent for so long that nobody waits for it."""
        if self._rules.pace == "max":
            return False
        return track.is_idle(now_ns, self._rules.idle_timeout_ns)

    def count(self, *, empty: bool) -> None:
        """Take note of a window that was closed."""
        self._empty = self._empty + 1 if empty else 0

    def pass_over(self, now_ns: int) -> bool:
        """Pass over empty windows, if they are too many; return False if none was passed over."""
        if self._rules.pace == "realtime":
            return self.pass_over_until(self._windows.index(now_ns - self._rules.max_wait_ns) - 1)
        watermarks = [track.watermark_ns for track in self._tracks.values() if not track.ended]
        if watermarks:
            return self.pass_over_until(self._windows.index(min(watermarks)))
        return self.pass_over_until(self._windows.oldest() or 0)

    def pass_over_until(self, last: int) -> bool:
        """Go on with the first window that holds a frame, or with ``last`` if that comes before."""
        following, oldest = self._windows.next or 0, self._windows.oldest()
        target = last if oldest is None else min(oldest, last)
        empty = self._empty if self._rules.pace == "max" else target - following - 1
        if target <= following or empty < MAX_EMPTY:
            return False
        self._windows.next = target
        return True

    def _is_waited_for(self, track: Track, now_ns: int) -> bool:
        if track.ended:
            return False
        if self._rules.pace == "max":
            return True
        return track.newest is not None and not self.is_idle(track, now_ns)


__all__ = ["Accepted", "Rules", "Windows"]

Pixels = TypeVar("Pixels")


@dataclass(frozen=True, slots=True)
class Accepted(Generic[Pixels]):
    """A frame that is in a pair; its header says in which."""

    header: FrameHeader
    pixels: Pixels


class Windows(Generic[Pixels]):
    """The windows of one pipeline. ``now_ns`` is the combiner's UTC in every call."""

    def __init__(self, sources: Iterable[str], rules: Rules, run: int) -> None:
        self._rules = rules
        self._run = run
        self._tracks = {source: Track() for source in sources}
        self._windows = OpenWindows(rules.window_ns)
        self._startup: Startup[Pixels] = Startup(
            rules.window_ns, rules.start_timeout_ns, rules.pace
        )
        self._closing = Closing(rules, self._tracks, self._windows)
        self._first = 0
        self.announced = 0

    @property
    def rules(self) -> Rules:
        """How long a window is, and how long it is waited for."""
        return self._rules

    @property
    def finished(self) -> bool:
        """Whether every source is over for good."""
        return all(track.ended == "finished" for track in self._tracks.values())

    def totals(self) -> dict[str, Totals]:
        """Return what became of each source's frames until now."""
        return {source: track.totals() for source, track in self._tracks.items()}

    def frame(
        self, header: FrameHeader, pixels: Pixels, received_ns: int, now_ns: int
    ) -> list[Accepted[Pixels]]:
        """Take a frame of a known source; return the frames that are now known to be in a pair."""
        track = self._tracks[header.source]
        if not self._note(track, header, now_ns):
            return []
        held = Held(header, pixels, received_ns)
        if self._windows.next is not None:
            return self._place([held])
        track.refuse(self._startup.hold(held, now_ns), STARTUP)
        return self.release(now_ns)

    def end(self, end: SourceEnd) -> None:
        """Take a producer's last word."""
        track = self._tracks[end.source]
        arrival = track.continuity.end(end)
        if arrival.new:
            track.end(end, arrival)
        else:
            track.rejected += 1

    def reject(self, source: str, *, explains: bool = True) -> None:
        """Count a message on ``source``'s socket that is of no use; it may explain why a frame is missing."""
        self._tracks[source].rejected += 1
        if explains:
            self._tracks[source].continuity.explain(CORRUPT)

    def overflow(self, source: str, count: int) -> None:
        """Say that ``count`` of ``source``'s messages had to be dropped unread."""
        self._tracks[source].continuity.explain(COMBINER_OVERFLOW, count)

    def release(self, now_ns: int) -> list[Accepted[Pixels]]:
        """Return the frames that waited for the first window, once it is known."""
        if self._windows.next is not None:
            return []
        waiting = any(track.newest is None and not track.ended for track in self._tracks.values())
        first = self._startup.first_window(now_ns, waiting=waiting)
        if first is None:
            return []
        self._first = self._windows.next = first
        return self._place(self._startup.take())

    def closed(self, now_ns: int) -> Iterator[PairHeader]:
        """Close every window that is due; yields pairs in order."""
        while self._closing.is_due(now_ns):
            if not self._closing.pass_over(now_ns):
                yield self._close(now_ns)

    def end_ns(self) -> int | None:
        """Return when the next window ends, if that is a matter of time."""
        return self._closing.end_ns()

    def stop(self, now_ns: int) -> list[Accepted[Pixels]]:
        """Say that nothing more will come; return the frames that waited for the first window."""
        self._end_all()
        return self.release(now_ns)

    def flush(self, now_ns: int) -> Iterator[PairHeader]:
        """Close every window that holds frames, because nothing more will come.

        Frames that still wait for the first window are dropped: ``stop`` returns them.
        """
        self._end_all()
        for held in self._startup.take():
            self._tracks[held.header.source].refuse(1, STARTUP)
        while (oldest := self._windows.oldest()) is not None:
            if not self._closing.pass_over_until(oldest):
                yield self._close(now_ns)

    def _end_all(self) -> None:
        for track in self._tracks.values():
            track.ended = track.ended or "stopped"

    def _note(self, track: Track, header: FrameHeader, now_ns: int) -> bool:
        """Note what a frame says of its source; return whether the frame can be used."""
        if header.captured_ns > self._rules.furthest_ns(track.watermark_ns, now_ns):
            track.rejected += not track.continuity.refuse(header, FUTURE).new
            return False
        arrival = track.continuity.frame(header)
        if not arrival.new:
            track.rejected += 1
            return False
        track.note_outage(header, arrival, idle=self._closing.is_idle(track, now_ns))
        track.advance(header, arrival, self._rules.promise_ns(header, now_ns))
        track.arrived_ns = now_ns
        track.open += 1
        return True

    def _place(self, frames: list[Held[Pixels]]) -> list[Accepted[Pixels]]:
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
            track.refuse(1, STARTUP)
        else:
            track.open -= 1
            track.late += 1

    def _close(self, now_ns: int) -> PairHeader:
        index = self._windows.next or 0
        start_ns = index * self._rules.window_ns
        end_ns = start_ns + self._rules.window_ns
        closed = ClosedWindow(start_ns, end_ns, max_spans(len(self._tracks)))
        open_clips = self._windows.close(index)
        self._closing.count(empty=not open_clips)
        clips = {
            source: closed.clip(
                track, open_clips.get(source, OpenClip()), idle=self._closing.is_idle(track, now_ns)
            )
            for source, track in self._tracks.items()
        }
        self.announced += 1
        return PairHeader(
            run=self._run,
            seq=self.announced - 1,
            window=index,
            start_ns=start_ns,
            end_ns=end_ns,
            closed_ns=now_ns,
            complete=all(whole for _, whole in clips.values()),
            partial=any(track.ends_within(start_ns, end_ns) for track in self._tracks.values()),
            pace=self._rules.pace,
            clips={source: clip for source, (clip, _) in clips.items()},
        )
