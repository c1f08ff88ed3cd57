"""Which frames make a pair, and when it closes: pure logic, without sockets, threads or a clock.

Windows are tumbling windows of event time: [k * W, (k + 1) * W) of capture time. A window closes once the
watermark of every source that is there has passed its end or, in real time, ``max_wait_ns`` after its end.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from nodes.pairing.announcement import ClosedWindow
from nodes.pairing.closing import Closing
from nodes.pairing.open_windows import OpenClip, OpenWindows
from nodes.pairing.rules import Rules
from nodes.pairing.startup import Held, Startup
from nodes.pairing.track import Track
from protocol.frame import FrameHeader, SourceEnd
from protocol.pair import PairHeader, Totals, max_spans
from protocol.reasons import COMBINER_OVERFLOW, CORRUPT, FUTURE, STARTUP

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
            pair=index,
            start_ns=start_ns,
            end_ns=end_ns,
            closed_ns=now_ns,
            complete=all(whole for _, whole in clips.values()),
            partial=any(track.ends_within(start_ns, end_ns) for track in self._tracks.values()),
            pace=self._rules.pace,
            clips={source: clip for source, (clip, _) in clips.items()},
        )
