"""The faults that a producer commits itself: wrapped around its source, its stamps and its outbox."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Sequence

import numpy as np
import zmq
from numpy.typing import NDArray

from framepair.nodes.common.fault_spec import Fault
from framepair.nodes.common.runtime import Stop, log
from framepair.nodes.producer.outbox import Outbox
from framepair.nodes.producer.sources.source import Capture, Format
from framepair.nodes.producer.stamps import Stamp, Stamps
from framepair.protocol.clocks import clock
from framepair.protocol.memory.payload import Packed

CRASH_STATUS = 70
GARBAGE: tuple[list[bytes], ...] = (
    [b""],
    [b"\xc1" * 100],
    [b"\x80"],
    [b"no header", b"no pixels"],
    [b"\x81\xa1v\x01", b"x", b"y", b"z"],
)


class FaultyCapture:
    """A source that freezes, crashes or is slow, at the times that ``faults`` say from now on."""

    def __init__(self, source: Capture, faults: Sequence[Fault]) -> None:
        self._source = source
        self._began_s = time.monotonic()
        self._faults = list(faults)

    @property
    def format(self) -> Format:
        """What frames look like; see Capture."""
        return self._source.format

    @property
    def reopened(self) -> int:
        """How often the source was opened again; see Capture."""
        return self._source.reopened

    def grab(self) -> bool:
        """Fail, if it is time to; else wait for the next frame; see Capture."""
        for fault in [fault for fault in self._faults if self._is_due(fault)]:
            if fault.kind == "crash":
                log.warning("crashing, as asked for")
                os._exit(CRASH_STATUS)
            if fault.kind == "freeze":
                self._faults.remove(fault)
                log.warning("freezing for %g s, as asked for", fault.for_s)
            # Nobody is asked whether to go on: this hangs.
            time.sleep(fault.for_s + fault.by_s)
        return self._source.grab()

    def retrieve(self, out: NDArray[np.uint8], seq: int, captured_ns: int) -> NDArray[np.uint8]:
        """Decode the grabbed frame into ``out``; see Capture."""
        return self._source.retrieve(out, seq, captured_ns)

    def close(self) -> None:
        """Let go of the source."""
        self._source.close()

    def _is_due(self, fault: Fault) -> bool:
        in_the_source = fault.kind in ("crash", "freeze", "slow")
        return in_the_source and time.monotonic() >= self._began_s + fault.from_s


class SkewedStamps:
    """Stamps by a clock that is ``skew_ns`` ahead."""

    def __init__(self, stamps: Stamps, skew_ns: int) -> None:
        self._stamps = stamps
        self._skew_ns = skew_ns

    def rest(self, stop: Stop) -> None:
        """Wait until it is time to grab the next frame, or until ``stop``."""
        self._stamps.rest(stop)

    def stamp(self) -> Stamp:
        """Return the stamp of the frame that was just grabbed."""
        return _moved(self._stamps.stamp(), self._skew_ns)

    def wait(self, stamp: Stamp, stop: Stop) -> None:
        """Wait until the frame is due, or until ``stop``."""
        self._stamps.wait(_moved(stamp, -self._skew_ns), stop)


class FaultyOutbox(Outbox):
    """An outbox that drops frames, or sends garbage once among them."""

    share = 0.0
    garbage_s = float("inf")
    _chance = random.Random(1)

    def send(self, frame: Packed, stamp: Stamp, source_format: Format, reopened: int = 0) -> None:
        """Send a frame, or drop it."""
        if time.monotonic() >= self.garbage_s:
            self.garbage_s = float("inf")
            self._send_garbage()
        if self._chance.random() < self.share:
            self.drop()
            return
        super().send(frame, stamp, source_format, reopened)

    def _send_garbage(self) -> None:
        log.warning("sending %d malformed messages, as asked for", len(GARBAGE))
        for message in GARBAGE:
            try:
                self._push.send_multipart(message, zmq.NOBLOCK)
            except zmq.Again:
                return


def stamps_with(stamps: Stamps, faults: Sequence[Fault]) -> Stamps:
    """Return stamps that are as wrong as ``faults`` say."""
    skew_ns = round(sum(fault.by_s for fault in faults if fault.kind == "skew") * 1e9)
    return SkewedStamps(stamps, skew_ns) if skew_ns else stamps


def distort(faults: Sequence[Fault]) -> None:
    """Have this process's clock be as wrong as ``faults`` say, from now on."""
    for fault in [fault for fault in faults if fault.kind == "clock"]:
        since_ns = clock.go_wrong(round(fault.by_s * 1e9), fault.rate)
        log.warning(
            "the clock is %g s ahead and gains %g ppm, as asked for, since %d ns",
            fault.by_s,
            fault.rate * 1e6,
            since_ns,
        )


def spoil(outbox: FaultyOutbox, faults: Sequence[Fault]) -> None:
    """Have ``outbox`` do what ``faults`` say, from now on."""
    now_s = time.monotonic()
    for fault in faults:
        if fault.kind == "drop":
            outbox.share = max(outbox.share, fault.share)
        if fault.kind == "garbage":
            outbox.garbage_s = min(outbox.garbage_s, now_s + fault.from_s)


def _moved(stamp: Stamp, by_ns: int) -> Stamp:
    return Stamp(stamp.captured_ns + by_ns, stamp.next_ns + by_ns)
