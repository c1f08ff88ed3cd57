"""From frames and announcements, in the order of their arrival, to whole pairs."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping

from msgspec.structs import replace as replace_fields

from framepair.protocol.client import pace
from framepair.protocol.client.announced import announced_clip
from framepair.protocol.client.clip import Clip, Pair
from framepair.protocol.client.encoded import EncodedFrame
from framepair.protocol.client.frame_store import FrameStore, Reservation, Window
from framepair.protocol.client.loans import HeldPair, Lent, Loans
from framepair.protocol.client.losses import LossCounter, SubscriberStats
from framepair.protocol.client.newest import Newest
from framepair.protocol.client.pixels import Lease, Overwritten
from framepair.protocol.client.selection import EVERYTHING, Selection
from framepair.protocol.memory.ring import Slot
from framepair.protocol.wire.frame import FrameHeader
from framepair.protocol.wire.header import ProtocolError
from framepair.protocol.wire.limits import MAX_SOURCES
from framepair.protocol.wire.pair import ClipHeader, PairHeader, StreamEnd

# Beside the pairs that wait: the one that the consumer has, the one that is about to be announced, and the
# one after it, whose first frames come before that announcement.
OTHER_WINDOWS = 3


class Assembly:
    """Keeps the newest ``keep`` whole pairs, in the slots that their frames were put into as they came.

    Frames of windows not announced yet, of waiting pairs, and of those that were taken until ``loans`` end (by
    default of the last one), are never overwritten; ``selection`` says which are kept. With pace ``max`` no
    pair is dropped: its user must look at ``full``. Of each source at most ``max_bytes`` of frames wait for
    their announcement.
    """

    def __init__(
        self,
        keep: int,
        max_bytes: int,
        loans: Loans | None = None,
        selection: Selection = EVERYTHING,
    ) -> None:
        self._keep = keep
        self._max_bytes = max_bytes
        self._loans = loans or Lent()
        self._selection = selection
        self.newest = Newest()
        """The frames that have just come, whether their pair has or not."""
        self._began = False
        self._stores: dict[str, FrameStore] = {}
        self._known: set[str] = set()
        self._waiting: deque[HeldPair] = deque()
        self._losses = LossCounter()
        self._pace = pace.REAL_TIME
        self._pairs = 0
        self._delivered: Counter[str] = Counter()
        self._damaged: Counter[str] = Counter()
        self._left_out: Counter[str] = Counter()
        self._rejected = 0
        self._end: StreamEnd | None = None

    def reserve(self, header: FrameHeader) -> Reservation:
        """Return where the pixels of a frame go; ``add_frame`` or its ``drop_frame`` must follow.

        Raises ProtocolError if it can't be part of any pair, WindowTooLarge if there will be no such pair.
        """
        index = self._window_of(header)
        return self._store(header.source).reserve(header, index)

    def add_frame(self, header: FrameHeader, reservation: Reservation, ready_ns: int) -> None:
        """Add a frame whose pixels are in their place since ``ready_ns``."""
        frame = self._store(header.source).add_frame(header, reservation, ready_ns)
        self.newest.add(frame, reservation.window)

    def add_placed_frame(
        self, header: FrameHeader, place: Slot | EncodedFrame, ready_ns: int
    ) -> None:
        """Add a frame that is in shared memory, or stays compressed; raises as ``reserve`` does."""
        index = self._window_of(header)
        self.newest.add(
            *self._store(header.source).add_placed_frame(header, index, place, ready_ns)
        )

    def add_unseen_frame(self, header: FrameHeader) -> None:
        """Note a frame in shared memory that can't be seen here: its pair is lost; raises as ``reserve``."""
        index = self._window_of(header)
        self._store(header.source).add_unseen_frame(header, index)

    def add_pair(
        self, header: PairHeader, ready_ns: int, clock_uncertainty_ns: int | None = 0
    ) -> None:
        """Put the announced pair together if all of it is here; raises ProtocolError if it makes no sense.

        Raises UnknownSource if it is the first, and lacks a source that was asked for.
        """
        header = self._chosen(header)
        self._admit(header.clips)
        self._losses.count_pair(header)
        self._pace, self._end = pace.named(header.pace), None
        self._loans.collect()
        self.newest.collect()
        windows, lease = self._take_windows(header), Lease()
        kept = {source: self._selection.of_clip(clip) for source, clip in header.clips.items()}
        clips = {
            source: window.clip(source, kept[source], lease) for source, window in windows.items()
        }
        if not self._selection.has_pixels:
            clips = {source: announced_clip(source, clip) for source, clip in kept.items()}
        whole = {source: clip for source, clip in clips.items() if clip is not None}
        if len(whole) < len(clips):
            refused = (window.refused for window in windows.values() if window.refused)
            self._losses.count_incomplete(header, next(refused, None))
            for window in windows.values():
                window.release()
            return
        lost, skipped = self._losses.take_gap()
        here = _as_here(header, kept, whole)
        pair = Pair(here, whole, lost, skipped, ready_ns, clock_uncertainty_ns)
        self._waiting.append(HeldPair(header, kept, pair, windows, lease))
        if self.queued > self._keep and not self._pace.lossless:
            # One waits beside it: the one that was added now.
            (self._drop_oldest if self._pairs else self._shed_oldest)()

    def end_stream(self, end: StreamEnd) -> None:
        """Take the combiner's last word: frames that it hasn't announced are in no pair."""
        end = self._selection.of_end(end)
        self._admit(end.totals)
        self._losses.count_end(end)
        self._end = end
        for store in self._stores.values():
            store.forget()

    def count_rejected(self) -> None:
        """Count a malformed message."""
        self._rejected += 1

    def clear(self) -> None:
        """Forget all frames and pairs; the counts stay."""
        self._stores.clear()
        self._waiting.clear()
        self._loans.forget()
        self.newest.clear()

    @property
    def end(self) -> StreamEnd | None:
        """The combiner's last word, unless it has announced pairs since."""
        return self._end

    @property
    def queued(self) -> int:
        """How many whole pairs wait."""
        return len(self._waiting)

    @property
    def head(self) -> Pair | None:
        """The oldest whole pair, if one waits."""
        return self._waiting[0].pair if self._waiting else None

    @property
    def full(self) -> bool:
        """Whether nothing should come in until a pair is taken, because nothing may be dropped."""
        return self._pace.lossless and self.queued >= self._keep

    @property
    def held_back(self) -> str | None:
        """Why the oldest whole pair can't be taken for now, in a sentence; None: it can, or there is none."""
        return self._loans.refusal(self._waiting[0]) if self._waiting else None

    def take(self) -> Pair | None:
        """Return the oldest whole pair, if there is one that can be taken; its loan begins.

        Pairs that waited in shared memory until they were overwritten are lost.
        """
        self._loans.collect()
        while self._waiting and not self.held_back:
            held = self._waiting[0]
            try:
                if held.pair.intact:
                    pair = self._loans.hand_over(held, behind=self.queued > 1)
                    self._count_taken(self._waiting.popleft())
                    return pair
            except Overwritten:
                pass
            self._drop_oldest()
        return None

    def _count_taken(self, taken: HeldPair) -> None:
        self._pairs += 1
        self._damaged.update(taken.damaged)
        self._left_out.update(taken.left_out)
        self._delivered.update({source: len(clip) for source, clip in taken.pair.items()})

    def stats(self) -> SubscriberStats:
        """Return the counts as they are now."""
        waiting: Counter[str] = Counter()
        for held in self._waiting:
            waiting.update({source: clip.frames for source, clip in held.announced.clips.items()})
        return SubscriberStats(
            pairs=self._pairs,
            queued=self.queued,
            lost_pairs=self._losses.pairs,
            delivered_frames=dict(self._delivered),
            damaged_frames=dict(+self._damaged),
            lost_frames={source: dict(lost) for source, lost in self._losses.frames.items()},
            waiting_frames=dict(waiting),
            rejected=self._rejected,
            totals=self._losses.totals,
            end=self._end,
            left_out_frames=dict(+self._left_out),
            skipped_frames=dict(self.newest.skipped),
        )

    def _chosen(self, header: PairHeader) -> PairHeader:
        """Return what the subscription asked for of an announced pair."""
        if not self._began:
            self._selection.check(header)
        self._began = True
        return self._selection.of_pair(header)

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

    def _store(self, source: str) -> FrameStore:
        if source not in self._stores:
            self._stores[source] = FrameStore(self._keep + OTHER_WINDOWS, self._max_bytes)
        return self._stores[source]

    def _take_windows(self, header: PairHeader) -> dict[str, Window]:
        """Return the window of each clip. Others are forgotten, unless frames of later windows came."""
        for source in self._stores.keys() - header.clips.keys():
            self._stores[source].forget(header.window + 1)
            if not self._stores[source]:
                del self._stores[source]
                self.newest.remove(source)
        return {source: self._store(source).take_window(header.window) for source in header.clips}

    def _drop_oldest(self) -> None:
        """Count the oldest waiting pair as lost."""
        oldest = self._waiting.popleft()
        self._losses.count_dropped(oldest.announced)
        self._pass_on(oldest.pair.lost + 1, oldest.pair.skipped)
        oldest.release()

    def _shed_oldest(self) -> None:
        """Drop the oldest waiting pair before any was taken: what is missing up to the next one is no loss."""
        oldest = self._waiting.popleft()
        lost = oldest.pair.lost + self._waiting[0].remove_gap()
        self._losses.count_shed(oldest.announced, lost)
        oldest.release()

    def _pass_on(self, lost: int, skipped: int) -> None:
        """Count what is missing before a pair that was dropped as missing before the next one."""
        if self._waiting:
            self._waiting[0].add_gap(lost, skipped)
        else:
            self._losses.return_gap(lost, skipped)


def _as_here(
    header: PairHeader, kept: Mapping[str, ClipHeader], clips: Mapping[str, Clip]
) -> PairHeader:
    """Return the header of a pair with what was ``kept`` of it, without the frames that were damaged."""
    here = {source: clip.header for source, clip in clips.items()}
    damaged = any(here[source] is not clip for source, clip in kept.items())
    return replace_fields(header, complete=header.complete and not damaged, clips=here)
