"""The combiner's way out: accepted frames, announcements of pairs and the end of the stream."""

from __future__ import annotations

from collections.abc import Mapping

import zmq

from framepair.nodes.combiner.pace import Rules
from framepair.nodes.combiner.windows import Accepted
from framepair.nodes.common.runtime import Stop
from framepair.protocol.transport import sockets
from framepair.protocol.transport.heartbeat import Heartbeat
from framepair.protocol.wire import published
from framepair.protocol.wire.frame import EndReason, FrameHeader
from framepair.protocol.wire.pair import PairHeader, StreamEnd, Totals

FIRST_SUBSCRIBER_POLL_S = 0.05
SUBSCRIBED, UNSUBSCRIBED = 1, 0


class Publisher:
    """Publishes on an XPUB socket. In real time a subscriber whose queue is full loses messages.

    With pace max nothing is lost: nothing is sent before somebody subscribes, and a full queue blocks.
    """

    def __init__(
        self,
        xpub: zmq.Socket[bytes],
        *,
        sources: int,
        rules: Rules,
        max_bytes: int | None,
        stop: Stop,
        heartbeat: Heartbeat,
    ) -> None:
        self._xpub = xpub
        self._sources = sources
        self._lossless = rules.pace == "max"
        self._window_s = rules.window_ns / 1e9
        self._max_bytes = max_bytes
        self._stop = stop
        self._heartbeat = heartbeat
        self._prefixes: set[bytes] = set()
        self._bounded = False
        xpub.xpub_nodrop = self._lossless

    def frame(self, frame: Accepted[zmq.Frame]) -> None:
        """Publish a frame without copying its pixels."""
        self._bound_queue(frame.header)
        name = published.frame_topic(frame.header.source)
        self._send([name, frame.header.encode(), frame.pixels])

    def pair(self, pair: PairHeader) -> None:
        """Announce a pair, all of whose frames were published before."""
        self._send([published.PAIR, pair.encode()])
        if any(clip.frames for clip in pair.clips.values()):
            self._heartbeat.tell("paired")

    def end(self, run: int, pairs: int, reason: EndReason, totals: Mapping[str, Totals]) -> None:
        """Say that this was all. With pace max, wait until it was handed on, behind all the pairs."""
        self._xpub.copy_threshold = 0
        end = StreamEnd(run=run, seq=pairs, reason=reason, totals=dict(totals))
        tracker = self._send([published.END, end.encode()], track=True)
        while self._lossless and tracker and not tracker.done and not self._stop.is_set():
            self._stop.wait(FIRST_SUBSCRIBER_POLL_S)

    def has_subscriber(self) -> bool:
        """Return whether somebody gets everything: frames, pairs and the end."""
        self._read_subscriptions()
        topics = (published.frame_topic(""), published.PAIR, published.END)
        return all(any(name.startswith(p) for p in self._prefixes) for name in topics)

    def _read_subscriptions(self) -> None:
        while True:
            try:
                message = self._xpub.recv(zmq.NOBLOCK)
            except zmq.Again:
                return
            if message[:1] == bytes([SUBSCRIBED]):
                self._prefixes.add(message[1:])
            elif message[:1] == bytes([UNSUBSCRIBED]):
                self._prefixes.discard(message[1:])

    def _send(
        self, message: list[bytes | zmq.Frame], *, track: bool = False
    ) -> zmq.MessageTracker | None:
        """Send at once or, with pace max, as soon as somebody is there and has room."""
        while True:
            if self._lossless and not self.has_subscriber() and not self._stop.is_set():
                self._stop.wait(FIRST_SUBSCRIBER_POLL_S)
                continue
            try:
                return self._xpub.send_multipart(message, copy=False, track=track)
            except zmq.Again:
                self._heartbeat.beat()
                if not self._lossless or self._stop.is_set():
                    return None

    def _bound_queue(self, header: FrameHeader) -> None:
        """Derive the high-water mark from bytes: ``max_bytes``, or two windows of sources like this one.

        Only before the first frame. A mark that changes while messages are on their way may leave a
        subscriber without any for good: libzmq waits for an acknowledgement that the other end, which counts
        in steps of half the new mark, has no reason to send (pipe.cpp, set_hwms).
        """
        if self._bounded:
            return
        self._bounded = True
        default = self._sources * sockets.window_bytes(header.nbytes, header.fps, self._window_s)
        self._xpub.sndhwm = sockets.queue_frames(self._max_bytes or default, header.nbytes)
