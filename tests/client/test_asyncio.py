"""A subscription in an event loop: pairs come, the loop goes on meanwhile, and everything ends."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import threading
from collections.abc import Iterator

import pytest

from framepair import Pair, subscribe
from tests.lib.processes import PATIENCE_S
from tests.lib.publisher import Combiner
from tests.lib.stream import Stream

THREAD = "framepair-subscriber"


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    yield
    gc.collect()
    assert THREAD not in [thread.name for thread in threading.enumerate()]


def send(combiner: Combiner, windows: range, *, end: bool = True) -> None:
    stream = Stream()
    combiner.wait_for_subscriber()
    for window in windows:
        combiner.send(*stream.whole(window))
    if end:
        combiner.send(stream.end())


def test_pairs_come_until_the_stream_ends(combiner: Combiner, address: str) -> None:
    async def consume() -> list[int]:
        async with asyncio.timeout(PATIENCE_S), subscribe(address, keep=9) as pairs:
            sending = asyncio.create_task(asyncio.to_thread(send, combiner, range(4)))
            seen = [pair.index async for pair in pairs]
            await sending
            assert pairs.ended
            assert await anext(pairs, None) is None
            return seen

    assert asyncio.run(consume()) == [0, 1, 2, 3]


def test_the_loop_goes_on_while_a_pair_is_waited_for(combiner: Combiner, address: str) -> None:
    async def consume() -> int:
        turns = 0
        async with subscribe(address) as pairs:
            waiting = asyncio.ensure_future(anext(pairs))
            await asyncio.to_thread(combiner.wait_for_subscriber)
            while turns < 100:
                await asyncio.sleep(0)
                turns += 1
            assert not waiting.done()
            combiner.send(*Stream().whole(5))
            async with asyncio.timeout(PATIENCE_S):
                return (await waiting).index

    assert asyncio.run(consume()) == 5


def test_a_cancelled_wait_loses_no_pair_and_ends_the_program(
    combiner: Combiner, address: str
) -> None:
    async def consume() -> int:
        async with asyncio.timeout(PATIENCE_S), subscribe(address) as pairs:
            waiting = asyncio.ensure_future(anext(pairs))
            await asyncio.to_thread(combiner.wait_for_subscriber)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            combiner.send(*Stream().whole(5))
            return (await anext(pairs)).index

    assert asyncio.run(consume()) == 5


def test_a_cancelled_program_closes_it(combiner: Combiner, address: str) -> None:
    async def consume() -> None:
        async with subscribe(address) as pairs:
            async for _ in pairs:
                raise AssertionError("nothing was sent")

    async def main() -> None:
        task = asyncio.create_task(consume())
        await asyncio.to_thread(combiner.wait_for_subscriber)
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(main())


def test_another_task_may_close_it(combiner: Combiner, address: str) -> None:
    async def main() -> None:
        pairs = subscribe(address)
        waiting = asyncio.ensure_future(anext(pairs, None))
        await asyncio.to_thread(combiner.wait_for_subscriber)
        await asyncio.to_thread(pairs.close)
        async with asyncio.timeout(PATIENCE_S):
            assert await waiting is None

    asyncio.run(main())


def test_a_failure_reaches_the_task(
    combiner: Combiner, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("framepair.protocol.wire.published.decode", lambda parts: 1 // 0)

    async def main() -> None:
        async with asyncio.timeout(PATIENCE_S), subscribe(address) as pairs:
            sending = asyncio.create_task(asyncio.to_thread(send, combiner, range(1), end=False))
            with pytest.raises(RuntimeError, match="has failed"):
                await anext(pairs)
            await sending

    asyncio.run(main())


def test_the_end_comes_out_of_a_thread_of_the_loop(combiner: Combiner, address: str) -> None:
    async def consume() -> list[int]:
        seen: list[int] = []
        async with asyncio.timeout(PATIENCE_S), subscribe(address, keep=9) as pairs:
            sending = asyncio.create_task(asyncio.to_thread(send, combiner, range(3)))
            while (pair := await asyncio.to_thread(pairs.get, None)) is not None:
                seen.append(pair.index)
            # No coroutine can raise StopIteration: None comes of it in Python 3.11, an error later.
            with contextlib.suppress(RuntimeError):
                assert await asyncio.to_thread(next, pairs) is None
            done: Pair | None = await asyncio.to_thread(next, pairs, None)
            assert done is None
            await sending
        return seen

    assert asyncio.run(consume()) == [0, 1, 2]


def test_a_loop_that_is_over_is_not_told(combiner: Combiner, address: str) -> None:
    stream = Stream()
    with subscribe(address) as pairs:

        async def one() -> Pair:
            async with asyncio.timeout(PATIENCE_S):
                return await anext(pairs)

        combiner.wait_for_subscriber()
        for window in range(3):
            combiner.send(*stream.whole(window))
            assert asyncio.run(one()).index == window
