"""Several pipelines as one: a subscription to each, and pairs that are joined by their window."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from framepair.protocol.client.clip import Pair
from framepair.protocol.client.cursor import Cursor
from framepair.protocol.client.joined_pair import Names
from framepair.protocol.client.joined_queue import JoinedQueue
from framepair.protocol.client.losses import SubscriberStats
from framepair.protocol.client.single_frame import Frame
from framepair.protocol.client.subscriber import Subscription
from framepair.protocol.transport import endpoints
from framepair.protocol.transport.heartbeat import Heartbeat

# A pipeline is waited for until the others' pairs have waited so long, or so many beyond ``keep`` of one wait.
WAIT_S: Final = 5.0
WAIT_WINDOWS: Final = 8

Address = str | Path


def join(
    given: Sequence[Address] | Mapping[str, Address],
    keep: int,
    connect: Callable[[str, int], Subscription],
) -> Subscription:
    """Return a subscription to all addresses ``given``, by name if it is a mapping.

    ``connect`` subscribes to one of them so that a number of pairs wait. Raises ValueError for less than two.
    """
    named = given if isinstance(given, Mapping) else None
    addresses = [endpoints.as_address(each) for each in (named.values() if named else given)]
    if len(set(addresses)) < max(2, len(addresses)):
        raise ValueError(
            f"addresses {', '.join(addresses) or 'none'}: give at least two, each of them once"
        )
    names = Names(list(named), always=True) if named else Names(labels(addresses))
    with ExitStack() as stack:
        members = {
            each: stack.enter_context(connect(each, keep + WAIT_WINDOWS)) for each in addresses
        }
        stack.pop_all()
    return JoinedSubscription(members, names, keep + WAIT_WINDOWS)


def labels(addresses: Sequence[str]) -> list[str]:
    """Return what is put before names that clash: host, or run directory; the address if two share that."""
    short = [_short(address) for address in addresses]
    return [
        label if label and short.count(label) == 1 else address.partition("://")[2]
        for label, address in zip(short, addresses, strict=True)
    ]


def _short(address: str) -> str:
    socket = endpoints.ipc_path(address)
    return socket.parent.name if socket else urlsplit(address).hostname or ""


class JoinedSubscription(Subscription):
    """An iterator over the pairs of several pipelines, joined by window; ``members`` are theirs.

    A joined pair has the clips of all, and stays until the next one was taken. It is ``complete`` if each
    pipeline's pair is there and complete. ``lost`` adds up what was lost of each, with pairs that came after
    their window had been given without them; ``skipped`` windows no pipeline is known to have announced.
    ``ready_ns`` is when the last of its pairs was here.
    """

    def __init__(self, members: Mapping[str, Subscription], names: Names, room: int) -> None:
        # Not super().__init__: it would receive by itself.
        self._heartbeat = Heartbeat()
        self._cursor = Cursor()
        self._unmatched: Counter[str] = Counter()
        self._home = os.getpid()
        self.members = members
        queues = {address: member._pairs for address, member in members.items()}
        self._joined = JoinedQueue(queues, names, room, WAIT_S)

    def latest(self, timeout_s: float | None = None) -> dict[str, Frame]:  # noqa: ARG002
        """Raise ValueError: ask one of ``members``."""
        raise ValueError("latest is of one pipeline: ask members[address].latest()")

    def frames(self, source: str) -> Generator[Frame, None, None]:
        """Raise ValueError: ask one of ``members``."""
        raise ValueError(f"frames are of one pipeline: ask members[address].frames({source!r})")

    async def __anext__(self) -> Pair:
        """Wait for the next joined pair while the event loop goes on; raises as ``get``."""
        from framepair.protocol.client import async_take

        self._cursor.refuse_second()
        self._begin()
        pair = await async_take.take(self._joined, self._heartbeat.beat)
        if pair is None:
            raise StopAsyncIteration
        return pair

    @property
    def ended(self) -> bool:
        """Whether no pair waits and none will come, of any pipeline."""
        self._refuse_forks()
        return self._joined.ended

    def stop(self) -> None:
        """Stop all of ``members``, as ``Subscription.stop``."""
        for member in self.members.values():
            member.stop()

    def close(self) -> None:
        """Stop receiving and forget the pairs that wait."""
        if os.getpid() == self._home:
            for member in self.members.values():
                member.close()
            self._joined.clear()

    def stats(self) -> SubscriberStats:
        """Return the counts of all ``members`` as one, with the joined pairs' names of sources.

        ``pairs`` are joined ones. A pair that came too late is a lost one, and its frames are delivered ones:
        they were taken.
        """
        self._refuse_forks()
        return replace(self._joined.stats(), unmatched_frames=dict(self._unmatched))

    def _take(self, timeout_s: float | None) -> Pair | None:
        self._begin()
        pair = self._joined.take(timeout_s, self._heartbeat.beat)
        if pair is None and self._joined.ended:
            self._joined.clear()
        return pair
