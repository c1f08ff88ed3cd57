"""A pipeline of real processes for tests, and a look at the pixels that come out of it."""

from __future__ import annotations

import contextlib
import functools
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

from framepair import Pair
from framepair.nodes.producer.sources import pattern
from framepair.protocol.transport.endpoints import Endpoints, ipc_endpoints, tcp_endpoints
from framepair.protocol.wire.frame import FrameHeader
from framepair.protocol.wire.reasons import PRODUCER_DROPPED
from tests.lib.processes import Running, python

# Short windows make short tests; the rules are the same.
WINDOW_S = 0.2
WINDOW_NS = 200_000_000
# A source that costs a busy machine little, and what a sink says of its whole pairs, left and right.
SOURCE = "synthetic://160x120@25"
WHOLE = r"left 5/5 +right 5/5"
# Where each frame has to come: a busy machine pauses a process for longer than queues and pairs usually last.
PATIENT = ("--max-bytes", str(64 * 2**20), "--max-wait", "20")
# And starts their producers, one after another, for longer than a combiner waits for all of them.
ALL_COME = ("--start-timeout", "60")
PATIENT_COMBINER = (*PATIENT, *ALL_COME, "--idle-timeout", "20")
# So many are for one process of tests.
PORTS = 500


class Pipeline(contextlib.ExitStack):
    """Starts nodes by hand, on addresses of its own; kills what is left of them at the end."""

    def __init__(
        self, sources: list[str], transport: str = "ipc", window_s: float = WINDOW_S
    ) -> None:
        super().__init__()
        self.run_dir = Path(tempfile.mkdtemp(prefix="fp-"))
        self.callback(shutil.rmtree, self.run_dir, ignore_errors=True)
        self.sources = sources
        self.window_s = window_s
        self.endpoints = self._endpoints(transport)

    @property
    def pub(self) -> str:
        """Where pairs are published."""
        return self.endpoints.pub

    def producer(self, name: str, uri: str, *flags: str) -> Running:
        """Start a producer and wait until it is ready."""
        node = self.start(
            "producer", "--name", name, "--source", uri, "--push", self.endpoints.pull[name],
            "--window", str(self.window_s), *flags,
        )  # fmt: skip
        node.wait_for("READY")
        return node

    def combiner(self, *flags: str) -> Running:
        """Start a combiner of all sources and wait until it is ready."""
        pulls = [f"--pull={name}={self.endpoints.pull[name]}" for name in self.sources]
        node = self.start(
            "combiner", *pulls, "--pub", self.pub, "--window", str(self.window_s), *flags
        )
        node.wait_for("READY")
        return node

    def sink(self, *flags: str) -> Running:
        """Start a sink and wait until it is ready."""
        node = self.start("sink", "--sub", self.pub, *flags)
        node.wait_for("READY")
        return node

    def start(self, node: str, *flags: str) -> Running:
        """Start a node."""
        return self.enter_context(Running(python("-m", f"framepair.nodes.{node}", *flags)))

    def _endpoints(self, transport: str) -> Endpoints:
        if transport == "ipc":
            return ipc_endpoints(self.run_dir, self.sources)
        return tcp_endpoints(f"tcp://127.0.0.1:{free_ports(2 + len(self.sources))}", self.sources)


def more(sink: Running, pairs: int = 2) -> None:
    """Wait for so many whole pairs more."""
    sink.wait_for(WHOLE, count=sum("left 5/5  right 5/5" in line for line in sink.stdout) + pairs)


def free_ports(count: int) -> int:
    """Return the first of ``count`` ports in a row that nobody listens on."""
    begin = _own_ports()
    for first in range(begin, begin + PORTS - 1 - count, count + 7):
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            for port in range(first, first + count):
                stack.enter_context(contextlib.closing(socket.socket())).bind(("127.0.0.1", port))
            return first
    raise AssertionError("no free ports")


@functools.cache
def _own_ports() -> int:
    """Return the first of some ports that no other process of tests looks at, of this run or another one."""
    # Below those that the kernel gives to outgoing connections.
    for begin in range(15000, 31000, PORTS):
        mark = socket.socket()
        try:
            mark.bind(("127.0.0.1", begin))
        except OSError:
            mark.close()
        else:
            # Open until this process ends.
            mark.detach()
            return begin + 1
    raise AssertionError("no free ports")


def stamped_ns(header: FrameHeader) -> int:
    """Return when the frame was captured by the producer's own clock."""
    return header.captured_ns - (header.offset_ns or 0)


def check(pair: Pair, window_ns: int = WINDOW_NS) -> None:
    """Read every frame's pixels: right source, right order, right window, and what the header says."""
    for source in pair:
        clip = pair[source]
        last_ns = -1
        for i, header in enumerate(clip.frames):
            stamp = pattern.read(clip.bgr(i))
            assert stamp is not None, f"{source}: no code in frame {i} of pair {pair.index}"
            assert stamp == pattern.Code(pattern.source_crc(source), header.seq, stamped_ns(header))
            assert header.source == source
            assert header.captured_ns // window_ns == pair.index
            assert header.captured_ns > last_ns
            last_ns = header.captured_ns
        if pair.complete and len({image.shape for image in clip.images}) == 1:
            assert len(clip.array) == len(clip.frames)


class Unsent:
    """Tells whether the pairs of one stream, in order, lack no frame but those that a producer did not send.

    A producer that asks for the time sends no frame while the combiner, on a busy machine, answers nothing; and
    counts it.
    """

    def __init__(self) -> None:
        self._counts = [0]

    def add_pair(self, pair: Pair) -> None:
        """Check the next pair; raises AssertionError if it lacks any other frame."""
        totals = [clip.header.totals for clip in pair.values()]
        self._counts.append(sum(each.dropped.get(PRODUCER_DROPPED, 0) for each in totals))
        # A hole at a window's border is counted with the one before it.
        assert pair.complete or self._counts[-1] > self._counts[-3:][0], totals


def checked(pairs: Iterator[Pair], window_ns: int = WINDOW_NS) -> Iterator[Pair]:
    """Yield pairs, each of them checked."""
    for pair in pairs:
        check(pair, window_ns)
        yield pair
