"""The signals of a process as a queue that can be waited for with a deadline."""

from __future__ import annotations

import math
import os
import select
import signal
import time
from collections.abc import Collection


class SignalQueue:
    """While entered, signals do nothing but enter the queue; one that came before a wait isn't lost."""

    def __init__(self, numbers: Collection[signal.Signals]) -> None:
        # Started with nohup, a process keeps running when its terminal is closed.
        nohup = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
        self._numbers = [n for n in numbers if not (nohup and n == signal.SIGHUP)]

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

    def wait(self, until_s: float = math.inf) -> int | None:
        """Return the next signal's number, None if none came until ``until_s`` on the monotonic clock."""
        timeout_s = None if math.isinf(until_s) else max(0.0, until_s - time.monotonic())
        ready, _, _ = select.select([self._reader], [], [], timeout_s)
        return os.read(self._reader, 1)[0] if ready else None
