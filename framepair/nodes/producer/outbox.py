"""The producer's way out: frames become messages; what cannot be sent is counted."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from dataclasses import dataclass, replace

import zmq

from framepair.nodes.common.runtime import Stop
from framepair.nodes.producer.flow import Link
from framepair.nodes.producer.sources.source import (
    Format,
    FrameLost,
    FrameName,
    Position,
    Retold,
)
from framepair.nodes.producer.stamps import Stamp, Stamps
from framepair.protocol.clocks import clock
from framepair.protocol.clocks.clock import Clock
from framepair.protocol.memory.payload import Packed
from framepair.protocol.transport import sockets
from framepair.protocol.transport.heartbeat import Heartbeat
from framepair.protocol.transport.rate_limited_log import RateLimitedLog
from framepair.protocol.transport.unread import unread_bytes
from framepair.protocol.wire.frame import (
    Alive,
    EndReason,
    FrameHeader,
    Pace,
    RunEndReason,
    SourceEnd,
    StampGrade,
)
from framepair.protocol.wire.recorded import RecordedClip

log = logging.getLogger(__name__)

END_TIMEOUT_S = 1.0
END_POLL_S = 0.05

# A connection takes some milliseconds; frames captured meanwhile could only be dropped.
CONNECT_TIMEOUT_S = 1.0
POLL_MS = 50


@dataclass(frozen=True, slots=True)
class Origin:
    """What all messages of one producer's run have in common.

    ``lossless``: a frame waits until it can be sent. ``total`` frames come in all (0: not known).
    """

    source: str
    run: int
    pace: Pace
    lossless: bool
    total: int = 0


class Outbox:
    """Sends one source's frames and, from another thread, signs of life on the same connection.

    On the same one, because a sign of life promises that no frame before ``next_ns`` is still to come, and
    must not overtake one. A lock is around the socket and what is promised: one message is sent at a time.
    """

    def __init__(
        self,
        push: zmq.Socket[bytes],
        origin: Origin,
        *,
        stop: Stop,
        heartbeat: Heartbeat,
        now_ns: Clock = clock.now_ns,
        link: Link | None = None,
    ) -> None:
        self._push = push
        self._origin = origin
        self._stop = stop
        self._heartbeat = heartbeat
        self._now_ns = now_ns
        self._link = link
        self.seq = 0
        self.dropped = 0
        self._former = 0, 0
        """How many frames former runs captured and could not send."""
        self._unsent = 0
        """How many frames of the run could not be sent again, if they were recorded."""
        self._unsent_in_all = 0
        self._recorded_ns: int | None = None
        """When the grabbed frame was captured, if it is played from a recording."""
        self._grade: StampGrade | None = None
        self._peer_log = RateLimitedLog(log)
        self._lock = threading.Lock()
        self._in_hand_ns: int | None = None
        """The stamp of the frame that was grabbed and is neither sent nor dropped yet."""
        self._promised_ns = 0
        self._sent_s = 0.0
        """When something was sent, in monotonic seconds."""
        self._refused = False
        """Whether the socket did not take the frame before: there is no combiner, or its queue is full."""

    @property
    def captured(self) -> int:
        """How many frames were captured, in all runs."""
        return self._former[0] + self.seq

    @property
    def lost(self) -> int:
        """How many of them could not be sent."""
        return self._former[1] + self.dropped

    def wait_for_combiner(self) -> None:
        """Wait until the combiner is connected, but not for long: it may be started later."""
        until_s = time.monotonic() + CONNECT_TIMEOUT_S
        while time.monotonic() < until_s and not self._stop.is_set():
            self._heartbeat.beat()
            if self._push.poll(POLL_MS, zmq.POLLOUT) and self._knows_clock():
                return

    def offset_ns(self) -> int | None:
        """Return how far the combiner's clock is ahead of this one; None if it is the same, or not known."""
        offset = self._link.offset(self._now_ns()) if self._link else None
        return offset.ns if offset else None

    def stamp(self, stamps: Stamps, position: Position | None = None) -> Stamp:
        """Return the stamp of the frame that was just grabbed, which is to be sent, dropped or skipped next.

        If it is by another clock than those before, it is the first of a new run.
        """
        with self._lock:
            stamp = stamps.stamp(position)
            if position is not None and position.named is not None:
                self._rename(position.named)
            if stamp.anew:
                self._begin_run(stamp)
            self._in_hand_ns, self._grade = stamp.captured_ns, stamp.grade
            self._recorded_ns = position.recorded_ns if position else None
            return stamp

    def has_room(self) -> bool:
        """Return whether a frame that is sent now would be taken, and be there in time.

        Without a look at the socket while it takes all: a frame that was refused is only known afterwards.
        """
        if self._refused and not self._origin.lossless:
            with self._lock:
                self._refused = not self._push.poll(0, zmq.POLLOUT)
        return not self._refused and (self._link is None or self._link.has_room())

    def drop(self) -> None:
        """Count a frame that was captured but is not sent."""
        with self._lock:
            self.seq += 1
            self.dropped += 1
            self._unsent += 1
            self._unsent_in_all += 1
            self._in_hand_ns = None

    def send(
        self,
        frame: Packed,
        stamp: Stamp,
        source_format: Format,
        reopened: int = 0,
        skipped: int = 0,
    ) -> None:
        """Send a frame without copying it.

        Its source was opened again ``reopened`` times, and ``skipped`` frames of it were left out, as wanted.
        """
        with self._lock:
            header = self._header(frame, stamp, source_format, reopened, skipped)
            self.seq += 1
            self._in_hand_ns = None
            self._promised_ns = stamp.next_ns
            self._refused = not self._try([header.encode(), frame.data])
            if self._refused:
                self.dropped += 1
                self._unsent += 1
                self._unsent_in_all += 1
                return
            self._sent_s = time.monotonic()
            if self._link:
                self._link.sent(header.seq)

    def say_alive(self, stamps: Stamps, after_s: float) -> float:
        """Send a sign of life if nothing was sent for ``after_s``; return in how many seconds it may be due.

        Nothing waits: without a combiner, or in a queue that is full, it would be of no use later.
        """
        with self._lock:
            left_s = self._sent_s + after_s - time.monotonic()
            if left_s > 0:
                return left_s
            with contextlib.suppress(zmq.Again):
                self._push.send(self._alive(stamps).encode(), zmq.NOBLOCK)
                self._sent_s = time.monotonic()
            return after_s

    def retell(self, retold: Retold, stamps: Stamps) -> None:
        """Send what was announced of the recorded pair that the last frames were in; see RecordedClip."""
        with self._lock:
            word = self._recorded(retold, stamps)
            self._try([word.encode()])

    def begin_retelling(self) -> None:
        """Say that what was announced of recorded pairs will come, each behind its frames."""
        with self._lock:
            self._try([RecordedClip(self._origin.source, self._origin.run).encode()])

    def use_run(self, run: int) -> None:
        """Go on as ``run`` before any frame: as what the first frame was recorded."""
        with self._lock:
            self._origin = replace(self._origin, run=run)
            if self._link:
                self._link.begin_run(run)

    def skip(self, error: FrameLost) -> None:
        """Count a frame that was captured but could not be decoded."""
        self._peer_log.warn("decode", str(error))
        self.drop()

    def end(self, reason: EndReason) -> None:
        """Say that this was all. With pace max, wait until the combiner has read it, behind all the frames."""
        end = SourceEnd(self._origin.source, self._origin.run, self.seq, self.dropped, reason)
        tracker = None
        while tracker is None:
            tracker = sockets.send_tracked(self._push, [end.encode()], END_TIMEOUT_S)
            if tracker is None:
                self._heartbeat.beat()
                if not self._must_wait():
                    return
        while self._must_wait() and not (tracker.done and unread_bytes() == 0):
            self._heartbeat.beat()
            self._stop.wait(END_POLL_S)

    def _rename(self, named: FrameName) -> None:
        """Call the frame that was grabbed what it was called when it was recorded."""
        if named.run != self._origin.run:
            if not self._origin.lossless:
                # Else the combiner takes it for a second producer.
                self._end_run("stopped")
            self._former = self.captured, self.lost
            self._origin = replace(self._origin, run=named.run)
            self._unsent = 0
            if self._link:
                self._link.begin_run(named.run)
        self.seq = named.seq
        self.dropped = min(named.seq, named.dropped + self._unsent)

    def _begin_run(self, stamp: Stamp) -> None:
        """Go on as another run: within one, no stamp goes back and every promise holds."""
        former = self._origin
        log.warning(
            "source %s is stamped by %s from now on: the pair of now is incomplete",
            former.source,
            "its camera's clock" if stamp.grade == "camera" else f"{stamp.grade} time",
        )
        self._end_run("restamped")
        self._former = self.captured, self.lost
        self.seq = self.dropped = self._promised_ns = 0
        self._origin = replace(former, run=max(former.run + 1, self._now_ns()))
        if self._link:
            self._link.begin_run(self._origin.run)

    def _end_run(self, reason: RunEndReason) -> None:
        """Say that the run is over, and another begins at once."""
        origin = self._origin
        end = SourceEnd(origin.source, origin.run, self.seq, self.dropped, reason)
        # If no combiner takes it, none has to be told.
        sockets.send_tracked(self._push, [end.encode()])

    def _knows_clock(self) -> bool:
        return self._link is None or self._link.wait(POLL_MS / 1000)

    def _must_wait(self) -> bool:
        return self._origin.lossless and not self._stop.is_set()

    def _header(
        self, frame: Packed, stamp: Stamp, source_format: Format, reopened: int, skipped: int
    ) -> FrameHeader:
        offset = self._link.offset(stamp.captured_ns) if self._link else None
        return FrameHeader(
            source=self._origin.source,
            run=self._origin.run,
            seq=self.seq,
            captured_ns=stamp.captured_ns,
            next_ns=stamp.next_ns,
            sent_ns=self._now_ns(),
            shape=source_format.shape,
            encoding=source_format.encoding,
            payload=frame.payload,
            location=frame.location,
            packed_bytes=frame.packed_bytes,
            fps=source_format.fps,
            dropped=self.dropped,
            pace=self._origin.pace,
            total=self._origin.total,
            reopened=reopened,
            offset_ns=offset.ns if offset else None,
            uncertainty_ns=offset.uncertainty_ns if offset else None,
            stamp=stamp.grade,
            stamp_uncertainty_ns=stamp.uncertainty_ns,
            colour=source_format.colour,
            skipped=skipped,
            recorded_ns=self._recorded_ns,
        )

    def _recorded(self, retold: Retold, stamps: Stamps) -> RecordedClip:
        is_of_window = retold.end_ns is not None
        previous_ns = retold.previous_ns
        return RecordedClip(
            self._origin.source,
            self._origin.run,
            stamps.of_position(retold.start_ns) if is_of_window else 0,
            0 if retold.end_ns is None else stamps.of_position(retold.end_ns),
            None if previous_ns is None else stamps.of_position(previous_ns),
            retold.partial,
            retold.frames,
            retold.clip,
            dict(retold.lost),
            self._unsent_in_all,
        )

    def _alive(self, stamps: Stamps) -> Alive:
        now_ns = self._now_ns()
        offset = self._link.offset(now_ns) if self._link else None
        waited_for_ns = max(self._promised_ns, stamps.earliest_ns())
        return Alive(
            source=self._origin.source,
            run=self._origin.run,
            seq=self.seq,
            dropped=self.dropped,
            sent_ns=now_ns,
            next_ns=waited_for_ns if self._in_hand_ns is None else self._in_hand_ns,
            pace=self._origin.pace,
            offset_ns=offset.ns if offset else None,
            stamp=self._grade,
        )

    def _try(self, message: list[bytes | memoryview]) -> bool:
        """Send ``message`` at once or, with pace max, as soon as there is room."""
        # Without pixels, copying is faster than handing memory over.
        no_pixels = not len(message[-1]) or len(message) == 1
        while True:
            try:
                self._push.send_multipart(message, copy=no_pixels)
            except zmq.Again:
                self._heartbeat.beat()
                if not self._must_wait():
                    return False
            else:
                return True
