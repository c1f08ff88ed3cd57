"""Work on frames in threads, one frame of a source at a time, whose results come in the order of the tasks."""

from __future__ import annotations

import itertools
import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

MAX_THREADS: Final = 4
# Tasks under way, by thread; beyond them the receiving thread waits.
TASKS_PER_THREAD: Final = 4

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class _Done(Generic[Result]):
    """What needed no thread, and none of a Future's locks."""

    value: Result

    def done(self) -> bool:
        """Return True."""
        return True

    def result(self) -> Result:
        """Return the result."""
        return self.value


class OrderedWork(Generic[Result]):
    """Runs tasks and returns their results in order. For one thread, but for the tasks themselves.

    The tasks of one source run one after the other; those of several at the same time, if they are ``slow``.
    """

    def __init__(self) -> None:
        count = min(MAX_THREADS, os.cpu_count() or 1)
        self._most = count * TASKS_PER_THREAD
        # Threads begin with the first task that is given to them.
        self._pools = [ThreadPoolExecutor(1, "framepair-decoder") for _ in range(count)]
        self._next_pool = itertools.cycle(self._pools)
        self._of_source: dict[str, ThreadPoolExecutor] = {}
        self._under_way: deque[Future[Result] | _Done[Result]] = deque()

    def add(self, source: str, task: Callable[[], Result], *, slow: bool) -> None:
        """Run a task: in a thread if it is ``slow``, or one of its source was, else now."""
        if slow and source not in self._of_source:
            self._of_source[source] = next(self._next_pool)
        pool = self._of_source.get(source)
        if pool is None:
            self.add_result(task())
        else:
            self._under_way.append(pool.submit(task))

    def add_result(self, result: Result) -> None:
        """Add what needs no work, behind the tasks that were added before."""
        self._under_way.append(_Done(result))

    def take(self, *, wait: bool) -> Result | None:
        """Return the next result, None if there is none yet; raises what its task raised.

        Wait for it if it is under way and ``wait`` says so, or too many are.
        """
        if not self._under_way:
            return None
        head = self._under_way[0]
        if not (wait or head.done() or len(self._under_way) > self._most):
            return None
        self._under_way.popleft()
        return head.result()

    def close(self) -> None:
        """End the threads, once they have done what is under way."""
        for pool in self._pools:
            pool.shutdown(cancel_futures=True)
