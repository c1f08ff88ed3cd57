"""A consumer and a real socket: what it gets, how it ends, and that nothing of it is left."""

from __future__ import annotations

import gc
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import zmq

from framepair import Pair, Subscription, subscribe
from framepair.protocol.client import slots
from framepair.protocol.transport import sockets
from framepair.protocol.transport.endpoints import EndpointError
from framepair.protocol.transport.heartbeat import DESCRIPTOR_VARIABLE
from framepair.protocol.wire import published
from tests.lib.processes import PATIENCE_S
from tests.lib.publisher import Combiner, combiner_at, parts
from tests.lib.stream import Stream, lost_frames, missed_frames, pixels

THREAD = "framepair-subscriber"
LARGE = (512, 1024, 3)  # more than the kernel keeps for a socket


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    yield
    gc.collect()
    assert not receiving_threads()


def receiving_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == THREAD]


def until(condition: Callable[[], object]) -> None:
    """Wait until ``condition`` holds."""
    tick, deadline_s = threading.Event(), time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline_s
        tick.wait(0.005)


def in_a_thread(*actions: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=lambda: [action() for action in actions])
    thread.start()
    return thread


def when_waited_for(subscription: Subscription, action: Callable[[], object]) -> threading.Thread:
    """Do something as soon as a thread waits for a pair."""
    waiters = getattr(subscription._pairs._changed, "_waiters")  # noqa: B009 - private to Python
    return in_a_thread(lambda: until(lambda: waiters), action)


def check(pair: Pair) -> None:
    for clip in pair.values():
        for frame, image in zip(clip.frames, clip.array, strict=True):
            assert np.array_equal(image, pixels(frame))
    assert pair.intact


def next_pair(subscription: Subscription) -> Pair:
    """Return the next pair, with a deadline."""
    pair = subscription.get(PATIENCE_S)
    assert pair is not None
    check(pair)
    return pair


def test_pairs_come_with_their_pixels_and_the_iteration_ends(
    combiner: Combiner, address: str
) -> None:
    stream = Stream()
    subscription = subscribe(address, keep=5)
    combiner.wait_for_subscriber()
    for window in range(4):
        combiner.send(*stream.whole(window))
    combiner.send(stream.end())
    seen = []
    for pair in subscription:
        check(pair)
        seen.append(pair.index)
    assert seen == [0, 1, 2, 3]
    assert subscription.ended
    assert next(subscription, None) is None
    stats = subscription.stats()
    assert (stats.pairs, stats.queued, stats.lost_pairs, stats.rejected) == (4, 0, 0, 0)
    assert stats.end == stream.end()
    assert stats.totals == stream.totals


def test_it_works_over_tcp_too(address: str) -> None:
    with sockets.new_context() as context, context.socket(zmq.XPUB) as xpub:
        port = xpub.bind_to_random_port("tcp://127.0.0.1")
        combiner, stream = Combiner(xpub), Stream(shape=LARGE)
        with subscribe(f"tcp://127.0.0.1:{port}") as subscription:
            combiner.wait_for_subscriber()
            combiner.send(*stream.whole(0))
            assert next_pair(subscription).index == 0


def test_ready_times_are_in_order(combiner: Combiner, address: str) -> None:
    stream = Stream()
    with subscribe(address) as subscription:
        combiner.wait_for_subscriber()
        combiner.send(*stream.whole(0))
        pair = next_pair(subscription)
    assert 0 < pair["left"].ready_ns <= pair.ready_ns
    assert pair["left"].ready_ns <= pair["right"].ready_ns, "its newest frame came last"


