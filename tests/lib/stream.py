"""A combiner's messages for tests, without a combiner: frames, announcements and totals that add up."""

from __future__ import annotations

import contextlib
import zlib
from collections import Counter
from collections.abc import Sequence

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from framepair.protocol.client.assembly import Assembly
from framepair.protocol.client.frame_store import WindowTooLarge
from framepair.protocol.client.losses import SubscriberStats
from framepair.protocol.wire import reasons
from framepair.protocol.wire.frame import EndReason, FrameHeader, Pace
from framepair.protocol.wire.pair import ClipHeader, PairHeader, Span, StreamEnd, Totals, spans_of

WINDOW_NS = 1_000_000_000
SHAPE = (6, 8, 3)


def pixels(header: FrameHeader) -> NDArray[np.uint8]:
    """Return an image that no other frame has."""
    code = zlib.crc32(f"{header.source} {header.run} {header.seq}".encode())
    return np.random.default_rng(code).integers(0, 256, header.shape, np.uint8)


def feed(assembly: Assembly, *messages: FrameHeader | PairHeader | StreamEnd) -> None:
    """Add ``messages``: a frame 1 ns after its capture, an announcement 5 ns after the window's end."""
    for message in messages:
        if isinstance(message, FrameHeader):
            with contextlib.suppress(WindowTooLarge):
                place = assembly.reserve(message)
                place.image[:] = pixels(message)
                assembly.add_frame(message, place, ready_ns=message.captured_ns + 1)
        elif isinstance(message, PairHeader):
            assembly.add_pair(message, ready_ns=message.end_ns + 5)
        else:
            assembly.end_stream(message)


def lost_frames(stats: SubscriberStats) -> dict[str, int]:
    """Return the frames of pairs that were announced while the consumer was subscribed, and lost."""
    return {
        source: sum(lost.values()) - lost.get(reasons.NO_SUBSCRIBER, 0)
        for source, lost in stats.lost_frames.items()
        if lost.keys() - {reasons.NO_SUBSCRIBER}
    }


def missed_frames(stats: SubscriberStats) -> dict[str, int]:
    """Return the frames of pairs that were announced before the consumer had subscribed."""
    return {
        source: lost[reasons.NO_SUBSCRIBER]
        for source, lost in stats.lost_frames.items()
        if reasons.NO_SUBSCRIBER in lost
    }


class Stream:
    """One run of a combiner with a few sources, ``fps`` frames a window each."""

    def __init__(
        self,
        sources: Sequence[str] = ("left", "right"),
        *,
        run: int = 1,
        fps: int = 5,
        pace: Pace = "realtime",
        shape: tuple[int, int, int] = SHAPE,
    ) -> None:
        self.sources = sources
        self.run = run
        self.fps = fps
        self.pace = pace
        self.shape = shape
        self.pairs = 0
        self.newest: int | None = None
        self.totals = dict.fromkeys(sources, Totals())
        self._seqs: Counter[str] = Counter()
        self._open: dict[int, list[FrameHeader]] = {}

    def frame(self, source: str, window: int, **changes: object) -> FrameHeader:
        """Return the next frame of ``source``, in ``window``."""
        seq = self._seqs[source]
        self._seqs[source] += 1
        header = FrameHeader(
            source=source,
            run=7,
            seq=seq,
            captured_ns=window * WINDOW_NS + seq,
            next_ns=window * WINDOW_NS + seq + 1,
            sent_ns=0,
            shape=self.shape,
            encoding="mono8" if self.shape[2] == 1 else "bgr8",
            fps=self.fps,
            pace=self.pace,
        ).accepted(window, WINDOW_NS, window * WINDOW_NS)
        header = replace(header, **changes)
        self._open.setdefault(window, []).append(header)
        return header

    def window(self, window: int) -> list[FrameHeader]:
        """Return all frames of a window, source by source in turn."""
        return [self.frame(source, window) for _ in range(self.fps) for source in self.sources]

    def whole(self, window: int) -> list[FrameHeader | PairHeader]:
        """Return all frames of a window and its announcement."""
        return [*self.window(window), self.pair(window)]

    def pair(self, window: int) -> PairHeader:
        """Return the announcement of ``window``, with the frames of it that there were so far."""
        clips = {source: self._clip(source, window) for source in self.sources}
        self._open.pop(window, None)
        self.pairs += 1
        previous, self.newest = self.newest, window
        return PairHeader(
            run=self.run,
            seq=self.pairs - 1,
            window=window,
            start_ns=window * WINDOW_NS,
            end_ns=(window + 1) * WINDOW_NS,
            closed_ns=(window + 1) * WINDOW_NS,
            complete=True,
            partial=False,
            pace=self.pace,
            clips=clips,
            previous=previous,
        )

    def end(self, reason: EndReason = "finished") -> StreamEnd:
        """Return the last word of this run."""
        return StreamEnd(run=self.run, seq=self.pairs, reason=reason, totals=dict(self.totals))

    def _clip(self, source: str, window: int) -> ClipHeader:
        frames = [frame for frame in self._open.get(window, []) if frame.source == source]
        paired = self.totals[source].paired + len(frames)
        self.totals[source] = Totals(captured=paired, paired=paired)
        return ClipHeader(spans=spans(frames), expected=self.fps, totals=self.totals[source])


def spans(frames: Sequence[FrameHeader]) -> tuple[Span, ...]:
    """Return what names ``frames``, in this order."""
    return spans_of((frame.run, frame.seq) for frame in frames)
