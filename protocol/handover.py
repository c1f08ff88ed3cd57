"""Where the thread that receives hands pairs to the consumer: one lock around the assembly."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from protocol import clock
from protocol.assembly import Assembly
from protocol.attached import Attached
from protocol.clip import Pair
from protocol.counts import SubscriberStats
from protocol.frame import FrameHeader
from protocol.message import Frame
from protocol.pair import PairHeader, StreamEnd
from protocol.ring import Pixels

POLL_S = 0.2


class Handover:
    """Takes what comes in from one thread and gives whole pairs to another; neither waits for pixels."""

    def __init__(self, keep: int, max_bytes: int, shm_dir: Path) -> None:
        self._changed = threading.Condition()
        self._assembly = Assembly(keep, max_bytes)
        self._attached = Attached(shm_dir)
        self._done = False
        self._error: Exception | None = None

    def put(self, received: Frame | PairHeader | StreamEnd) -> None:
        """Take in a message; the pixels of a frame are copied. Raises ProtocolError if it makes no sense."""
        if isinstance(received, tuple):
            self._put_frame(*received)
            return
        with self._changed:
            if isinstance(received, PairHeader):
                self._assembly.announce(received, clock.now_ns())
            else:
                self._assembly.finish(received)
            self._changed.notify_all()

    def reject(self) -> int:
        """Count a malformed message; return how many there were."""
        with self._changed:
            self._assembly.rejected += 1
            return self._assembly.rejected

    def wait_for_room(self, over: Callable[[], bool]) -> None:
        """Return as soon as more may come in, or when ``over`` says so."""
        with self._changed:
            while self._assembly.full and not over():
                self._changed.wait(POLL_S)

    def finish(self, error: Exception | None) -> None:
        """Say that nothing more comes in, because of ``error`` if there is one."""
        with self._changed:
            self._done, self._error = True, error
            self._changed.notify_all()

    def take(self, timeout_s: float | None) -> Pair | None:
        """Return the next pair, None if none came in time or none will come; the former may be overwritten.

        Raises RuntimeError if the thread that receives has failed.
        """
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        with self._changed:
            self._assembly.release()
            while (pair := self._assembly.take()) is None and not self._done:
                left_s = POLL_S if deadline_s is None else deadline_s - time.monotonic()
                if left_s <= 0:
                    break
                # A wait without an end could not be interrupted by Ctrl-C.
                self._changed.wait(min(left_s, POLL_S))
            self._changed.notify_all()
        if pair is None and self._error is not None:
            raise RuntimeError("the thread that receives has failed") from self._error
        return pair

    def clear(self) -> None:
        """Forget the pairs that wait, and all memory."""
        with self._changed:
            self._done, self._error = True, None
            self._assembly.clear()
            self._attached.clear()

    @property
    def ended(self) -> bool:
        """Whether no pair waits and none will come."""
        with self._changed:
            return self._done and not self._assembly.queued

    @property
    def stream_end(self) -> StreamEnd | None:
        """The combiner's last word, unless it has announced pairs since."""
        return self._assembly.end

    def stats(self) -> SubscriberStats:
        """Return the counts as they are now."""
        with self._changed:
            return self._assembly.stats()

    def _put_frame(self, header: FrameHeader, pixels: Pixels | None) -> None:
        if pixels is None:
            slot = self._attached.slot(header)
            with self._changed:
                self._assembly.put(header, slot, clock.now_ns())
            return
        with self._changed:
            place = self._assembly.reserve(header)
        # Megabytes: the consumer must not wait for them, so not under the lock.
        np.copyto(place.image, pixels)
        with self._changed:
            self._assembly.commit(header, place, clock.now_ns())
