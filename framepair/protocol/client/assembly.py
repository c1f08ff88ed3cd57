"""From frames and announcements, in the order of their arrival, to whole pairs."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass

from msgspec.structs import replace

from framepair.protocol.client.clip import Pair
from framepair.protocol.client.frame_store import Arrivals, Claim, Filling
from framepair.protocol.client.losses import Losses, SubscriberStats
from framepair.protocol.memory.ring import Slot
from framepair.protocol.wire.frame import FrameHeader
from framepair.protocol.wire.header import ProtocolError
from framepair.protocol.wire.pair import MAX_SOURCES, PairHeader, StreamEnd

# Beside the pairs that wait: the one that the consumer has, the one that is about to be announced, and the
# one after it, whose first frames come before that announcement.
OTHER_WINDOWS = 3


@dataclass(slots=True)
class _Whole:
    """A whole pair that nobody has taken yet, and how many were lost right before it."""

    header: PairHeader
    claims: dict[str, Claim]
    lost: int
    ready_ns: int
    clock_uncertainty_ns: int | None

    def pair(self) -> Pair:
        clips = {
            source: claim.clip(source, self.header.clips[source])
            for source, claim in self.claims.items()
        }
        header = replace(
            self.header,
            complete=self.header.complete and not any(self.damaged.values()),
            clips={source: clip.header for source, clip in clips.items()},
        )
        return Pair(header, clips, self.lost, self.ready_ns, self.clock_uncertainty_ns)

    @property
    def damaged(self) -> dict[str, int]:
        return {source: claim.damaged for source, claim in self.claims.items()}

    @property
    def intact(self) -> bool:
        return all(claim.intact for claim in self.claims.values())

    def release(self) -> None:
        for claim in self.claims.values():
            claim.window.release()


class Assembly:
    """Keeps the newest ``keep`` whole pairs, in the slots that their frames were put into as they came.

    Frames of windows not announced yet, of waiting pairs, and of the pair that was taken last until its
    ``release``, are never overwritten. With pace ``max`` no pair is dropped: whoever feeds it must look at
    ``full``. Of each source at most ``max_bytes`` of frames wait for their announcement.
    """

    def __init__(self, keep: int, max_bytes: int) -> None:
        self._keep = keep
        self._max_bytes = max_bytes
        self._arrivals: dict[str, Arrivals] = {}
        self._known: set[str] = set()
        self._waiting: deque[_Whole] = deque()
        self._taken: _Whole | None = None
        self._losses = Losses()
        self._lost_since = 0
        self._lossless = False
        self._pairs = 0
        self._damaged: Counter[str] = Counter()
        self.rejected = 0
        self.end: StreamEnd | None = None

    def reserve(self, header: FrameHeader) -> Filling:
        """Return where the pixels of a frame go; raises ProtocolError if it can't be part of any pair."""
        index = self._window_of(header)
        return self._arrivals_of(header.source).reserve(header, index)

    def commit(self, header: FrameHeader, filling: Filling, ready_ns: int) -> None:
        """Say that the pixels of a frame are in their place since ``ready_ns``."""
        self._arrivals_of(header.source).commit(header, filling, ready_ns)

    def abandon(self, header: FrameHeader, filling: Filling) -> None:
        """Say that the pixels of a frame are of no use: its pair comes without it."""
        filling.window.damaged.add((header.run, header.seq))
        filling.window.written()

    def put(self, header: FrameHeader, slot: Slot, ready_ns: int) -> None:
        """Take a frame that is in shared memory; raises ProtocolError if it can't be part of any pair."""
        index = self._window_of(header)
        self._arrivals_of(header.source).put(header, index, slot, ready_ns)

    def announce(
        self, header: PairHeader, ready_ns: int, clock_uncertainty_ns: int | None = 0
    ) -> None:
        """Put the pair together if all of it is here; raises ProtocolError if the header makes no sense."""
        self._admit(header.clips)
        self._lost_since += self._losses.announced(header)
        self._lossless, self.end = header.pace == "max", None
        claims = self._claim(header)
        if claims is None:
            self._lost_since += self._losses.not_whole(header)
            return
        self._losses.whole()
        whole = _Whole(header, claims, self._lost_since, ready_ns, clock_uncertainty_ns)
        self._waiting.append(whole)
        self._lost_since = 0
        if self.queued > self._keep and not self._lossless:
            self._drop_oldest()

    def finish(self, end: StreamEnd) -> None:
        """Note that the combiner is gone: frames that it hasn't announced are in no pair."""
        self._admit(end.totals)
        self._lost_since += self._losses.ended(end)
        self.end = end
        for arrivals in self._arrivals.values():
            arrivals.forget()

    def clear(self) -> None:
        """Forget all frames and pairs; the counts stay."""
        self._arrivals.clear()
        self._waiting.clear()
        self._taken = None

    @property
    def queued(self) -> int:
        """How many whole pairs wait."""
        return len(self._waiting)

    @property
    def full(self) -> bool:
        """Whether nothing should come in until a pair is taken, because nothing may be dropped."""
        return self._lossless and self.queued >= self._keep

    def take(self) -> Pair | None:
        """Return the oldest whole pair, if there is one, and hold it until ``release``.

        Pairs that waited in shared memory until they were overwritten are lost.
        """
        while self._waiting and not self._waiting[0].intact:
            self._drop_oldest()
        if not self._waiting:
            return None
        self.release()
        self._taken = self._waiting.popleft()
        self._pairs += 1
        self._damaged.update(self._taken.damaged)
        return self._taken.pair()

    def release(self) -> None:
        """Let the pair that was taken last be overwritten."""
        if self._taken is not None:
            self._taken.release()
            self._taken = None

    def stats(self) -> SubscriberStats:
        """Return the counts as they are now."""
        waiting: Counter[str] = Counter()
        for pair in self._waiting:
            waiting.update({source: clip.frames for source, clip in pair.header.clips.items()})
        return SubscriberStats(
            pairs=self._pairs,
            queued=self.queued,
            lost_pairs=self._losses.pairs,
            lost_frames=dict(self._losses.frames),
            overflow_frames=dict(self._losses.overflow),
            missed_frames=dict(self._losses.missed),
            waiting_frames=dict(waiting),
            damaged_frames=dict(+self._damaged),
            rejected=self.rejected,
            totals=self._losses.totals,
            end=self.end,
        )

    def _window_of(self, header: FrameHeader) -> int:
        if header.window is None or header.window_ns is None:
            raise ProtocolError(f"frame {header.seq} of {header.source} is in no window")
        self._admit([header.source])
        return header.window

    def _admit(self, sources: Iterable[str]) -> None:
        known = self._known.union(sources)
        if len(known) > MAX_SOURCES:
            raise ProtocolError(f"more than {MAX_SOURCES} sources")
        self._known = known

    def _arrivals_of(self, source: str) -> Arrivals:
        if source not in self._arrivals:
            self._arrivals[source] = Arrivals(self._keep + OTHER_WINDOWS, self._max_bytes)
        return self._arrivals[source]

    def _claim(self, header: PairHeader) -> dict[str, Claim] | None:
        """Return the frames of every clip, or None if one of them isn't here."""
        self._forget_others(header)
        claims = {
            source: self._arrivals_of(source).claim(header.window, clip.spans)
            for source, clip in header.clips.items()
        }
        here = {source: claim for source, claim in claims.items() if claim is not None}
        if len(here) == len(claims):
            return here
        for claim in here.values():
            claim.window.release()
        return None

    def _forget_others(self, header: PairHeader) -> None:
        """Forget the frames of sources that are not in the pair, and their memory if no more came."""
        for source in self._arrivals.keys() - header.clips.keys():
            self._arrivals[source].forget(header.window + 1)
            if not self._arrivals[source]:
                del self._arrivals[source]

    def _drop_oldest(self) -> None:
        oldest = self._waiting.popleft()
        self._losses.dropped(oldest.header)
        if self._waiting:
            self._waiting[0].lost += oldest.lost + 1
        else:
            self._lost_since += oldest.lost + 1
        oldest.release()
