"""What becomes of a pair's memory once the program has it: it is lent until the next pair, or kept for long."""

from __future__ import annotations

import weakref
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from framepair.protocol.client.clip import Clip, Pair
from framepair.protocol.client.frame_store import Window
from framepair.protocol.client.pixels import Lease
from framepair.protocol.wire.pair import ClipHeader, PairHeader

# A program that has taken so many pairs in a row before the next one came is quick.
QUICK_PAIRS = 4


@dataclass(slots=True)
class HeldPair:
    """A whole pair, as it was announced, what was ``kept`` of that, and as it is here; its frames' memory."""

    announced: PairHeader
    kept: Mapping[str, ClipHeader]
    pair: Pair
    windows: Mapping[str, Window]
    lease: Lease

    @property
    def damaged(self) -> dict[str, int]:
        """How many frames of each source came and are of no use."""
        return {source: self.kept[source].frames - len(clip) for source, clip in self.pair.items()}

    @property
    def left_out(self) -> dict[str, int]:
        """How many frames of each source were not asked for."""
        announced = self.announced.clips
        return {
            source: announced[source].frames - clip.frames for source, clip in self.kept.items()
        }

    def add_gap(self, lost: int, skipped: int) -> None:
        """Count pairs and windows that are missing before this one."""
        pair = self.pair
        self.pair = replace(pair, lost=pair.lost + lost, skipped=pair.skipped + skipped)

    def remove_gap(self) -> int:
        """Count nothing as missing before this pair; return how many pairs were."""
        lost = self.pair.lost
        self.pair = replace(self.pair, lost=0, skipped=0)
        return lost

    def release(self) -> None:
        """Let the frames be overwritten."""
        self.lease.end()
        for window in self.windows.values():
            window.release()


class Loans(Protocol):
    """How pairs are handed over to the program."""

    def refusal(self, held: HeldPair) -> str | None:
        """Return why ``held`` can't be handed over for now, in a sentence; None: it can."""

    def hand_over(self, held: HeldPair, *, behind: bool) -> Pair:
        """Return what the program gets; raises Overwritten if it is too late to copy what has to be copied.

        ``behind``: a newer pair waits already.
        """

    def collect(self) -> None:
        """Release the memory of pairs that the program has let go."""

    def forget(self) -> None:
        """Leave what the program has to it, for good."""


class Lent:
    """The program has one pair at a time: its memory is released when the next one is handed over.

    A relay's memory does not wait for that: pairs in it are copied until the program has shown that it is
    quick, and again once it is behind.
    """

    def __init__(self) -> None:
        self._taken: HeldPair | None = None
        self._quick = 0
        """How many pairs in a row the program has taken before the next one came."""

    def refusal(self, held: HeldPair) -> str | None:  # noqa: ARG002
        """Return None: there is room for one."""
        return None

    def hand_over(self, held: HeldPair, *, behind: bool) -> Pair:
        """Return the pair as it is, or a copy of what a relay may overwrite, and end the one before."""
        self._quick = 0 if behind else self._quick + 1
        copied = self._quick < QUICK_PAIRS and _is_relayed(held.pair)
        pair = held.pair.copy() if copied else held.pair
        if self._taken is not None:
            self._taken.release()
        self._taken = held
        return pair

    def collect(self) -> None:
        """Do nothing: the next pair says when."""

    def forget(self) -> None:
        """Leave the last pair to the program."""
        self._taken = None


@dataclass(frozen=True, slots=True)
class _Returned:
    """Memory of ``source`` that nothing of the program uses any more."""

    source: str
    nbytes: int
    window: Window | None = None


class _Owner:
    """What the arrays of one clip hold on to: it is gone when the last of them is."""

    __slots__ = ("__weakref__",)


class Kept:
    """The program keeps pairs as long as it likes, at most ``max_bytes`` of each source.

    Frames in memory of ours stay in it, without a copy, until the last array over them is gone; those in
    shared memory are copied. A second pair is handed over in any case: a loop's variable holds the one before.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes: Counter[str] = Counter()
        self._clips: Counter[str] = Counter()
        # Filled by finalizers, which run in any thread at any time: they can't wait for a lock.
        self._returned: deque[_Returned] = deque()

    def refusal(self, held: HeldPair) -> str | None:
        """Return that the program keeps too much, if it does."""
        for source, clip in held.pair.items():
            kept, more = self._bytes[source], _nbytes(clip, held.windows[source])
            if self._clips[source] > 1 and kept + more > self._max_bytes:
                return (
                    f"no pair comes: the program keeps {kept} bytes of {source}, the next pair has {more},"
                    f" and max_bytes is {self._max_bytes}: let pairs go, or use a larger max_bytes"
                )
        return None

    def hand_over(self, held: HeldPair, *, behind: bool) -> Pair:  # noqa: ARG002
        """Return the pair in memory that stays while it is used."""
        clips = {
            source: self._keep(clip, held.windows[source]) for source, clip in held.pair.items()
        }
        return replace(held.pair, clips=clips)

    def collect(self) -> None:
        """Release the memory of clips of which no array is left."""
        while self._returned:
            returned = self._returned.popleft()
            self._bytes[returned.source] -= returned.nbytes
            self._clips[returned.source] -= 1
            if returned.window is not None:
                returned.window.release()

    def forget(self) -> None:
        """Do nothing: the program has what it has."""

    def _keep(self, clip: Clip, window: Window) -> Clip:
        nbytes = _nbytes(clip, window)
        if _is_in(window, clip):
            owner = _Owner()
            pixels = clip._pixels.held_by(owner)
            self._await(owner, _Returned(clip.source, nbytes, window))
        else:
            pixels = clip._pixels.copy()
            self._await(pixels.freeze(), _Returned(clip.source, nbytes))
            window.release()
        self._bytes[clip.source] += nbytes
        self._clips[clip.source] += 1
        return replace(clip, _pixels=pixels)

    def _await(self, used: object, returned: _Returned) -> None:
        """Note ``returned`` as soon as ``used`` is gone."""
        weakref.finalize(used, self._returned.append, returned).atexit = False


def _is_relayed(pair: Pair) -> bool:
    """Return whether a relay has put the newest frames into its memory."""
    return any(clip.frames[-1].relayed for clip in pair.values() if clip.frames)


def _is_in(window: Window, clip: Clip) -> bool:
    """Return whether all frames of ``clip`` are in the window's own memory, and none in a producer's."""
    rings = {id(block.ring) for block in window.blocks}
    return all(id(slot.ring) in rings for slot in clip._pixels.slots)


def _nbytes(clip: Clip, window: Window) -> int:
    if _is_in(window, clip):
        return window.taken_bytes
    return sum(frame.nbytes for frame in clip.frames)
