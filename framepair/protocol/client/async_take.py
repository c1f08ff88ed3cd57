"""Taking pairs in an event loop, which goes on meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Protocol

from framepair.protocol.client.clip import Pair
from framepair.protocol.client.pair_queue import POLL_S


class Pairs(Protocol):
    """A queue of pairs."""

    def take(self, timeout_s: float | None) -> Pair | None:
        """Return the next pair; None if none came in time or none will come."""

    @property
    def ended(self) -> bool:
        """Whether no pair waits and none will come."""

    def listening(self, listener: Callable[[], None]) -> contextlib.AbstractContextManager[None]:
        """Call ``listener``, in any thread, whenever a pair may have come or none will come."""


async def take(pairs: Pairs, waiting: Callable[[], None]) -> Pair | None:
    """Return the next pair, None if none will come; ``waiting`` is called several times a second meanwhile.

    A pair is never lost to a cancellation: it is taken without waiting, and returned at once. Raises
    RuntimeError if the thread that receives has failed.
    """
    loop, changed = asyncio.get_running_loop(), asyncio.Event()

    def tell() -> None:
        # The thread that receives may live longer than the loop.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(changed.set)

    with pairs.listening(tell):
        while (pair := pairs.take(0)) is None and not pairs.ended:
            waiting()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL_S):
                    await changed.wait()
            changed.clear()
    return pair
