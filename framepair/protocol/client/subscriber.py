"""subscribe(): what a consumer of pairs uses."""

from __future__ import annotations

import contextlib
import operator
import os
import threading
import weakref
from collections import Counter
from collections.abc import (
    AsyncIterator,
    Callable,
    Generator,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import TypeVar

from framepair.protocol.client.batches import batches
from framepair.protocol.client.clip import Clip, Pair
from framepair.protocol.client.cursor import Cursor
from framepair.protocol.client.loans import Kept, Lent
from framepair.protocol.client.losses import SubscriberStats
from framepair.protocol.client.matches import Match, Wanted, matches
from framepair.protocol.client.pair_queue import PairQueue
from framepair.protocol.client.receiver import Receiver, TimeSource
from framepair.protocol.client.route import Route
from framepair.protocol.client.selection import select
from framepair.protocol.client.single_frame import Frame
from framepair.protocol.memory import shared_ring
from framepair.protocol.transport import endpoints
from framepair.protocol.transport.endpoints import EndpointError
from framepair.protocol.transport.heartbeat import MAX_BUSY_S, Heartbeat
from framepair.protocol.transport.keys import client as client_keys

__all__ = ["EndpointError", "SubscriberStats", "Subscription", "subscribe"]

# 27 s of 1080p25, 2.9 s of 2160p60.
MAX_BYTES = 4 * 1024**3

# After which a source of which nothing has come may be none.
UNKNOWN_S = 3.0

Found = TypeVar("Found")


def subscribe(
    address: str | Path | Sequence[str | Path] | Mapping[str, str | Path] | None = None,
    *,
    sources: Iterable[str] | None = None,
    pairs: bool = True,
    keep: int = 2,
    copy: bool = False,
    decode: bool = True,
    every: int = 1,
    size: tuple[int, int] | None = None,
    max_bytes: int = MAX_BYTES,
    shm_dir: str | Path | None = None,
    keys: str | Path | None = None,
    insecure: bool = False,
    sync: str | Path | None = None,
) -> Subscription:
    """Connect to the combiner at ``address`` and return an iterator over its pairs.

        for pair in subscribe("tcp://10.0.0.5:7400", keys=Path("keys")):
            left, right = pair["left"].array, pair["right"].array

    While the consumer is busy, the newest ``keep`` whole pairs wait for it; older ones are dropped and counted
    (``Pair.lost``, ``Subscription.stats``). With pace max none is dropped: the pipeline waits.

    A pair's pixels stay until a later pair was taken. With ``copy`` they stay as long as anything uses them: in
    the memory that they came to, or copied if they are in shared memory. The program can then keep up to
    ``max_bytes`` of each source; beyond that, which is logged, no pair comes until it lets some go.

    With ``sources`` only those are received, and a pair is ``complete`` if it has all of theirs; with ``[]``
    pairs say how many frames there are, and have no pixels. ``every`` keeps of each source the frames whose
    ``seq`` is a multiple of it, so that all consumers agree, and ``size``, (width, height), scales frames as
    they come. Without ``decode`` JPEGs stay as they travelled (``Frame.encoded``) and are decoded when their
    pixels are asked for.

    ``latest`` and ``frames`` give frames before their pair. Without ``pairs`` there is nothing else: of each
    source eight slots are in memory instead of whole windows, and JPEGs are decoded when their pixels are asked
    for.

    Frames are copied as they come to memory that the subscription owns: that of ``keep`` + 3 windows, and of
    those that wait for a slow source. Its addresses are reserved once for each source, with room for twice the
    rate and for pairs that come 10 s late (2 to 3 times ``max_bytes`` at most); what isn't written of it takes
    no memory. ``max_bytes`` bounds, for each source, the frames that wait for their pair to be announced: a
    window that has more is lost, which is logged and counted.

    With several addresses the pairs of their combiners are joined by window: see ``JoinedSubscription``, and
    ``members``. All else is the same for all of them. Names of sources that clash get the host in front, as in
    ``site-a/left``; those of a mapping all get its key. A combiner that is late is waited for until 8 pairs
    beyond ``keep`` of another wait, or 5 s; without its pair its sources are ``offline``.

    A Path as ``address`` is that of the socket. Without ``address`` it is what FRAMEPAIR_SUB says, else that of
    ``python launch.py`` on this machine, in the default run directory, which is made if need be and has to be
    this user's alone.
    ``shm_dir`` is where producers have their rings in shared memory, if not in the default directory.

    ``keys`` is the directory of keys that an address on a network needs, else FRAMEPAIR_KEYS; ``insecure``
    does without keys, so that every machine on the network can read, and can send.

    ``sync`` is where a combiner on another machine tells the time, else FRAMEPAIR_SYNC: without it, it is not
    known how wrong latencies are. Nothing else depends on it.

    The combiner need not be there yet, and may go and come back. Raises ValueError if ``keep`` or ``max_bytes``
    is no whole number from 1 on, or what is selected makes no sense, EndpointError if the address can't be
    used. If the first pair lacks one of ``sources``, asking for a pair raises UnknownSource, a ValueError.
    """
    keep = _whole("keep", keep, "pairs that wait")
    max_bytes = _whole("max_bytes", max_bytes, "bytes that a window of frames has to fit in")
    if address is not None and not isinstance(address, (str, Path)):
        return _join(
            address,
            keep,
            pairs=pairs,
            connect=partial(
                subscribe,
                sources=sources if sources is None or isinstance(sources, str) else tuple(sources),
                copy=copy,
                decode=decode,
                every=every,
                size=size,
                max_bytes=max_bytes,
                shm_dir=shm_dir,
                keys=keys,
                insecure=insecure,
                sync=sync,
            ),
        )
    selection = select(sources, every, size, decode, pairs)
    shm_dir, keys = _path(shm_dir), _path(keys)
    address = endpoints.as_address(address) if address else endpoints.claim_default_sub()
    sync = endpoints.as_address(sync) if sync else endpoints.default_sync(address)
    endpoints.check(address, *([sync] if sync else []))
    client = client_keys(keys, address, insecure=insecure)
    loans = Kept(max_bytes) if copy else Lent()
    directory = shm_dir or shared_ring.default_directory()
    queue = PairQueue(keep, max_bytes, directory, loans, selection)
    told = TimeSource(sync, client_keys(keys, sync, insecure=insecure)) if sync else None
    # A relay has frames decoded, in shared memory: not as they travelled.
    route = Route(address, directory if decode and selection.has_pixels else None)
    receiver = Receiver(address, queue, selection.topics(), client, told, route)
    return Subscription(queue, receiver, copy=copy)


def _join(
    addresses: Sequence[str | Path] | Mapping[str, str | Path],
    keep: int,
    *,
    pairs: bool,
    connect: Callable[..., Subscription],
) -> Subscription:
    """Return a subscription to several pipelines; raises ValueError without pairs to join."""
    if not pairs:
        raise ValueError("pairs=False with several addresses: subscribe() to each of them")
    # It is made of subscriptions.
    from framepair.protocol.client import joined

    return joined.join(addresses, keep, lambda address, kept: connect(address, keep=kept))


def _whole(name: str, value: int, what: str) -> int:
    """Return ``value``; raises ValueError unless it is a whole number from 1 on."""
    try:
        number = operator.index(value)
    except TypeError:
        number = 0
    if number < 1:
        raise ValueError(f"{name} is {value!r}: it is a whole number of {what}, 1 or more")
    return number


def _path(given: str | Path | None) -> Path | None:
    return Path(given) if given else None


class Ended(StopIteration):
    """The end of the iteration, which has to be a class of its own: see ``__next__``."""


class Subscription(Iterator[Pair], AsyncIterator[Pair]):
    """An iterator over pairs, for one thread or one event loop. Leaving its ``with`` closes everything.

    A pair's pixels are there until the next pair was taken; after that they may be overwritten, and it raises
    Overwritten if it is asked for them. A process that was forked from this one has to subscribe by itself: it
    gets a RuntimeError from all but ``stop`` and ``close``, which do nothing there.
    """

    members: Mapping[str, Subscription] = MappingProxyType({})
    """The subscriptions of which this one is joined, by address: for ``stats``, ``latest`` and ``frames``."""

    def __init__(self, pairs: PairQueue, receiver: Receiver, *, copy: bool = False) -> None:
        self._pairs = pairs
        self._receiver = receiver
        self._heartbeat = Heartbeat()
        self._cursor = Cursor()
        self._copy = copy
        self._readers = threading.local()
        self._unmatched: Counter[str] = Counter()
        self._home = os.getpid()
        # Also when this is no longer used, or at the interpreter's exit.
        self._close = weakref.finalize(self, self._receiver.close)
        self._receiver.start()

    def __next__(self) -> Pair:
        """Wait for the next whole pair; raises RuntimeError if receiving has failed."""
        pair = self.get(None)
        if pair is None:
            self.close()
            # A future refuses StopIteration itself: await asyncio.to_thread(next, …) would never end (3.11).
            raise Ended
        return pair

    def get(self, timeout_s: float | None) -> Pair | None:
        """Return the next whole pair; None if none came in ``timeout_s`` or none will come (see ``ended``).

        ``timeout_s`` None waits without end, 0 not at all. Its arrays may be overwritten once a later pair was
        returned; ``Pair.copy`` keeps them. Raises RuntimeError if receiving has failed.
        """
        self._cursor.refuse_second()
        return self._take(timeout_s)

    def matches(
        self, reference: str, *others: str, within_ms: float
    ) -> Generator[Match, None, None]:
        """Iterate over the frames of several sources that were captured at about the same time.

        For each frame of ``reference``, in order, a match has the frame of each other source that is nearest to
        it in time, if the reference frame is also the nearest to that, and they are at most ``within_ms``
        apart; of equally near frames the earlier one. A frame that lacks one of the others is in no match, and
        is counted (``SubscriberStats.unmatched_frames``). A match may need the frames of the next pair.
        Its pixels stay until the next match is asked for; only frames near a pair's border are copied.

        Raises ValueError for names that make no match, KeyError if a pair has no such source, RuntimeError
        while another iteration takes the pairs.
        """
        wanted = Wanted(reference, others, round(within_ms * 1e6))
        return self._cursor.claim("matches", matches(self._each(), wanted, self._unmatched))

    def batches(self, n: int, source: str) -> Generator[Clip, None, None]:
        """Iterate over the frames of ``source``, ``n`` at a time, whatever the pairs have.

        A batch is a clip. It is a view of its pair, and stays until the next batch is asked for; if its frames
        are of several pairs it is a copy. The last one may have fewer frames, and so may one before a change of
        shape. Raises ValueError if ``n`` is below 1, and otherwise as ``matches``; Overwritten if shared memory
        was overwritten before it was copied.
        """
        if n < 1:
            raise ValueError(f"batches of {n} frames: ask for at least one")
        return self._cursor.claim("batches", batches(self._each(), n, source))

    def latest(self, timeout_s: float | None = None) -> dict[str, Frame]:
        """Return the newest frame of each source, as soon as one is newer than those that this thread got last.

        It is empty if none came in ``timeout_s`` (None: without limit, 0: not at all) or none will come. Frames
        come at once, whatever the window. Their pixels stay until this thread gets a newer one of their source.
        May be called from any thread, beside whatever takes pairs. Raises RuntimeError if receiving has failed.
        """
        self._receiver.want_newest()
        reader = getattr(self._readers, "mine", None)
        if reader is None:
            reader = self._readers.mine = self._pairs.reader(copy=self._copy)
        return self._read(reader.latest, timeout_s) or {}

    def frames(self, source: str) -> Generator[Frame, None, None]:
        """Iterate over the frames of ``source`` as they come, in any thread; raises as ``latest``.

        If the program is slow, the oldest of more than six that wait are skipped, which ``Frame.skipped`` says.
        A frame's pixels stay until the next one is asked for. Raises ValueError if ``source`` is not received.
        """
        self._pairs.check_source(source)
        self._receiver.want_newest()
        return self._each_frame(source)

    async def __anext__(self) -> Pair:
        """Wait for the next whole pair while the event loop goes on; raises as ``get``."""
        # Most programs have no event loop, and importing one takes as long as all of this package.
        from framepair.protocol.client import async_take

        self._cursor.refuse_second()
        self._begin()
        pair = self._ended_with(await async_take.take(self._pairs, self._heartbeat.beat))
        if pair is None:
            raise StopAsyncIteration
        return pair

    @contextlib.contextmanager
    def busy(self, seconds: float) -> Iterator[None]:
        """Do long work inside ``with``: the launcher does not take it for a hang for so many seconds.

        A program that the launcher has started is killed if it asks for no pair for long
        (``--health-timeout``). Without a launcher this does nothing. Raises ValueError for no time.
        """
        if not 0 < seconds <= MAX_BUSY_S:
            raise ValueError(
                f"busy for {seconds} s: say for how many seconds, {MAX_BUSY_S:.0f} at most"
            )
        self._heartbeat.tell_busy(seconds)
        try:
            yield
        finally:
            self._heartbeat.tell_busy(0)

    @property
    def ended(self) -> bool:
        """Whether the iteration is over: the stream has finished, or ``stop`` or ``close`` was called."""
        self._refuse_forks()
        return self._pairs.ended

    def stop(self) -> None:
        """Receive what is on its way, until the combiner's last word, 0.5 s of silence, or 2 s; then end.

        Returns at once; may be called from signal handlers and other threads. Pairs that are here by then
        still come from ``get`` and the iteration.
        """
        self._receiver.stop()

    def close(self) -> None:
        """Stop receiving and forget the pairs that wait."""
        # In a fork another thread may have held the lock, and nothing will ever release it.
        if os.getpid() == self._home:
            self._close()
            self._pairs.clear()

    def stats(self) -> SubscriberStats:
        """Return the counts as they are now."""
        self._refuse_forks()
        return replace(self._pairs.stats(), unmatched_frames=dict(self._unmatched))

    def __enter__(self) -> Subscription:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    async def __aenter__(self) -> Subscription:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        import asyncio

        # The thread that receives looks a few times a second whether it should end.
        await asyncio.to_thread(self.close)

    def _each_frame(self, source: str) -> Generator[Frame, None, None]:
        reader = self._pairs.reader(copy=self._copy)
        patience_s: float | None = UNKNOWN_S
        while True:
            frame = self._read(lambda: reader.following(source), patience_s)
            if frame is not None:
                yield frame
            elif patience_s is None or self._pairs.finished:
                return
            else:
                self._pairs.warn_of_unknown(source)
            patience_s = None

    def _each(self) -> Iterator[Pair]:
        """Yield pairs; the caller has the cursor."""
        while (pair := self._take(None)) is not None:
            yield pair

    def _take(self, timeout_s: float | None) -> Pair | None:
        self._begin()
        return self._ended_with(self._pairs.take(timeout_s, self._heartbeat.beat))

    def _read(self, look: Callable[[], Found | None], timeout_s: float | None) -> Found | None:
        self._begin()
        return self._pairs.read(look, timeout_s, self._heartbeat.beat)

    def _begin(self) -> None:
        """Tell the launcher that a pair is asked for; raises RuntimeError in a fork."""
        self._refuse_forks()
        self._heartbeat.tell("ready")
        self._heartbeat.beat()

    def _ended_with(self, pair: Pair | None) -> Pair | None:
        """Return ``pair``; forget all memory if there is none and none will come."""
        if pair is None and self._pairs.ended:
            # Not close: it waits for the thread that receives, whose end may take seconds on a busy machine.
            self._pairs.clear()
        return pair

    def _refuse_forks(self) -> None:
        # The thread that receives is not in a fork: waiting for it would never end.
        if os.getpid() != self._home:
            raise RuntimeError(
                f"this subscription was made in process {self._home}, and receives only there: call"
                " subscribe() in this process, too"
            )