def test_a_slow_consumer_gets_the_newest_pairs(combiner: Combiner, address: str) -> None:
    stream = Stream()
    with subscribe(address, keep=2) as subscription:
        combiner.wait_for_subscriber()
        combiner.send(*stream.whole(0))
        held = next_pair(subscription)
        for window in range(1, 30):
            combiner.send(*stream.whole(window))
        until(lambda: subscription.stats().totals["left"].paired == 30 * 5)
        check(held)
        assert [(pair.index, pair.lost) for pair in map(next_pair, [subscription] * 2)] == [
            (28, 27),
            (29, 0),
        ]
        assert lost_frames(subscription.stats()) == {"left": 135, "right": 135}


def test_get_returns_none_when_nothing_comes_in_time(combiner: Combiner, address: str) -> None:
    with subscribe(address) as subscription:
        assert subscription.get(0) is None
        assert subscription.get(0.01) is None
        assert not subscription.ended


def test_with_pace_max_nothing_is_dropped_and_the_combiner_has_to_wait(address: str) -> None:
    stream, announced = Stream(["left"], pace="max", shape=LARGE), []
    with combiner_at(address, hwm=1) as combiner, subscribe(address, keep=2) as subscription:

        def send_all() -> None:
            combiner.wait_for_subscriber()
            for window in range(20):
                combiner.send(*stream.whole(window))
                announced.append(window)

        thread = in_a_thread(send_all)
        for window in range(18):
            until(lambda: subscription.stats().queued == 2)
            assert len(announced) <= window + 4, "two pairs, and little more in queues on the way"
            assert next_pair(subscription).index == window
        thread.join()
        assert subscription.stats().lost_pairs == 0


def test_malformed_messages_are_counted_and_the_rest_goes_on(
    combiner: Combiner, address: str, caplog: pytest.LogCaptureFixture
) -> None:
    stream = Stream()
    with subscribe(address) as subscription, caplog.at_level(logging.WARNING):
        combiner.wait_for_subscriber()
        first, *others = stream.window(0)
        combiner.send(first)
        combiner.send_raw(published.PAIR)
        combiner.send_raw(published.PAIR, b"\xc1")
        combiner.send_raw(*parts(first)[:2], b"too short")
        combiner.send_raw(*parts(first), *[b"one part more"] * 20)
        combiner.send(first)  # comes twice
        combiner.send(*others, stream.pair(0), stream.end())
        assert next_pair(subscription)["left"].seq.tolist() == [0, 1, 2, 3, 4]
        assert subscription.stats().rejected == 5
    warnings = [
        record for record in caplog.records if record.name == "framepair.protocol.client.pair_queue"
    ]
    assert len(warnings) == 1, "not one each"


def test_a_window_that_is_too_large_is_said_and_counted(
    combiner: Combiner, address: str, caplog: pytest.LogCaptureFixture
) -> None:
    stream = Stream(["left"])
    with subscribe(address, max_bytes=800) as subscription, caplog.at_level(logging.WARNING):
        combiner.wait_for_subscriber()
        for window in range(3):
            combiner.send(*stream.whole(window))
        combiner.send(stream.end())
        assert list(subscription) == []
        stats = subscription.stats()
    assert (stats.lost_pairs, stats.rejected) == (3, 0)
    assert stats.lost_frames == {"left": {"too_large": 15}}
    (line,) = caplog.messages
    assert line.startswith("no pair comes: a window of left, 1 s, has about 960 bytes of frames")
    assert "max_bytes is 800" in line


def test_a_combiner_that_stops_may_come_back(address: str) -> None:
    first, second = Stream(run=1), Stream(run=2)
    with subscribe(address) as subscription:
        with combiner_at(address) as combiner:
            combiner.wait_for_subscriber()
            combiner.send(*first.whole(0), first.end("stopped"))
            assert next_pair(subscription).index == 0
            until(lambda: subscription.stats().end)
            assert not subscription.ended
        with combiner_at(address) as combiner:
            combiner.wait_for_subscriber()
            combiner.send(*second.whole(5))
            pair = next_pair(subscription)
    assert (pair.index, pair.header.run, pair.lost) == (5, 2, 0)


