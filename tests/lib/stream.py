"""A combiner's messages for tests, without a combiner: frames, announcements and totals that add up."""

from __future__ import annotations

import contextlib
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from framepair.nodes.combiner.open_windows import OpenClip
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
    """One run of a combiner with a few sources, ``fps`` frames a window each, ``period_ns`` apart.

    ``first`` is the window that ``next`` begins with.
    """

    def __init__(
        self,
        sources: Sequence[str] = ("left", "right"),
        *,
        run: int = 1,
        fps: int = 5,
        pace: Pace = "realtime",
        shape: tuple[int, int, int] = SHAPE,
        period_ns: int = 1,
        first: int = 0,
    ) -> None:
        self.sources = sources
        self.run = run
        self.fps = fps
        self.pace = pace
        self.shape = shape
        self.period_ns = period_ns
        self.pairs = 0
        self._next = first
        self.newest: int | None = None
        self.totals = dict.fromkeys(sources, Totals())
        self._seqs: Counter[str] = Counter()
        self._open: dict[int, list[FrameHeader]] = {}

    def frame(self, source: str, window: int, **changes: object) -> FrameHeader:
        """Return the next frame of ``source``, in ``window``."""
        seq = self._seqs[source]
        self._seqs[source] += 1
        captured_ns = window * WINDOW_NS + len(self._clip_frames(source, window)) * self.period_ns
        header = FrameHeader(
            source=source,
            run=7,
            seq=seq,
            captured_ns=captured_ns,
            next_ns=captured_ns + self.period_ns,
            sent_ns=0,
            shape=self.shape,
            encoding="mono8" if self.shape[2] == 1 else "bgr8",
            fps=self.fps,
            pace=self.pace,
        ).accepted(window, WINDOW_NS, window * WINDOW_NS)
        header = replace(header, **changes)
        self._open.setdefault(window, []).append(header)
        return header

    def window(self, window: int, counts: Mapping[str, int] | None = None) -> list[FrameHeader]:
        """Return all frames of a window, source by source in turn, or as many of each as ``counts`` says."""
        counts = dict.fromkeys(self.sources, self.fps) | dict(counts or {})
        return [
            self.frame(source, window)
            for place in range(self.fps)
            for source, count in counts.items()
            if place < count
        ]

    def whole(self, window: int) -> list[FrameHeader | PairHeader]:
        """Return all frames of a window and its announcement."""
        return [*self.window(window), self.pair(window)]

    def next(
        self, counts: Mapping[str, int] | None = None, **changes: Any
    ) -> list[FrameHeader | PairHeader]:
        """Return all frames of the next window and its announcement; see ``window`` and ``pair``."""
        window, self._next = self._next, self._next + 1
        return [*self.window(window, counts), self.pair(window, **changes)]

    def pair(
        self,
        window: int,
        clips: Mapping[str, Mapping[str, Any]] | None = None,
        **changes: Any,
    ) -> PairHeader:
        """Return the announcement of ``window``, with the frames of it that there were so far.

        ``clips`` and ``changes`` are changes to the headers of sources' clips and of the pair.
        """
        clip_headers = {
            source: replace(self._clip(source, window), **(clips or {}).get(source, {}))
            for source in self.sources
        }
        self._open.pop(window, None)
        self.pairs += 1
        previous, self.newest = self.newest, window
        header = PairHeader(
            run=self.run,
            seq=self.pairs - 1,
            window=window,
            start_ns=window * WINDOW_NS,
            end_ns=(window + 1) * WINDOW_NS,
            closed_ns=(window + 1) * WINDOW_NS,
            complete=True,
            partial=False,
            pace=self.pace,
            clips=clip_headers,
            previous=previous,
        )
        return replace(header, **changes)

    def restart(self) -> None:
        """Go on as a combiner that was killed and started anew, with the same producers."""
        self.run += 1
        self.pairs, self.newest = 0, None
        self.totals = dict.fromkeys(self.sources, Totals())

    def lose(self, count: int) -> None:
        """Let each source have captured ``count`` frames more, all of them before the first pair."""
        for source, totals in self.totals.items():
            self.totals[source] = replace(
                totals, captured=totals.captured + count, dropped={reasons.STARTUP: count}
            )

    def end(self, reason: EndReason = "finished") -> StreamEnd:
        """Return the last word of this run."""
        return StreamEnd(run=self.run, seq=self.pairs, reason=reason, totals=dict(self.totals))

    def _clip(self, source: str, window: int) -> ClipHeader:
        frames = self._clip_frames(source, window)
        before = self.totals[source]
        self.totals[source] = replace(
            before, captured=before.captured + len(frames), paired=before.paired + len(frames)
        )
        clip = ClipHeader(spans=spans(frames), expected=self.fps, totals=self.totals[source])
        return OpenClip(newest=frames[-1]).described(clip) if frames else clip

    def _clip_frames(self, source: str, window: int) -> list[FrameHeader]:
        return [frame for frame in self._open.get(window, []) if frame.source == source]


def spans(frames: Sequence[FrameHeader]) -> tuple[Span, ...]:
    """Return what names ``frames``, in this order."""
    return spans_of((frame.run, frame.seq) for frame in frames)
