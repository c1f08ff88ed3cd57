"""Threads that decode frames, a few at a time."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

MAX_THREADS = 4
# Frames that are being decoded, or wait for it, by thread; beyond them the receiving thread waits.
FRAMES_PER_THREAD = 2


class Decoders:
    """Runs tasks in threads, a few at a time; made when the first one comes. One thread gives the tasks."""

    def __init__(self) -> None:
        self._threads = min(MAX_THREADS, os.cpu_count() or 1)
        self._pool: ThreadPoolExecutor | None = None
        self._under_way: deque[Future[None]] = deque()

    def submit(self, task: Callable[[], None]) -> None:
        """Run ``task`` in a thread; wait as long as too many are under way, and raise what one raised."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._threads, "framepair-decoder")
        while len(self._under_way) >= self._threads * FRAMES_PER_THREAD:
            self._under_way.popleft().result()
        self._under_way.append(self._pool.submit(task))

    def drain(self) -> None:
        """Wait until all tasks are done; raise what one of them raised."""
        while self._under_way:
            self._under_way.popleft().result()

    def close(self) -> None:
        """End the threads, once they have done what is under way."""
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None
        self._under_way.clear()
