"""One pair made of the pairs of several pipelines for the same window."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np
from msgspec.structs import replace as replace_fields

from framepair.protocol.client.announced import AnnouncedClip
from framepair.protocol.client.clip import Clip, Pair
from framepair.protocol.client.losses import SubscriberStats
from framepair.protocol.client.pixels import FramePixels
from framepair.protocol.wire.pair import ClipHeader, Missing, PairHeader

Count = TypeVar("Count")


class Names:
    """What the sources of several pipelines are called: ``left``, or ``LABEL/left`` where that would clash.

    A name never changes once it is given. With ``always`` each has its pipeline's label in front. A source's
    own name has no slash.
    """

    def __init__(self, labels: Sequence[str], *, always: bool = False) -> None:
        self._labels = labels
        self._always = always
        self._names: dict[tuple[int, str], str] = {}

    def add(self, sources: Mapping[int, Collection[str]]) -> None:
        """Name the ``sources`` of pipelines that have no name yet."""
        new = [
            (number, source)
            for number, names in sources.items()
            for source in names
            if (number, source) not in self._names
        ]
        all_sources = [source for _, source in (*self._names, *new)]
        for number, source in new:
            clashes = self._always or all_sources.count(source) > 1
            self._names[number, source] = f"{self._labels[number]}/{source}" if clashes else source

    def __getitem__(self, source: tuple[int, str]) -> str:
        return self._names[source]

    def __contains__(self, source: tuple[int, str]) -> bool:
        return source in self._names


class PairJoiner:
    """Puts pairs together, and stands in for pipelines of which there is none for a window."""

    def __init__(self, pipelines: int, names: Names) -> None:
        self.names = names
        self._newest: list[Pair | None] = [None] * pipelines
        self._joined = 0
        self._former: int | None = None
        self._lost = self._late = 0

    def lose(self, late: Iterable[Pair]) -> None:
        """Count pairs that came too late."""
        for pair in late:
            self._lost += pair.lost + 1
            self._late += 1

    def stats(self, members: Sequence[SubscriberStats]) -> SubscriberStats:
        """Return the counts of all pipelines as one; the end is that of the last, once all have ended."""
        ends = [stats.end for stats in members]
        return SubscriberStats(
            pairs=self._joined,
            queued=max(stats.queued for stats in members),
            lost_pairs=self._late + sum(stats.lost_pairs for stats in members),
            delivered_frames=self._named([stats.delivered_frames for stats in members]),
            damaged_frames=self._named([stats.damaged_frames for stats in members]),
            lost_frames=self._named([stats.lost_frames for stats in members]),
            waiting_frames=self._named([stats.waiting_frames for stats in members]),
            rejected=sum(stats.rejected for stats in members),
            totals=self._named([stats.totals for stats in members]),
            end=None if None in ends else ends[-1],
            left_out_frames=self._named([stats.left_out_frames for stats in members]),
            skipped_frames=self._named([stats.skipped_frames for stats in members]),
        )

    def _named(self, counts: Sequence[Mapping[str, Count]]) -> dict[str, Count]:
        """Return what is counted of each pipeline's sources, of those that have a name."""
        return {
            self.names[number, source]: count
            for number, of_sources in enumerate(counts)
            for source, count in of_sources.items()
            if (number, source) in self.names
        }

    def join(self, parts: Mapping[int, Pair], ended: Collection[int]) -> Pair:
        """Return the pair of ``parts``, by pipeline, all of one window; those in ``ended`` have ended.

        Its clips are those of the parts, in the same memory. A pipeline without a part is missing as
        ``offline`` or ``ended``, and has its newest pair's sources; none before its first.
        """
        self.names.add({number: part.clips for number, part in parts.items()})
        clips: dict[str, Clip] = {}
        for number, newest in enumerate(self._newest):
            if number in parts:
                clips.update(self._clips(number, parts[number]))
                self._newest[number] = _emptied(parts[number])
            elif newest is not None:
                gone = _gone(newest, "ended" if number in ended else "offline")
                clips.update(self._clips(number, gone))
        pairs = list(parts.values())
        header = self._header(pairs, clips, complete=len(parts) == len(self._newest))
        lost = self._lost + sum(pair.lost for pair in pairs)
        gap = header.window - header.previous - 1 if header.previous is not None else 0
        self._former, self._lost = header.window, 0
        self._joined += 1
        ready_ns = max(pair.ready_ns for pair in pairs)
        return Pair(header, clips, lost, max(0, gap - lost), ready_ns, _uncertainty_ns(pairs))

    def _clips(self, number: int, pair: Pair) -> dict[str, Clip]:
        named = ((self.names[number, source], clip) for source, clip in pair.items())
        return {name: _renamed(clip, name) for name, clip in named}

    def _header(
        self, pairs: Sequence[Pair], clips: Mapping[str, Clip], *, complete: bool
    ) -> PairHeader:
        return replace_fields(
            pairs[0].header,
            run=0,
            seq=self._joined,
            closed_ns=max(pair.header.closed_ns for pair in pairs),
            complete=complete and all(pair.complete for pair in pairs),
            partial=any(pair.partial for pair in pairs),
            clips={name: clip.header for name, clip in clips.items()},
            previous=self._former,
        )


def _renamed(clip: Clip, name: str) -> Clip:
    if clip.source == name:
        return clip
    frames = tuple(replace_fields(frame, source=name) for frame in clip.frames)
    return replace(clip, source=name, frames=frames)


def _emptied(pair: Pair) -> Pair:
    """Return ``pair`` without frames, so that it keeps no memory."""
    return replace(pair, clips={source: _empty(clip) for source, clip in pair.items()})


def _empty(clip: Clip) -> Clip:
    header = ClipHeader(expected=clip.header.expected, totals=clip.header.totals)
    if isinstance(clip, AnnouncedClip):
        return replace(clip, header=header)
    shape = clip.frames[-1].shape if clip.frames else clip.array.shape[1:]
    return Clip(
        clip.source, header, (), 0, FramePixels(clip.source, np.empty((0, *shape), np.uint8))
    )


def _gone(pair: Pair, missing: Missing) -> Pair:
    clips = {
        source: replace(clip, header=replace_fields(clip.header, missing=missing))
        for source, clip in pair.items()
    }
    return replace(pair, clips=clips)


def _uncertainty_ns(pairs: Sequence[Pair]) -> int | None:
    known = [pair.clock_uncertainty_ns for pair in pairs]
    return None if None in known else max(each for each in known if each is not None)
