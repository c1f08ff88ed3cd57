"""What browsers get of a combiner's frames: while one looks, of one instant, and no more than they draw."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging
import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from logging.handlers import QueueHandler
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np
import pytest
import simplejpeg
import zmq
from msgspec.structs import replace
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from framepair.nodes.monitor import pictures, server
from framepair.nodes.monitor.pictures import MAX_IN_FLIGHT, FrameQueue, Pictures, Viewer
from framepair.nodes.producer.sources import pattern
from framepair.protocol.client.selection import Selection
from framepair.protocol.memory.payload import Place
from framepair.protocol.memory.shm import Shm
from framepair.protocol.wire import published
from framepair.protocol.wire.frame import FrameHeader, decode
from framepair.protocol.wire.pair import PairHeader, Span
from tests.lib.headers import FRAME
from tests.lib.processes import PATIENCE_S
from tests.lib.publisher import Combiner, combiner_at
from tests.lib.served import connected, served
from tests.lib.shm import mapped, own_directory, until
from tests.lib.stream import Stream, pixels

TOPICS = Selection(pairs=False).topics()
SHAPE = (90, 160, 3)
PERIOD_NS, WINDOW_NS = 100_000_000, 1_000_000_000


@dataclass
class Served:
    """A server, the combiner that it gets frames from, and how far those have come."""

    port: int
    combiner: Combiner
    sent: int = 0

    @contextlib.contextmanager
    def look(self, width: int | None = 160) -> Iterator[ClientConnection]:
        with connect(f"ws://127.0.0.1:{self.port}/pictures", max_size=2**20) as client:
            if width is not None:
                client.send(json.dumps({"width": width}))
            yield client

    def send(self, *sources: str, apart_ns: int = 0) -> None:
        """Publish the next frame of each source, each ``apart_ns`` after the one before."""
        self.sent += 1
        for number, source in enumerate(sources):
            self.combiner.send_raw(*message(source, self.sent, number * apart_ns))

    def send_until(self, client: ClientConnection, *sources: str, apart_ns: int = 0) -> str | bytes:
        """Publish frames, at their own rate, until one is shown to a client; return that message."""
        for _ in range(round(PATIENCE_S * 10)):
            self.send(*sources, apart_ns=apart_ns)
            with contextlib.suppress(TimeoutError):
                return client.recv(0.1)
        raise AssertionError("no picture came")

    def send_until_logged(self, said: SimpleQueue[logging.LogRecord]) -> str:
        """Publish frames of a source, at their own rate, until something is logged; return that."""
        for _ in range(round(PATIENCE_S * 10)):
            self.send("left")
            with contextlib.suppress(Empty):
                return said.get(timeout=0.1).getMessage()
        raise AssertionError("nothing was logged")


def message(source: str, seq: int, after_ns: int) -> list[bytes]:
    captured_ns = 10**18 + seq * PERIOD_NS + after_ns
    header = replace(
        FRAME,
        source=source,
        seq=seq,
        captured_ns=captured_ns,
        next_ns=captured_ns,
        shape=SHAPE,
        fps=1e9 / PERIOD_NS,
        dropped=0,
        stamp="media",
        stamp_uncertainty_ns=2_000_000,
        uncertainty_ns=500_000,
    ).accepted(captured_ns // WINDOW_NS, WINDOW_NS, captured_ns)
    image = np.full(SHAPE, 90, np.uint8)
    pattern.stamp(image, source, seq, captured_ns)
    return [published.topic_of(header), header.encode(), image.tobytes()]


def parsed(data: str | bytes) -> tuple[dict[str, Any], list[pattern.Code | None]]:
    """Return what a message says of its pictures, and the code in each of them."""
    assert isinstance(data, bytes)
    (length,) = struct.unpack_from(">I", data)
    told, begin = json.loads(data[4 : 4 + length]), 4 + length
    codes = []
    for picture in told["pictures"]:
        file = data[begin : begin + picture["bytes"]]
        codes.append(pattern.read(simplejpeg.decode_jpeg(file)))
        begin += picture["bytes"]
    assert begin == len(data)
    return told, codes


@pytest.fixture
def watched(directory: Path) -> Iterator[Served]:
    address = f"ipc://{directory}/pairs"
    pictures = Pictures(address, directory)
    with (
        combiner_at(address) as combiner,
        contextlib.closing(pictures),
        served(pictures=pictures) as port,
    ):
        yield Served(port, combiner)


def test_pictures_are_those_of_one_instant_and_say_which_frames_they_are(watched: Served) -> None:
    with watched.look() as client:
        watched.combiner.wait_for_subscriber(TOPICS)
        # The first one may have come before the other source was known.
        watched.send_until(client, "left", "right", apart_ns=3_000_000)
        client.send('{"drawn": true}')
        told, codes = parsed(watched.send_until(client, "left", "right", apart_ns=3_000_000))
    left, right = told["pictures"]
    assert (left["source"], right["source"]) == ("left", "right")
    assert told["spread_ms"] == 3.0
    # As text: a browser's numbers can't hold them.
    assert int(right["captured_ns"]) - int(left["captured_ns"]) == 3_000_000
    assert told["at_ns"] in (left["captured_ns"], right["captured_ns"])
    for picture, code in zip(told["pictures"], codes, strict=True):
        crc = pattern.source_crc(picture["source"])
        assert code == pattern.Code(crc, int(picture["seq"]), int(picture["captured_ns"]))
        assert (picture["width"], picture["height"]) == (160, 90)
        assert (picture["stamp"], picture["uncertainty_ms"]) == ("media", 2.5)


@pytest.mark.parametrize("overwritten", [False, True])
def test_a_frame_in_shared_memory_is_shown_unless_it_was_overwritten(
    watched: Served, directory: Path, overwritten: bool
) -> None:
    writer = Shm().writer(Place("left", FRAME.run, 10, 0.5, directory))
    with contextlib.closing(writer), watched.look() as client:
        watched.combiner.wait_for_subscriber(TOPICS)
        for seq in range(1, round(PATIENCE_S * 10)):
            topic, header, image = message("left", seq, 0)
            writer.reserve(SHAPE)[:] = np.frombuffer(image, np.uint8).reshape(SHAPE)
            packed = writer.pack(seq, "bgr8")
            for _ in range(100 if overwritten else 0):
                writer.reserve(SHAPE)
                writer.pack(seq, "bgr8")
            frame = decode(header)
            assert isinstance(frame, FrameHeader)
            shared = replace(frame, payload="shm", location=packed.location).encode()
            watched.combiner.send_raw(topic, shared, b"")
            with contextlib.suppress(TimeoutError):
                told, codes = parsed(client.recv(0.1))
                break
    shown = [int(picture["captured_ns"]) for picture in told["pictures"]]
    assert [code and code.captured_ns for code in codes] == shown
    assert len(shown) == (0 if overwritten else 1)


def test_the_memory_of_a_source_that_was_removed_is_unmapped() -> None:
    stream = Stream(shape=SHAPE, period_ns=PERIOD_NS)
    with own_directory() as shm, contextlib.ExitStack() as stack:
        queue = FrameQueue(shm, widths=lambda: frozenset({160}), show=lambda _: None)
        places = {name: Place(name, 7, 10, 0.5, shm) for name in stream.sources}
        writers = {
            name: stack.enter_context(contextlib.closing(Shm().writer(place)))
            for name, place in places.items()
        }

        def are_drawn() -> bool:
            for name in stream.sources:
                header = stream.frame(name, 0)
                writers[name].reserve(SHAPE)[:] = pixels(header)
                location = writers[name].pack(header.seq, header.encoding).location
                queue.add((replace(header, payload="shm", location=location), None), None)
            return mapped(shm) == 8

        until(are_drawn)
        stream.sources = ["left"]
        queue.add(stream.pair(0), None)
        assert mapped(shm) == 6


def test_a_browser_that_draws_nothing_gets_one_and_then_the_newest(watched: Served) -> None:
    with watched.look() as slow, watched.look() as quick:
        watched.combiner.wait_for_subscriber(TOPICS)
        for _ in range(5):
            newest = watched.send_until(quick, "left")
            quick.send('{"drawn": true}')
        first = parsed(slow.recv(PATIENCE_S))[0]
        with pytest.raises(TimeoutError):
            slow.recv(0.1)
        slow.send('{"drawn": true}')
        late = parsed(watched.send_until(slow, "left"))[0]
    numbers = [int(each["pictures"][0]["seq"]) for each in (first, parsed(newest)[0], late)]
    # None of those that it missed meanwhile.
    assert numbers == sorted(set(numbers))


def test_frames_are_subscribed_to_only_while_a_browser_looks(
    watched: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("framepair.nodes.monitor.pictures.LINGER_S", 0.0)
    with pytest.raises(zmq.Again):
        watched.combiner._xpub.recv(zmq.NOBLOCK)
    for _ in range(2):
        with watched.look() as client:
            watched.combiner.wait_for_subscriber(TOPICS)
            watched.send_until(client, "left")
        left = {b"\x00" + topic for topic in TOPICS}
        while left:
            left.discard(watched.combiner._xpub.recv())


def test_frames_that_end_a_window_are_left_to_those_who_wait_for_pairs(watched: Served) -> None:
    with watched.look() as client:
        watched.combiner.wait_for_subscriber(TOPICS)
        watched.send_until(client, "left")
        # After a frame in real time, it hears of pairs.
        watched.combiner.wait_for_subscriber([published.PAIR])
        watched.combiner.send(announced(left=25.0, right=25.0))
        watched.combiner.wait_for_subscriber([b"frame.left.+", b"frame.right.+"])
        assert watched.combiner._xpub.recv() == b"\x00frame."
        client.send('{"drawn": true}')
        watched.send_until(client, "left", "right")
        # Of other rates, those that are nearest to an instant may be any.
        watched.combiner.send(announced(left=25.0, right=15.0))
        watched.combiner.wait_for_subscriber([b"frame.left.", b"frame.right."])
        left = {b"\x00frame.left.+", b"\x00frame.right.+"}
        while left:
            left.discard(watched.combiner._xpub.recv())
        watched.combiner.send(announced(right=15.0))
        assert watched.combiner._xpub.recv() == b"\x01frame.right.+"


def test_without_enough_frames_of_each_source_all_are_wanted() -> None:
    assert pictures.picture_topics(announced(left=10.0)) == [b"frame.left.+"]
    assert pictures.picture_topics(announced(left=9.0)) == [b"frame.left."]
    # One that delivers nothing, or less than it says.
    pair = announced(left=25.0, right=25.0)
    slow = replace(pair.clips["right"], spans=(Span(1, 0, 2),))
    pair = replace(pair, clips={**pair.clips, "right": slow})
    assert pictures.picture_topics(pair) == [b"frame.left.", b"frame.right."]


def test_others_do_not_wait_for_a_source_that_no_pair_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.monotonic_ns", itertools.count(0, PERIOD_NS).__next__)
    shown: list[object] = []
    with own_directory() as shm:
        queue = FrameQueue(shm, widths=lambda: frozenset({160}), show=shown.append)
        queue.add(announced(left=10.0), None)
        for source, seq in (("right", 1), ("right", 2), *(("left", seq) for seq in range(2, 8))):
            parts = [memoryview(part) for part in message(source, seq, 0)]
            queue.add(published.decode(parts), None)
    assert shown


def announced(**rates: float) -> PairHeader:
    """Return a pair of a second, with as many frames of each source as its rate says."""
    pair = Stream(list(rates)).pair(0)
    clips = {
        name: replace(clip, fps=fps, spans=(Span(1, 0, round(fps)),))
        for (name, fps), clip in zip(rates.items(), pair.clips.values(), strict=True)
    }
    return replace(pair, clips=clips)


@pytest.mark.parametrize(
    ("fps", "after_ms", "begins"),
    [
        (25, 0, False),
        (25, 20, True),
        (25, 500, True),
        (25, 919, True),
        (25, 960, False),
    ],
)
def test_a_picture_begins_where_no_other_source_has_a_last_frame(
    fps: int, after_ms: int, begins: bool
) -> None:
    at_ns = 3 * 10**9 + after_ms * 10**6
    header = replace(FRAME, fps=fps, captured_ns=at_ns, next_ns=at_ns, window=3, window_ns=10**9)
    assert pictures.is_amid(header) == begins


@pytest.mark.skipif(sys.platform != "linux", reason="threads have a niceness of their own on Linux")
def test_what_receives_and_draws_gives_way_to_all_others(watched: Served) -> None:
    others = niceness_of_threads()
    with watched.look() as client:
        watched.combiner.wait_for_subscriber(TOPICS)
        watched.send_until(client, "left")
        during = niceness_of_threads()
    assert all(during.get(thread, nice) == nice for thread, nice in others.items())
    # One receives and draws; its context has a thread for sockets, and one that ends them.
    new = [during[thread] for thread in during.keys() - others.keys()]
    assert new.count(max(pictures.NICENESS, os.getpriority(os.PRIO_PROCESS, 0))) >= 3


def niceness_of_threads() -> dict[int, int]:
    """Return the niceness of each thread of this process."""
    found = {}
    for thread in Path("/proc/self/task").iterdir():
        with contextlib.suppress(ProcessLookupError):
            found[int(thread.name)] = os.getpriority(os.PRIO_PROCESS, int(thread.name))
    return found


def test_a_browser_that_holds_gets_nothing_until_it_goes_on(watched: Served) -> None:
    with watched.look() as client:
        watched.combiner.wait_for_subscriber(TOPICS)
        watched.send_until(client, "left")
        client.send('{"drawn": true, "width": 0}')
        client.ping().wait(PATIENCE_S)
        with contextlib.suppress(TimeoutError):
            # What was drawn by then.
            client.recv(0.2)
        for _ in range(5):
            watched.send("left")
            with pytest.raises(TimeoutError):
                client.recv(0.1)
        client.send('{"drawn": true, "width": 160}')
        assert watched.send_until(client, "left")


@pytest.mark.parametrize(
    "said",
    ["", "{", "[]", '{"width": -1}', '{"width": 1e9}', '{"other": 1}', '{"drawn": 1}', b"\xff"],
)
def test_a_browser_that_makes_no_sense_is_dismissed(watched: Served, said: str | bytes) -> None:
    with watched.look(width=None) as client:
        client.send(said)
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(PATIENCE_S)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1008


def test_a_message_that_is_too_large_ends_the_connection(watched: Served) -> None:
    with watched.look() as client:
        client.send("x" * 2000)
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(PATIENCE_S)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1009


def test_more_browsers_than_there_may_be_are_told_to_come_again(
    watched: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "MAX_VIEWERS", 2)
    with contextlib.ExitStack() as stack:
        first, _ = (stack.enter_context(watched.look()) for _ in range(2))
        watched.combiner.wait_for_subscriber(TOPICS)
        with watched.look(width=None) as third, pytest.raises(ConnectionClosed) as closed:
            third.recv(PATIENCE_S)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1013
        assert watched.send_until(first, "left")


def test_a_browser_that_does_not_draw_what_it_got_is_dismissed(
    watched: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "ACKNOWLEDGE_S", 0.3)
    with watched.look() as client:
        watched.combiner.wait_for_subscriber(TOPICS)
        watched.send_until(client, "left")
        with pytest.raises(ConnectionClosed):
            client.recv(PATIENCE_S)


def test_damaged_frames_and_lost_rings_show_nothing_and_end_nothing(watched: Served) -> None:
    with watched.look() as client:
        watched.combiner.wait_for_subscriber(TOPICS)
        topic = published.frame_topic("left")
        torn = replace(FRAME, payload="jpeg", packed_bytes=3, shape=SHAPE)
        for raw in ([b"frame."], [topic, b"x", b"y"], [topic, torn.encode(), b"\xff\xd8\xff"]):
            watched.combiner.send_raw(*raw)
        assert watched.send_until(client, "left")


def test_without_opencv_it_says_so_and_the_next_browser_has_another_try(
    watched: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ImportError("libGL.so.1")

    said: SimpleQueue[logging.LogRecord] = SimpleQueue()
    with monkeypatch.context() as broken, watched.look():
        broken.setattr("framepair.nodes.monitor.drawing.draw", fail)
        broken.setattr(pictures.log, "handlers", [QueueHandler(said)])
        watched.combiner.wait_for_subscriber(TOPICS)
        assert "cannot be loaded (libGL.so.1): install its libraries" in watched.send_until_logged(
            said
        )
    with watched.look() as client:
        assert watched.send_until(client, "left")


def test_other_connections_by_the_thousand_cost_a_browser_nothing(watched: Served) -> None:
    with watched.look() as client, contextlib.ExitStack() as stack:
        watched.combiner.wait_for_subscriber(TOPICS)
        watched.send_until(client, "left")
        client.send('{"drawn": true}')
        for _ in range(5):
            for _ in range(100):
                stack.enter_context(connected(watched.port))
            watched.send_until(client, "left")
            client.send('{"drawn": true}')


def test_a_viewer_asks_for_steps_of_widths_and_for_none_while_it_has_not_drawn() -> None:
    async def look() -> None:
        viewer = Viewer()
        assert viewer.wants == 0
        for shown, wanted in ((1, 160), (160, 160), (161, 320), (5000, 1920), (0, 0), (640, 640)):
            viewer.show(shown)
            assert viewer.wants == wanted
        await send(viewer)
        assert viewer.owes
        viewer.offer(b"2")
        viewer.offer(b"3")
        waiting = asyncio.create_task(viewer.next_message())
        await asyncio.sleep(0)
        assert not waiting.done()
        viewer.acknowledge()
        assert await waiting == b"3"

    asyncio.run(look())


async def send(viewer: Viewer) -> None:
    """Send what it wants until it wants no more."""
    assert viewer.wants == 640
    viewer.offer(b"1")
    assert viewer.wants == 0
    assert await viewer.next_message() == b"1"


def test_a_browser_that_draws_quickly_gets_a_second_picture_and_a_slow_one_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def look() -> None:
        viewer = Viewer()
        viewer.show(640)
        await send(viewer)
        assert viewer.wants == 0
        viewer.acknowledge()
        for _ in range(MAX_IN_FLIGHT):
            await send(viewer)
        assert viewer.wants == 0
        monkeypatch.setattr("framepair.nodes.monitor.pictures.QUICK_S", 0.0)
        viewer.acknowledge()
        assert viewer.wants == 0
        viewer.acknowledge()
        await send(viewer)

    asyncio.run(look())


def test_without_a_browser_opencv_is_not_loaded() -> None:
    program = (
        "import sys, framepair.nodes.monitor.server;"
        "print(sorted({'cv2', 'av', 'simplejpeg'} & sys.modules.keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
