"""The producer's way out: frames become messages; what cannot be sent is counted."""

from __future__ import annotations

import logging
import time

import zmq

from framepair.nodes.common.runtime import Stop
from framepair.nodes.producer.flow import Link
from framepair.nodes.producer.sources.source import Format, FrameLost
from framepair.nodes.producer.stamps import Stamp
from framepair.protocol.clocks import clock
from framepair.protocol.memory.payload import Packed
from framepair.protocol.transport import sockets
from framepair.protocol.transport.heartbeat import Heartbeat
from framepair.protocol.transport.rate_limited_log import RateLimitedLog
from framepair.protocol.wire.frame import EndReason, FrameHeader, Pace, SourceEnd

log = logging.getLogger(__name__)

END_TIMEOUT_S = 1.0

# A connection takes some milliseconds; frames captured meanwhile could only be dropped.
CONNECT_TIMEOUT_S = 1.0
POLL_MS = 50


class Outbox:
    """Sends one source's frames. In real time nothing waits: a frame that cannot go at once is dropped."""

    def __init__(
        self,
        push: zmq.Socket[bytes],
        source: str,
        *,
        run: int,
        pace: Pace,
        total: int,
        stop: Stop,
        heartbeat: Heartbeat,
        link: Link | None = None,
    ) -> None:
        self._push = push
        self._source = source
        self._pace = pace
        self._total = total
        self._stop = stop
        self._heartbeat = heartbeat
        self._link = link
        self._run = run
        self.seq = 0
        self.dropped = 0
        self._peer_log = RateLimitedLog(log)

    def wait_for_combiner(self) -> None:
        """Wait until the combiner is connected, but not for long: it may be started later."""
        until_s = time.monotonic() + CONNECT_TIMEOUT_S
        while time.monotonic() < until_s and not self._stop.is_set():
            self._heartbeat.beat()
            if self._push.poll(POLL_MS, zmq.POLLOUT) and self._knows_clock():
                return

    def offset_ns(self) -> int | None:
        """Return how far the combiner's clock is ahead of this one; None if it is the same, or not known."""
        offset = self._link.offset(clock.now_ns()) if self._link else None
        return offset.ns if offset else None

    def has_room(self) -> bool:
        """Tell whether a frame would be there in time if it was sent now."""
        return self._link is None or self._link.has_room()

    def drop(self) -> None:
        """Count a frame that was captured but is not sent."""
        self.seq += 1
        self.dropped += 1

    def send(self, frame: Packed, stamp: Stamp, source_format: Format, reopened: int = 0) -> None:
        """Send a frame without copying it; its source was opened again ``reopened`` times."""
        offset = self._link.offset(stamp.captured_ns) if self._link else None
        header = FrameHeader(
            source=self._source,
            run=self._run,
            seq=self.seq,
            captured_ns=stamp.captured_ns,
            next_ns=stamp.next_ns,
            sent_ns=clock.now_ns(),
            shape=source_format.shape,
            encoding=source_format.encoding,
            payload=frame.payload,
            location=frame.location,
            packed_bytes=frame.packed_bytes,
            fps=source_format.fps,
            dropped=self.dropped,
            pace=self._pace,
            total=self._total,
            reopened=reopened,
            offset_ns=offset.ns if offset else None,
            uncertainty_ns=offset.uncertainty_ns if offset else None,
        )
        self.seq += 1
        if not self._try([header.encode(), frame.data]):
            self.dropped += 1
        elif self._link:
            self._link.sent(header.seq)

    def skip(self, error: FrameLost) -> None:
        """Count a frame that was captured but could not be decoded."""
        self._peer_log.warn("decode", str(error))
        self.drop()

    def end(self, reason: EndReason) -> None:
        """Say that this was all. With pace max, wait until it was handed on, behind all the frames."""
        end = SourceEnd(self._source, self._run, self.seq, self.dropped, reason)
        tracker = None
        while tracker is None:
            tracker = sockets.send_tracked(self._push, [end.encode()], END_TIMEOUT_S)
            if tracker is None:
                self._heartbeat.beat()
                if self._pace == "realtime" or self._stop.is_set():
                    return
        while self._pace == "max" and not tracker.done and not self._stop.is_set():
            self._stop.wait(0.05)

    def _knows_clock(self) -> bool:
        return self._link is None or self._link.wait(POLL_MS / 1000)

    def _try(self, message: list[bytes | memoryview]) -> bool:
        """Send ``message`` at once or, with pace max, as soon as there is room."""
        # Without pixels, copying is faster than handing memory over.
        no_pixels = not len(message[1])
        while True:
            try:
                self._push.send_multipart(message, copy=no_pixels)
            except zmq.Again:
                self._heartbeat.beat()
                if self._pace == "realtime" or self._stop.is_set():
                    return False
            else:
                return True
