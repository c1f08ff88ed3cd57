"""JPEG files in a consumer: what a damaged one costs, and the threads that decode."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from msgspec.structs import replace

from framepair import subscribe
from framepair.nodes.sink.ledger import Ledger
from framepair.protocol.client.assembly import Assembly
from framepair.protocol.client.clip import Pair
from framepair.protocol.client.decoders import FRAMES_PER_THREAD, Decoders
from framepair.protocol.memory import jpeg
from framepair.protocol.wire import published
from framepair.protocol.wire.frame import FrameHeader
from tests.lib.pictures import picture
from tests.lib.processes import PATIENCE_S
from tests.lib.publisher import Combiner
from tests.lib.stream import Stream

QUALITY = 95


GOOD = jpeg.encode(picture((48, 64, 3)), QUALITY, "bgr8")


def send(node: Combiner, header: FrameHeader, file: bytes) -> None:
    header = replace(header, payload="jpeg", packed_bytes=len(file))
    node.send_raw(published.frame_topic(header.source), header.encode(), file)


def test_a_damaged_file_costs_one_frame(combiner: Combiner, address: str) -> None:
    stream = Stream(["left", "right"], fps=4, shape=(48, 64, 3))
    with subscribe(address, keep=10) as pairs:
        combiner.wait_for_subscriber()
        for window in range(4):
            for header in stream.window(window):
                damaged = (header.source, header.seq) == ("left", 5)
                send(combiner, header, GOOD[:-30] if damaged else GOOD)
            combiner.send(stream.pair(window))
        combiner.send(stream.end())
        found: list[Pair] = [pair.copy() for pair in pairs]
        assert [pair.index for pair in found] == [0, 1, 2, 3]
        assert [pair.complete for pair in found] == [True, False, True, True]
        assert found[1]["left"].seq.tolist() == [4, 6, 7]
        assert found[1]["left"].gaps == 1
        assert [(span.first, span.count) for span in found[1]["left"].header.spans] == [
            (4, 1),
            (6, 2),
        ]
        assert found[1]["left"].images[1].shape == (48, 64, 3)
        assert found[1]["right"].seq.tolist() == [4, 5, 6, 7]
        stats = pairs.stats()
        assert (stats.rejected, stats.lost_pairs) == (1, 0)
        assert stats.damaged_frames == {"left": 1}
        accounts = Ledger().accounts(stats)
        delivered = sum(len(pair["left"]) for pair in found)
        assert accounts["left"].captured == delivered + accounts["left"].dropped["corrupt"]
    assert not [t for t in threading.enumerate() if t.name.startswith("framepair-decoder")]


def test_a_slot_is_not_used_again_while_somebody_still_decodes_into_it() -> None:
    stream = Stream(["left"], fps=1)
    assembly = Assembly(keep=1, max_bytes=10**9)
    slow = stream.frame("left", 0)
    filling = assembly.reserve(slow)
    # Its pair is announced without it, which is the end of its window.
    assembly.add_pair(stream.pair(0), ready_ns=0)
    for window in range(1, 20):
        header = stream.frame("left", window)
        other = assembly.reserve(header)
        assert not np.shares_memory(other.image, filling.image)
        assembly.add_frame(header, other, ready_ns=0)
        assembly.add_pair(stream.pair(window), ready_ns=0)
    assembly.add_frame(slow, filling, ready_ns=0)
    # Now it is.
    reused = False
    for window in range(20, 40):
        header = stream.frame("left", window)
        other = assembly.reserve(header)
        reused = reused or np.shares_memory(other.image, filling.image)
        assembly.add_frame(header, other, ready_ns=0)
        assembly.add_pair(stream.pair(window), ready_ns=0)
    assert reused


def test_a_few_tasks_at_a_time_are_under_way() -> None:
    decoders, gate, done = Decoders(), threading.Event(), []
    most = decoders._threads * FRAMES_PER_THREAD

    def task() -> None:
        assert gate.wait(PATIENCE_S)
        done.append(1)

    for _ in range(most):
        decoders.submit(task)
    more = threading.Thread(target=decoders.submit, args=(task,))
    more.start()
    assert not done
    assert more.is_alive()
    gate.set()
    more.join(PATIENCE_S)
    decoders.drain()
    assert len(done) == most + 1
    decoders.close()


def test_what_a_task_raises_reaches_who_waits_for_it() -> None:
    decoders = Decoders()
    decoders.submit(lambda: 1 // 0)  # type: ignore[arg-type]
    with pytest.raises(ZeroDivisionError):
        decoders.drain()
    decoders.close()