def test_a_combiner_that_dies_in_the_middle_of_a_window_may_come_back(address: str) -> None:
    first, second = Stream(run=1), Stream(run=2)
    with subscribe(address) as subscription:
        with combiner_at(address) as combiner:
            combiner.wait_for_subscriber()
            combiner.send(*first.whole(0), *first.window(1)[:5])
            assert next_pair(subscription).index == 0
        with combiner_at(address) as combiner:
            combiner.wait_for_subscriber()
            for frame in second.window(1) + second.window(2):
                combiner.send(frame) if frame.window == 2 else None
            second.pair(1)
            combiner.send(second.pair(2))
            assert next_pair(subscription).index == 2
    stats = subscription.stats()
    assert (stats.lost_pairs, missed_frames(stats)["left"]) == (1, 5)


def test_a_subscriber_may_be_there_first(address: str) -> None:
    stream = Stream()
    with subscribe(address) as subscription, combiner_at(address) as combiner:
        combiner.wait_for_subscriber()
        combiner.send(*stream.whole(0))
        assert next_pair(subscription).index == 0


def test_stop_takes_what_is_on_its_way_until_the_end(combiner: Combiner, address: str) -> None:
    stream = Stream()
    subscription = subscribe(address, keep=9)
    combiner.wait_for_subscriber()
    subscription.stop()
    for window in range(3):
        combiner.send(*stream.whole(window))
    combiner.send(stream.end("stopped"))
    assert [pair.index for pair in subscription] == [0, 1, 2]
    assert subscription.stats().end is not None


def test_stop_ends_when_nothing_more_comes(combiner: Combiner, address: str) -> None:
    stream = Stream()
    subscription = subscribe(address, keep=9)
    combiner.wait_for_subscriber()
    combiner.send(*stream.whole(0))
    subscription.stop()
    assert [pair.index for pair in subscription] == [0]


def test_stop_ends_even_if_the_stream_goes_on(combiner: Combiner, address: str) -> None:
    stream = Stream()
    subscription = subscribe(address)
    combiner.wait_for_subscriber()
    window = 0
    subscription.stop()
    deadline_s = time.monotonic() + PATIENCE_S
    while not subscription.ended:
        if subscription.get(0.01) is None:
            combiner.send(*stream.whole(window))
            window += 1
        assert time.monotonic() < deadline_s


