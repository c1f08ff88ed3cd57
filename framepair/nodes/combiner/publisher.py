"""The combiner's way out: accepted frames, announcements of pairs and the end of the stream."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping

import zmq

from framepair.nodes.combiner.pace import Rules
from framepair.nodes.combiner.startup import MAX_HELD_BYTES
from framepair.nodes.combiner.windows import Accepted
from framepair.nodes.common import exit_codes
from framepair.nodes.common.runtime import Stop
from framepair.nodes.common.subscriptions import Subscriptions
from framepair.protocol.transport import sockets
from framepair.protocol.transport.heartbeat import Heartbeat
from framepair.protocol.transport.sockets import Socket
from framepair.protocol.transport.unread import unread_bytes
from framepair.protocol.wire import published
from framepair.protocol.wire.frame import MAX_HEADER_BYTES, EndReason, FrameHeader
from framepair.protocol.wire.pair import PairHeader, StreamEnd, Totals

log = logging.getLogger(__name__)

CONSUMER_POLL_S = 0.05
# Consumers whose connection is ended connect again after a tenth of a second.
RETURN_S, RETURN_POLL_S = 1.0, 0.01
# With pace max: how long to wait for another consumer when the last one has left.
CONSUMER_TIMEOUT_S = 30.0
# After how long waiting for the first consumers is said.
PATIENCE_S = 3.0


class Publisher:
    """Publishes on an XPUB socket. In real time a subscriber whose queue is full loses messages.

    With pace max nothing is lost: nothing is sent before ``consumers`` subscribe to pairs, and a full queue
    blocks. ``sources`` is how many there may be at most; ``max_bytes`` bounds each subscriber's queue.
    """

    def __init__(
        self,
        xpub: Socket,
        subscriptions: Subscriptions,
        *,
        sources: int,
        consumers: int,
        rules: Rules,
        max_bytes: int | None,
        stop: Stop,
        heartbeat: Heartbeat,
    ) -> None:
        self._xpub = xpub
        self._subscriptions = subscriptions
        self._sources = sources
        self._lossless = rules.pace == "max"
        self._window_s = rules.window_ns / 1e9
        self._max_bytes = max_bytes
        self._stop = stop
        self._heartbeat = heartbeat
        self._rates: dict[str, tuple[float, int]] = {}
        self._hwm: int | None = None
        self._waiting = _Waiting(consumers)

    def attend(self) -> None:
        """Read what consumers subscribe to; to be called at each turn of the work loop."""
        self._subscriptions.read()

    def expect_frames(self, header: FrameHeader) -> None:
        """Note how often, and how large, a source's frames come; before the first is published."""
        # The rate is the peer's claim: it must not make the queue longer than MAX_HELD_BYTES for each source.
        most_frames = MAX_HELD_BYTES / (header.message_bytes + MAX_HEADER_BYTES)
        fps = min(header.fps, most_frames / sockets.queued_s(self._window_s))
        self._rates[header.source] = fps, header.nbytes

    def frame(self, frame: Accepted[zmq.Frame]) -> None:
        """Publish a frame without copying its pixels."""
        self._bound_queue(frame.header)
        name = published.topic_of(frame.header)
        self._wait_for_consumers()
        self._send([name, frame.header.encode(), frame.pixels])

    def pair(self, pair: PairHeader) -> None:
        """Announce a pair, all of whose frames were published before."""
        self._wait_for_consumers()
        self._send([published.PAIR, pair.encode()])
        if any(clip.frames for clip in pair.clips.values()):
            self._heartbeat.tell("paired")

    def end(self, run: int, pairs: int, reason: EndReason, totals: Mapping[str, Totals]) -> None:
        """Publish the end. With pace max, wait until it was read, behind all the pairs."""
        end = StreamEnd(run=run, seq=pairs, reason=reason, totals=dict(totals))
        tracker = None
        while tracker is None:
            self._wait_for_consumers()
            tracker = sockets.send_tracked(self._xpub, [published.END, end.encode()])
            if not self._lossless or self._stop.is_set():
                return
        while not (tracker.done and unread_bytes() == 0) and not self._stop.is_set():
            self._heartbeat.beat()
            self._stop.wait(CONSUMER_POLL_S)

    def _wait_for_consumers(self) -> None:
        """With pace max, return once enough consumers subscribe, or it is time to stop."""
        self.attend()
        while self._lossless and not self._stop.is_set():
            consumers = self._subscriptions.consumers if self._subscriptions.is_complete else 0
            if self._waiting.is_over(consumers, time.monotonic()):
                return
            self._stop.wait(CONSUMER_POLL_S)
            self.attend()

    def _send(self, message: list[bytes | zmq.Frame]) -> None:
        """Send at once or, with pace max, as soon as there is room."""
        while True:
            try:
                self._xpub.send_multipart(message, copy=False)
            except zmq.Again:
                self._heartbeat.beat()
                if not self._lossless or self._stop.is_set():
                    return
                self._wait_for_consumers()
            else:
                return

    def _bound_queue(self, header: FrameHeader) -> None:
        """Set the high-water mark, for good, before the first frame: see ``sockets.set_queue``."""
        if self._hwm is None:
            if not self._rates:
                self.expect_frames(header)
            self._hwm = sockets.publisher_queue(
                self._rates.values(), self._sources, self._window_s, self._max_bytes
            )
            self._set_queue(self._hwm)

    def _set_queue(self, hwm: int) -> None:
        """Give each subscriber a queue of ``hwm`` messages; those that are there connect again.

        Frames wait meanwhile, a tenth of a second as a rule, so that no consumer misses the first. While peers
        come and go without a pause the queues stay as libzmq makes them: changing them then may crash.
        """
        if not self._wait_until(lambda: self._subscriptions.are_settled):
            log.warning(
                "peers that connect and leave keep each consumer's queue at %d messages instead of %d:"
                " a consumer that stalls may lose pairs sooner; see who connects, and start again",
                self._xpub.sndhwm,
                hwm,
            )
            return
        consumers, joined = self._subscriptions.consumers, self._subscriptions.joined
        sockets.set_queue(self._xpub, hwm)
        self._wait_until(lambda: self._subscriptions.joined >= joined + consumers)

    def _wait_until(self, condition: Callable[[], bool]) -> bool:
        """Wait for ``condition``, RETURN_S at most; return whether it holds."""
        deadline_s = time.monotonic() + RETURN_S
        while not (holds := condition()):
            if time.monotonic() > deadline_s or self._stop.is_set():
                break
            self._stop.wait(RETURN_POLL_S)
            self.attend()
        return holds


