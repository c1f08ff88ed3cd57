"""The signals of a process as a queue that can be waited for with a deadline, and what nodes say meanwhile."""

from __future__ import annotations

import math
import os
import select
import signal
import time
from collections.abc import Callable, Collection


class SignalQueue:
    """While entered, signals do nothing but enter the queue; one that came before a wait isn't lost."""

    def __init__(self, numbers: Collection[signal.Signals]) -> None:
        # Started with nohup, a process keeps running when its terminal is closed.
        nohup = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
        self._numbers = [n for n in numbers if not (nohup and n == signal.SIGHUP)]
        self._watched: dict[int, Callable[[], None]] = {}

    def __enter__(self) -> SignalQueue:
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)
        signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        self._former = {n: signal.signal(n, lambda *_: None) for n in self._numbers}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(-1)
        os.close(self._reader)
        os.close(self._writer)

    def watch(self, descriptor: int, readable: Callable[[], None]) -> None:
        """Call ``readable`` during a wait, whenever ``descriptor`` has something to read."""
        self._watched[descriptor] = readable

    def forget(self, descriptor: int) -> None:
        """Watch ``descriptor`` no more."""
        self._watched.pop(descriptor, None)

    def wait(self, until_s: float = math.inf) -> int | None:
        """Return the next signal's number; None if a descriptor was read instead, or at ``until_s``.

        Times are of the monotonic clock.
        """
        timeout_s = None if math.isinf(until_s) else max(0.0, until_s - time.monotonic())
        ready, _, _ = select.select([self._reader, *self._watched], [], [], timeout_s)
        # What nodes said before a signal comes first: their last words before their end.
        for descriptor in ready:
            if descriptor in self._watched:
                self._watched[descriptor]()
        return os.read(self._reader, 1)[0] if self._reader in ready else None
