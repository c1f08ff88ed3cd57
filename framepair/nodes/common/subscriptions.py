"""What consumers subscribe to at a publisher, and what is no subscription of theirs."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Collection

import zmq

from framepair.protocol.transport.connection_guard import (
    ConnectionGuard,
    disconnect,
    peer_descriptor,
)
from framepair.protocol.transport.rate_limited_log import RateLimitedLog
from framepair.protocol.transport.sockets import Socket
from framepair.protocol.wire import published

log = logging.getLogger(__name__)

SUBSCRIBED, UNSUBSCRIBED = b"\x01", b"\x00"
# Topics that differ: libzmq keeps 2.6 kB of each name, for as long as its subscriber is connected.
MAX_TOPICS = 1024
# At a time: a flood of subscriptions must not keep a publisher from its frames.
MAX_READ = 100
SOURCE_TOPIC = re.compile(rb"frame\.[A-Za-z0-9_-]{0,64}(\.\+?)?")
OTHER_TOPICS = (published.FRAMES, published.PAIR, published.END, published.NEWEST)


def is_topic(topic: bytes) -> bool:
    """Return whether a message of a combiner may have a topic that begins with ``topic``."""
    return (
        any(known.startswith(topic) for known in OTHER_TOPICS)
        or SOURCE_TOPIC.fullmatch(topic) is not None
    )


class Subscriptions:
    """Keeps count of the subscriptions at ``xpub``, which listens at ``address``.

    They have to be read: libzmq keeps those that aren't without a bound (pyzmq #1514). A subscriber that asks
    for what a combiner never sends, or for more than MAX_TOPICS in all, is disconnected: libzmq adds a
    subscription before it is seen here, and gives its memory back when the connection ends.
    """

    def __init__(self, xpub: Socket, address: str, guard: ConnectionGuard) -> None:
        self._xpub = xpub
        self._address = address
        self._guard = guard
        self._counts: Counter[bytes] = Counter()
        self.joined = 0
        """How many subscribers that get pairs there have been so far."""
        self._peer_log = RateLimitedLog(log)

    @property
    def consumers(self) -> int:
        """How many subscribers get pairs."""
        return self._count(published.PAIR)

    @property
    def is_complete(self) -> bool:
        """Whether pairs, and the end, are received by some subscriber: which frames is its own choice."""
        return all(self._count(topic) for topic in (published.PAIR, published.END))

    @property
    def are_settled(self) -> bool:
        """Whether no subscriber has left of late."""
        return self._guard.is_settled()

    @property
    def topics(self) -> Collection[bytes]:
        """What some subscriber has asked for."""
        return self._counts.keys()

    @property
    def want_newest(self) -> bool:
        """Whether some subscriber wants frames at once."""
        return self._counts[published.NEWEST] > 0

    def read(self) -> None:
        """Take note of what consumers have asked for."""
        self._guard.look()
        for _ in range(MAX_READ):
            try:
                message = self._xpub.recv_multipart(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return
            self._guard.count_message(message)
            self._take(message)

    def _take(self, message: list[zmq.Frame]) -> None:
        """Count a subscription or its end, or disconnect its peer."""
        kind, topic = message[0].bytes[:1], message[0].bytes[1:]
        if kind == UNSUBSCRIBED and len(message) == 1:
            self._counts[topic] -= 1
            if self._counts[topic] <= 0:
                del self._counts[topic]
            return
        known = topic in self._counts or len(self._counts) < MAX_TOPICS
        if kind == SUBSCRIBED:
            # Also of one that is disconnected: libzmq reports the end of each that it has added.
            self._counts[topic] += 1
            if known and is_topic(topic):
                self.joined += published.PAIR.startswith(topic)
                return
        self._refuse(message)

    def _refuse(self, message: list[zmq.Frame]) -> None:
        if disconnect(peer_descriptor(message[-1]), self._address):
            self._peer_log.warn(
                "subscription",
                f"disconnected a subscriber that asked for {message[0].bytes[1:81]!r}: there are frame.,"
                f" frame.NAME., frame.NAME.+, pair., end. and newest., and {MAX_TOPICS} topics are the most",
            )

    def _count(self, topic: bytes) -> int:
        return sum(count for asked, count in self._counts.items() if topic.startswith(asked))
