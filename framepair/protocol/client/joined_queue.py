"""The pairs of several queues, joined by their window."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager

from framepair.protocol.client import pace
from framepair.protocol.client.clip import Pair
from framepair.protocol.client.joined_pair import Names, PairJoiner
from framepair.protocol.client.joining import Head, Joiner, Turn
from framepair.protocol.client.losses import SubscriberStats
from framepair.protocol.client.pair_queue import HELD_BACK_POLL_S, POLL_S, PairQueue
from framepair.protocol.wire.pair import PairHeader


class JoinedQueue:
    """Takes the pairs of ``queues``, by address, and gives joined ones; their pixels stay until the next one.

    A pair leaves its queue only when a joined pair with it is handed over, so that waiting for the others ends
    no loan. For one thread.
    """

    def __init__(
        self, queues: Mapping[str, PairQueue], names: Names, room: int, wait_s: float
    ) -> None:
        self._addresses = list(queues)
        self._queues = list(queues.values())
        # Taken and not given, since the pair before it was dropped just then.
        self._held: list[Pair | None] = [None] * len(queues)
        self._turn: Turn | None = None
        self._first: PairHeader | None = None
        self._joiner = Joiner(len(queues), room, wait_s)
        self._pairs = PairJoiner(len(queues), names)
        self._changed = threading.Event()
        self._listening = ExitStack()
        # Not by way of ``listening``: that would hold on to this queue.
        for queue in self._queues:
            self._listening.enter_context(queue.listening(self._changed.set))

    def take(
        self, timeout_s: float | None, waiting: Callable[[], None] = lambda: None
    ) -> Pair | None:
        """Return the next joined pair; raises as ``PairQueue.take``, and ValueError for unequal windows."""
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        while (pair := self._next()) is None and not self.ended:
            poll_s = HELD_BACK_POLL_S if self._turn else POLL_S
            left_s = poll_s if deadline_s is None else deadline_s - time.monotonic()
            if left_s <= 0:
                break
            waiting()
            self._changed.wait(min(left_s, poll_s))
        return pair

    @contextmanager
    def listening(self, listener: Callable[[], None]) -> Iterator[None]:
        """Call ``listener``, in any thread, whenever a pair may have come or none will come."""
        with ExitStack() as stack:
            for queue in self._queues:
                stack.enter_context(queue.listening(listener))
            yield

    @property
    def ended(self) -> bool:
        """Whether no pair waits and none will come, of any queue."""
        return len(self._ended()) == len(self._queues)

    def clear(self) -> None:
        """Forget the pairs that wait."""
        for queue in self._queues:
            queue.clear()
        self._held = [None] * len(self._held)
        self._turn = None

    def stats(self) -> SubscriberStats:
        """Return the counts of all queues as one, with the joined pairs' names of sources."""
        return self._pairs.stats([queue.stats() for queue in self._queues])

    def _next(self) -> Pair | None:
        """Return the next joined pair, None if it is not here yet."""
        self._changed.clear()
        while (turn := self._turn or self._new_turn()) is not None:
            self._turn = turn
            if not self._pull(turn):
                return None
            self._turn = None
            parts = self._parts(turn)
            if turn.late:
                self._pairs.lose(parts.values())
            elif parts:
                return self._pairs.join(parts, self._ended() - parts.keys())
        return None

    def _new_turn(self) -> Turn | None:
        # In this order, so that no last pair of a queue is overlooked.
        ended = self._ended()
        heads = [self._head(number) for number in range(len(self._queues))]
        return self._joiner.turn(heads, ended, time.monotonic())

    def _head(self, number: int) -> Head | None:
        waiting, queued = self._queues[number].head
        held = self._held[number]
        first = held or waiting
        if first is None:
            return None
        self._check(number, first.header)
        lossless = pace.named(first.header.pace).lossless
        return Head(first.index, queued + (held is not None), lossless)

    def _pull(self, turn: Turn) -> bool:
        """Take the pairs of a turn; return whether all are here: one may be held back (``copy``)."""
        for number in turn.taken:
            if self._held[number] is None:
                self._held[number] = self._queues[number].take(0)
        return all(
            self._held[number] is not None or self._queues[number].head[0] is None
            for number in turn.taken
        )

    def _parts(self, turn: Turn) -> dict[int, Pair]:
        """Return the pairs of a turn; a later one, if that of the turn was dropped meanwhile, stays here."""
        found: dict[int, Pair] = {}
        for number in turn.taken:
            held = self._held[number]
            if held is not None and held.index <= turn.window:
                found[number] = held
                self._held[number] = None
        return found

    def _ended(self) -> set[int]:
        """Return the queues of which nothing more comes; raises as ``take`` if that is a failure."""
        over = {number for number, queue in enumerate(self._queues) if queue.ended}
        for number in over:
            self._queues[number].take(0)
        return {number for number in over if self._held[number] is None}

    def _check(self, number: int, header: PairHeader) -> None:
        """Raise ValueError if the windows of two pipelines can't be joined."""
        first = self._first = self._first or header
        if (_length_s(header), header.pace) != (_length_s(first), first.pace):
            raise ValueError(
                f"{self._addresses[number]} has windows of {_length_s(header):g} s and --pace {header.pace},"
                f" the first pair {_length_s(first):g} s and {first.pace}: give all pipelines the same --window"
                " and --pace"
            )


def _length_s(header: PairHeader) -> float:
    return (header.end_ns - header.start_ns) / 1e9
