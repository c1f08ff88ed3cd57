"""Taking pairs in an event loop, which goes on meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from framepair.protocol.client.clip import Pair
from framepair.protocol.client.pair_queue import POLL_S, PairQueue


async def take(pairs: PairQueue, waiting: Callable[[], None]) -> Pair | None:
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
