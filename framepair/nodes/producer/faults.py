"""The faults that a producer commits itself: wrapped around its clock, source, stamps and outbox."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import zmq
from numpy.typing import NDArray

from framepair.nodes.common.fault_spec import Fault, of_source
from framepair.nodes.common.runtime import Stop, log
from framepair.nodes.producer.flow import Link
from framepair.nodes.producer.options import Options
from framepair.nodes.producer.outbox import Origin, Outbox
from framepair.nodes.producer.parts import Parts
from framepair.nodes.producer.sources.source import Capture, Format, Position
from framepair.nodes.producer.stamps import Stamp, Stamps
from framepair.protocol.clocks import clock
from framepair.protocol.clocks.clock import Clock
from framepair.protocol.transport.heartbeat import Heartbeat

CRASH_STATUS = 70
GARBAGE: tuple[list[bytes], ...] = (
    [b""],
    [b"\xc1" * 100],
    [b"\x80"],
    [b"no header", b"no pixels"],
    [b"\x81\xa1v\x01", b"x", b"y", b"z"],
)


class FaultyCapture:
    """A source that freezes, crashes or is slow when ``faults`` say so, counted from the first grab on."""

    def __init__(self, source: Capture, faults: Sequence[Fault]) -> None:
        self._source = source
        self._began_s: float | None = None
        self._faults = [fault for fault in faults if fault.kind in ("crash", "freeze", "slow")]

    @property
    def format(self) -> Format:
        """What frames look like; see Capture."""
        return self._source.format

    @property
    def reopened(self) -> int:
        """How often the source was opened again; see Capture."""
        return self._source.reopened

    @property
    def skipped(self) -> int:
        """How many frames were left out, as wanted; see Capture."""
        return self._source.skipped

    @property
    def position(self) -> Position | None:
        """Where in the video the grabbed frame is; see Capture."""
        return self._source.position

    def grab(self) -> bool:
        """Fail, if it is time to; else wait for the next frame; see Capture."""
        now_s = time.monotonic()
        self._began_s = now_s if self._began_s is None else self._began_s
        running_s = now_s - self._began_s
        for fault in [fault for fault in self._faults if running_s >= fault.from_s]:
            if fault.kind == "crash":
                log.warning("crashing, as asked for")
                os._exit(CRASH_STATUS)
            if fault.kind == "freeze":
                self._faults.remove(fault)
                log.warning("freezing for %g s, as asked for", fault.for_s)
            # Without a look at whether to stop: a source that hangs does not, either.
            time.sleep(fault.for_s + fault.by_s)
        return self._source.grab()

    def retrieve(self, out: NDArray[np.uint8], seq: int, captured_ns: int) -> NDArray[np.uint8]:
        """Decode the grabbed frame into ``out``; see Capture."""
        return self._source.retrieve(out, seq, captured_ns)

    def close(self) -> None:
        """Let go of the source."""
        self._source.close()


class SkewedStamps:
    """Stamps by a clock that is ``skew_ns`` ahead."""

    def __init__(self, stamps: Stamps, skew_ns: int) -> None:
        self._stamps = stamps
        self._skew_ns = skew_ns

    def rest(self, stop: Stop) -> None:
        """Wait until it is time to grab the next frame, or until ``stop``."""
        self._stamps.rest(stop)

    def stamp(self, position: Position | None) -> Stamp:
        """Return the stamp of the frame that was just grabbed."""
        return _moved(self._stamps.stamp(position), self._skew_ns)

    def wait(self, stamp: Stamp, stop: Stop) -> None:
        """Wait until the frame is due, or until ``stop``."""
        self._stamps.wait(_moved(stamp, -self._skew_ns), stop)

    def earliest_ns(self) -> int:
        """Return the earliest stamp that the next frame can bear."""
        return self._stamps.earliest_ns() + self._skew_ns

    def of_position(self, at_ns: int) -> int:
        """Return the stamp of a frame at ``at_ns`` within the video."""
        return self._stamps.of_position(at_ns) + self._skew_ns

    def wait_until(self, at_ns: int, stop: Stop) -> None:
        """Wait until frames that are stamped ``at_ns`` are due, or until ``stop``."""
        self._stamps.wait_until(at_ns - self._skew_ns, stop)


class FaultyOutbox(Outbox):
    """An outbox that drops frames, or sends garbage once among them; times count from the first frame on."""

    def __init__(
        self,
        faults: Sequence[Fault],
        push: zmq.Socket[bytes],
        origin: Origin,
        *,
        stop: Stop,
        heartbeat: Heartbeat,
        now_ns: Clock,
        link: Link | None,
    ) -> None:
        super().__init__(push, origin, stop=stop, heartbeat=heartbeat, now_ns=now_ns, link=link)
        self._garbage_push = push
        self._share = max((fault.share for fault in faults if fault.kind == "drop"), default=0.0)
        self._garbage_s = [fault.from_s for fault in faults if fault.kind == "garbage"]
        self._began_s: float | None = None
        self._chance = random.Random(1)

    def has_room(self) -> bool:
        """Return False for the share of frames to drop; send garbage when it is time to."""
        now_s = time.monotonic()
        self._began_s = now_s if self._began_s is None else self._began_s
        for from_s in [from_s for from_s in self._garbage_s if now_s >= self._began_s + from_s]:
            self._garbage_s.remove(from_s)
            self._send_garbage()
        return self._chance.random() >= self._share and super().has_room()

    def _send_garbage(self) -> None:
        log.warning("sending %d malformed messages, as asked for", len(GARBAGE))
        for message in GARBAGE:
            try:
                self._garbage_push.send_multipart(message, zmq.NOBLOCK)
            except zmq.Again:
                return


class WrongClock:
    """A clock that is ``ahead_ns`` ahead and gains ``rate`` seconds a second, from when it is made on."""

    def __init__(self, ahead_ns: int, rate: float) -> None:
        self._ahead_ns, self._rate = ahead_ns, rate
        self._since_ns = clock.now_ns()
        log.warning(
            "the clock is %g s ahead and gains %g ppm, as asked for, since %d ns",
            ahead_ns / 1e9,
            rate * 1e6,
            self._since_ns,
        )

    def __call__(self) -> int:
        """Return the wrong time."""
        right_ns = clock.now_ns()
        return right_ns + self._ahead_ns + round(self._rate * (right_ns - self._since_ns))


class FaultyParts(Parts):
    """The parts of a producer that does what ``--fault`` says: each part of the normal ones is wrapped."""

    def __init__(self, options: Options, stop: Stop, heartbeat: Heartbeat) -> None:
        self._faults = of_source(options.name, options.fault)
        super().__init__(options, stop, heartbeat)

    def clock(self) -> Clock:
        """Return what tells a wrong time."""
        wrong = [fault for fault in self._faults if fault.kind == "clock"]
        if not wrong:
            return super().clock()
        return WrongClock(round(wrong[-1].by_s * 1e9), wrong[-1].rate)

    def source(self) -> Capture:
        """Open the source, which freezes, crashes or is slow."""
        return FaultyCapture(super().source(), self._faults)

    def stamps(self, source_format: Format, offset_ns: int | None) -> Stamps:
        """Return the rule for stamps, which are skewed."""
        skew_ns = round(sum(fault.by_s for fault in self._faults if fault.kind == "skew") * 1e9)
        return SkewedStamps(super().stamps(source_format, offset_ns), skew_ns)

    def _outbox(self, push: zmq.Socket[bytes], origin: Origin, link: Link | None) -> Outbox:
        return FaultyOutbox(
            self._faults,
            push,
            origin,
            stop=self._stop,
            heartbeat=self._heartbeat,
            now_ns=self._now_ns,
            link=link,
        )


def _moved(stamp: Stamp, by_ns: int) -> Stamp:
    return replace(stamp, captured_ns=stamp.captured_ns + by_ns, next_ns=stamp.next_ns + by_ns)
