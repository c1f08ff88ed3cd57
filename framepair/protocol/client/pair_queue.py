"""The queue between the thread that receives and the consumer: one lock around the assembly."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from framepair.protocol.client.assembly import Assembly
from framepair.protocol.client.clip import Pair
from framepair.protocol.client.frame_store import WindowTooLarge
from framepair.protocol.client.frame_writer import FrameWriter
from framepair.protocol.client.live_frames import LiveFrames
from framepair.protocol.client.loans import Loans
from framepair.protocol.client.losses import SubscriberStats
from framepair.protocol.client.newest import Reader
from framepair.protocol.client.selection import EVERYTHING, Selection, UnknownSource
from framepair.protocol.memory.shared_ring import RingUnseen
from framepair.protocol.transport.rate_limited_log import RateLimitedLog
from framepair.protocol.wire.header import ProtocolError
from framepair.protocol.wire.pair import PairHeader, StreamEnd
from framepair.protocol.wire.published import Frame

POLL_S = 0.2
# Nothing tells that the last array over a pair is gone: a finalizer can't wait for a lock.
HELD_BACK_POLL_S = 0.02

Found = TypeVar("Found")
# UTC by the combiner's clock in nanoseconds, and by how much that may be wrong (None: not known).
Now = Callable[[], tuple[int, int | None]]

log = logging.getLogger(__name__)


class PairQueue:
    """Takes messages from one thread and gives whole pairs to another; neither waits for the other's pixels.

    Up to ``keep`` whole pairs wait. Frames in shared memory are found in ``shm_dir``. ``loans`` say for how
    long pairs stay once they were taken, by default until the next one is; ``selection`` what of them is kept.
    """

    def __init__(
        self,
        keep: int,
        max_bytes: int,
        shm_dir: Path,
        loans: Loans | None = None,
        selection: Selection = EVERYTHING,
    ) -> None:
        self._selection = selection
        lock = threading.RLock()
        self._changed, self._frame_came = threading.Condition(lock), threading.Condition(lock)
        self._assembly = (
            Assembly(keep, max_bytes, loans, selection) if selection.pairs else LiveFrames()
        )
        self._writer = FrameWriter(
            self._assembly,
            self._changed,
            selection,
            shm_dir,
            reject=self.reject,
            added=self._frame_came.notify_all,
        )
        self._log = RateLimitedLog(log)
        self._listeners: list[Callable[[], None]] = []
        self._done = False
        self._error: Exception | None = None

    def add(self, received: Frame | PairHeader | StreamEnd, now: Now) -> None:
        """Add a message; pixels are copied, scaled or decoded. Raises ProtocolError if it makes no sense.

        ``now`` tells when its pixels, or the whole pair, are here; it is called under this queue's lock.
        Raises UnknownSource if the first pair lacks a source that was asked for.
        """
        if isinstance(received, tuple):
            try:
                self._writer.write(*received, lambda: now()[0])
            except WindowTooLarge as error:
                # Its frames are counted as lost when the pair is announced.
                self._log.warn("too large", str(error))
            except RingUnseen as error:
                header, _ = received
                with self._changed:
                    self._assembly.add_unseen_frame(header)
                self._log.warn("unseen", f"no pair with frames of {header.source}: {error}")
            return
        # Frames are announced after they were sent, so all of them must be in their places.
        self._writer.drain()
        with self._changed:
            if isinstance(received, PairHeader):
                self._writer.keep_only(received.clips)
                self._assembly.add_pair(received, *now())
            else:
                self._assembly.end_stream(received)
        self._tell()

    def reject(self, error: ProtocolError) -> None:
        """Count a malformed message, and warn of it, but not of each."""
        with self._changed:
            self._assembly.count_rejected()
        self._log.warn("malformed", f"dropped a malformed message: {error}")

    def wait_for_room(self, over: Callable[[], bool]) -> None:
        """Return as soon as more may come in, or when ``over`` says so."""
        with self._changed:
            while self._assembly.full and not over():
                self._changed.wait(POLL_S)

    def finish(self, error: Exception | None) -> None:
        """End the queue: nothing more comes in, because of ``error`` if there is one."""
        self._writer.close()
        with self._changed:
            self._done, self._error = True, error
        self._tell()

    def take(
        self, timeout_s: float | None, waiting: Callable[[], None] = lambda: None
    ) -> Pair | None:
        """Return the next pair, None if none came in time or none will come; the former one's pixels go.

        ``waiting`` is called several times a second meanwhile.
        Raises RuntimeError if the thread that receives has failed, UnknownSource if one was asked for.
        """
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        with self._changed:
            while (pair := self._assembly.take()) is None and not self._over:
                poll_s = self._poll_s()
                left_s = poll_s if deadline_s is None else deadline_s - time.monotonic()
                if left_s <= 0:
                    break
                waiting()
                self._changed.wait(min(left_s, poll_s))
            self._changed.notify_all()
        if pair is None:
            self._raise_error()
        return pair

    @property
    def head(self) -> tuple[Pair | None, int]:
        """The pair that would be taken next, which stays, None if there is none; and how many wait."""
        with self._changed:
            return self._assembly.head, self._assembly.queued

    def reader(self, *, copy: bool) -> Reader:
        """Return a reader of the newest frames, to be used by ``read`` alone."""
        return Reader(self._assembly.newest, copy=copy)

    def read(
        self,
        look: Callable[[], Found | None],
        timeout_s: float | None,
        waiting: Callable[[], None],
    ) -> Found | None:
        """Return what ``look`` finds of the newest frames; None if nothing came in time or nothing will come.

        It is called for each frame, ``waiting`` several times a second meanwhile. Raises as ``take``.
        """
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        with self._changed:
            while (found := look()) is None and not self._done:
                left_s = POLL_S if deadline_s is None else deadline_s - time.monotonic()
                if left_s <= 0:
                    break
                waiting()
                self._frame_came.wait(min(left_s, POLL_S))
        if found is None:
            self._raise_error()
        return found

    def check_source(self, source: str) -> None:
        """Raise ValueError if frames of ``source`` are not asked for."""
        chosen = self._selection.sources
        if chosen is not None and source not in chosen:
            raise ValueError(
                f"{source!r} is not received: sources has {', '.join(chosen) or 'none'}"
            )

    def warn_of_unknown(self, source: str) -> None:
        """Warn if frames have come, and none of ``source``."""
        with self._changed:
            others = self._assembly.newest.sources
        if others and source not in others:
            log.warning("no frame of %s has come so far: there are %s", source, ", ".join(others))

    @property
    def finished(self) -> bool:
        """Whether nothing more comes in."""
        return self._done

    @contextlib.contextmanager
    def listening(self, listener: Callable[[], None]) -> Iterator[None]:
        """Call ``listener``, in any thread, whenever a pair may have come or none will come."""
        self._listeners.append(listener)
        try:
            yield
        finally:
            self._listeners.remove(listener)

    def clear(self) -> None:
        """Forget the pairs that wait, and all memory."""
        with self._changed:
            self._done, self._error = True, None
            self._assembly.clear()
            self._writer.clear()
        self._tell()

    @property
    def ended(self) -> bool:
        """Whether no pair waits and none will come."""
        with self._changed:
            return self._over

    @property
    def stream_end(self) -> StreamEnd | None:
        """The combiner's last word, unless it has announced pairs since."""
        return self._assembly.end

    def stats(self) -> SubscriberStats:
        """Return the counts as they are now."""
        with self._changed:
            return self._assembly.stats()

    def _tell(self) -> None:
        with self._changed:
            self._changed.notify_all()
            self._frame_came.notify_all()
        for listener in tuple(self._listeners):
            listener()

    def _raise_error(self) -> None:
        if isinstance(self._error, UnknownSource):
            raise UnknownSource(str(self._error))
        if self._error is not None:
            raise RuntimeError("the thread that receives has failed") from self._error

    @property
    def _over(self) -> bool:
        return self._done and not self._assembly.queued

    def _poll_s(self) -> float:
        """Return how long to wait at most until to look again; say why if a pair waits, too."""
        complaint = self._assembly.held_back
        if complaint is None:
            # A wait without an end could not be interrupted by Ctrl-C.
            return POLL_S
        self._log.warn("held back", complaint)
        return HELD_BACK_POLL_S