class _Waiting:
    """Decides, with pace max, when there are enough consumers, and when to give up on another one."""

    def __init__(self, wanted: int) -> None:
        self._wanted = wanted
        self._has_begun = False
        self._since_s: float | None = None
        self._said = False

    def is_over(self, consumers: int, now_s: float) -> bool:
        """Return whether to send, to so many ``consumers``; exits if the last has left for too long."""
        if consumers >= (1 if self._has_begun else self._wanted):
            self._has_begun, self._since_s, self._said = True, None, False
            return True
        if self._since_s is None:
            self._since_s = now_s
        since_s = now_s - self._since_s
        if self._has_begun:
            self._wait_for_another(since_s)
        elif since_s > PATIENCE_S:
            self._say(
                f"waiting for {self._wanted} consumers of pairs (--consumers), of which {consumers} subscribe"
            )
        return False

    def _wait_for_another(self, since_s: float) -> None:
        self._say(
            f"the last consumer has left: waiting {CONSUMER_TIMEOUT_S:g} s for another one, since with --pace"
            " max nothing is dropped"
        )
        if since_s > CONSUMER_TIMEOUT_S:
            log.error("no consumer has come in %g s: start one, and again", CONSUMER_TIMEOUT_S)
            raise SystemExit(exit_codes.FAILED)

    def _say(self, what: str) -> None:
        if not self._said:
            self._said = True
            log.warning("%s", what)