def test_ctrl_c_interrupts_the_wait_for_a_pair(combiner: Combiner, address: str) -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with subscribe(address) as subscription:
            thread = when_waited_for(subscription, lambda: os.kill(os.getpid(), signal.SIGINT))
            with pytest.raises(KeyboardInterrupt):
                next(subscription)
            thread.join()
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_failure_while_receiving_reaches_the_consumer(
    combiner: Combiner, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_memory(*_: object) -> None:
        raise OSError("no memory")

    monkeypatch.setattr(slots, "Ring", no_memory)
    stream = Stream()
    with subscribe(address) as subscription:
        combiner.wait_for_subscriber()
        combiner.send(*stream.window(0))
        for _ in range(2):
            with pytest.raises(RuntimeError, match="has failed") as raised:
                next(subscription)
            assert str(raised.value.__cause__) == "no memory"


def test_pairs_that_wait_come_before_the_failure(
    combiner: Combiner, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = Stream()
    with subscribe(address) as subscription:
        combiner.wait_for_subscriber()
        combiner.send(*stream.whole(0))
        until(lambda: subscription.stats().queued)
        monkeypatch.setattr(
            "framepair.protocol.wire.published.decode", lambda parts: 1 // len(parts[9:])
        )
        combiner.send(*stream.whole(1))
        until(lambda: not receiving_threads())
        assert next_pair(subscription).index == 0
        with pytest.raises(RuntimeError):
            next(subscription)


@pytest.mark.parametrize("bad", ["nonsense", "ipc://relative", "tcp://", "tcp://*:5", "inproc://x"])
def test_an_address_that_cannot_be_used_is_refused_at_once(bad: str) -> None:
    with pytest.raises(EndpointError):
        subscribe(bad)


@pytest.mark.parametrize("bad", [0, -1, 2.5, "3", None])
@pytest.mark.parametrize("name", ["keep", "max_bytes"])
def test_a_number_that_makes_no_sense_is_refused_in_words(
    address: str, name: str, bad: Any
) -> None:
    with pytest.raises(
        ValueError, match=f"{name} is {bad!r}: it is a whole number of .*, 1 or more"
    ):
        subscribe(address, **{name: bad})


def test_numbers_of_numpy_are_whole_numbers_too(address: str) -> None:
    subscribe(address, keep=cast(int, np.int64(3))).close()


@pytest.mark.parametrize("port", ["99999", "0", "-1", "http", "", "65536"])
def test_a_port_that_is_none_is_refused_in_words(port: str) -> None:
    with pytest.raises(EndpointError, match="with a port from 1 to 65535"):
        subscribe(f"tcp://127.0.0.1:{port}")


def test_paths_may_be_paths_or_text(combiner: Combiner, address: str, tmp_path: Path) -> None:
    stream, socket = Stream(), Path(address.removeprefix("ipc://"))
    addresses: list[str | Path] = [address, Path(address), socket]
    directories: list[str | Path] = [tmp_path, str(tmp_path)]
    for window, given in enumerate(addresses):
        for directory in directories:
            with subscribe(given, shm_dir=directory, keys=directory) as subscription:
                combiner.wait_for_subscriber()
                combiner.send(*stream.whole(2 * window + isinstance(directory, str)))
                assert next_pair(subscription)


def test_long_work_is_told_to_the_launcher(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    monkeypatch.setenv(DESCRIPTOR_VARIABLE, str(writer))
    with subscribe(address) as subscription, os.fdopen(reader) as told, os.fdopen(writer):
        with subscription.busy(300):
            assert [told.readline() for _ in range(2)] == ["busy 300.000\n", "beat\n"]
        assert told.readline() == "busy 0.000\n"
        for bad in (0, -1, float("nan"), float("inf")):
            with (
                pytest.raises(ValueError, match="say for how many seconds"),
                subscription.busy(bad),
            ):
                pass


def test_closing_is_idempotent_and_ends_the_iteration(combiner: Combiner, address: str) -> None:
    stream = Stream()
    subscription = subscribe(address)
    combiner.wait_for_subscriber()
    combiner.send(*stream.whole(0), *stream.whole(1))
    pair = next_pair(subscription)
    until(lambda: subscription.stats().queued)
    for _ in range(2):
        subscription.close()
        assert subscription.ended
        assert list(subscription) == []
    check(pair)
    assert not receiving_threads()


def test_another_thread_may_close_it_while_one_waits(combiner: Combiner, address: str) -> None:
    subscription = subscribe(address)
    thread = when_waited_for(subscription, subscription.close)
    assert list(subscription) == []
    thread.join()


def test_breaking_out_of_the_loop_closes_everything(combiner: Combiner, address: str) -> None:
    stream = Stream()
    thread = in_a_thread(combiner.wait_for_subscriber, lambda: combiner.send(*stream.whole(0)))
    for pair in subscribe(address):
        check(pair)
        break
    thread.join()
    assert not receiving_threads()
    check(pair)


def test_memory_goes_with_the_subscription_and_its_pairs(combiner: Combiner, address: str) -> None:
    stream = Stream(shape=LARGE)
    with subscribe(address) as subscription:
        combiner.wait_for_subscriber()
        combiner.send(*stream.whole(0))
        pair: Pair | None = next_pair(subscription)
    gc.collect()
    assert "memfd:framepair" in Path("/proc/self/maps").read_text()
    del pair
    gc.collect()
    assert "memfd:framepair" not in Path("/proc/self/maps").read_text()
