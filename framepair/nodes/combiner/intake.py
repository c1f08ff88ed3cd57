"""What the combiner takes out of its deques, in which order, and which messages it refuses."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import zmq

from framepair.nodes.combiner.inbox import Inbox
from framepair.protocol.transport.rate_limited_log import RateLimitedLog
from framepair.protocol.wire import frame
from framepair.protocol.wire.frame import Alive, FrameHeader, Pace, SourceEnd
from framepair.protocol.wire.header import ProtocolError

# After so long without a frame of its own, and so many periods, a producer may be replaced by another.
QUIET_NS, QUIET_PERIODS = 250_000_000, 3


@dataclass(slots=True)
class _Sender:
    """The run that is a source's now, when a frame of it came last, and how often they come."""

    run: int
    heard_ns: int
    period_ns: int


class Rivals:
    """Knows whose frames are each source's: of the run that was there first, as long as it goes on."""

    def __init__(self) -> None:
        self._senders: dict[str, _Sender] = {}

    def is_one(self, header: FrameHeader | SourceEnd, received_ns: int) -> bool:
        """Take note of a message that came at ``received_ns``; return whether it is of a second producer."""
        sender = self._senders.get(header.source)
        if sender is not None and header.run != sender.run:
            quiet_ns = max(QUIET_NS, QUIET_PERIODS * sender.period_ns)
            if received_ns < sender.heard_ns + quiet_ns:
                return True
        if isinstance(header, SourceEnd):
            self._senders.pop(header.source, None)
        else:
            self._senders[header.source] = _Sender(header.run, received_ns, header.period_ns)
        return False


log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FrameArrival:
    """A frame, its pixels as received, and when that was."""

    header: FrameHeader
    pixels: zmq.Frame
    received_ns: int


Arrival = FrameArrival | SourceEnd
# Whose clock a source's times are of: this machine's; another's, which the producer compares with this one's;
# another's that is to be believed.
Clock = Literal["ours", "compared", "theirs"]
# A producer that begins may take so long to find the combiner's clock.
UNKNOWN_NS = 3_000_000_000


def parse(
    parts: Sequence[zmq.Frame],
    received_ns: int,
    source: str,
    pace: Pace,
    clock: Clock = "ours",
) -> Arrival | Alive:
    """Return what a message on ``source``'s socket says; raises ProtocolError if it breaks a rule.

    Whose ``clock`` its times are of decides whether they are corrected by what the producer says of it.
    """
    header = frame.decode(parts[0].buffer)
    if header.source != source:
        raise ProtocolError(f"it is from {header.source}")
    if isinstance(header, SourceEnd):
        return header
    if isinstance(header, Alive):
        return header.corrected() if clock == "compared" else header
    if len(parts) != 2 or len(parts[1]) != header.message_bytes:
        raise ProtocolError(
            f"its {len(parts)} parts are not a header and {header.message_bytes} bytes"
        )
    if header.pace != pace:
        raise ProtocolError(f"the producer's pace is {header.pace}, the combiner's {pace}")
    if clock == "ours":
        header = header.as_stamped(0)
    elif clock == "theirs" or header.offset_ns is None:
        header = header.as_stamped(None)
    else:
        header = header.corrected()
    return FrameArrival(header, parts[1], received_ns)


class Intake:
    """Takes messages in order of arrival or, with pace max, in order of capture.

    In order of capture no source gets more than a window ahead of the others: the fast one would fill the
    subscriber while the slow one is stuck behind it. ``clocks`` says which sources' clocks are not ours.
    """

    def __init__(
        self,
        inboxes: Sequence[Inbox],
        pace: Pace,
        *,
        rejected: Callable[..., Any],
        overflowed: Callable[[str, int], Any],
        clocks: Mapping[str, Clock] | None = None,
    ) -> None:
        self._inboxes = {inbox.source: inbox for inbox in inboxes}
        self._pace = pace
        self._rejected = rejected
        self._overflowed = overflowed
        self._clocks = clocks or {}
        self._rivals = Rivals()
        self._unknown_since_ns: dict[str, int] = {}
        self._heads: dict[str, FrameArrival] = {}
        self._ended: set[str] = set()
        self._peer_log = RateLimitedLog(log)

    def take(self, *, patient: bool = True) -> Iterator[Arrival]:
        """Yield all that can be taken now. ``patient``: with pace max, wait for each source's next frame."""
        return self._in_order_of_capture(patient) if self._pace == "max" else self._as_they_came()

    def _as_they_came(self) -> Iterator[Arrival]:
        waiting = list(self._inboxes)
        while waiting:
            for source in list(waiting):
                arrival = self._next(source)
                if arrival is None:
                    waiting.remove(source)
                else:
                    yield arrival

    def _in_order_of_capture(self, patient: bool) -> Iterator[Arrival]:
        while True:
            for source in self._inboxes.keys() - self._heads.keys():
                arrival = self._next(source)
                if isinstance(arrival, FrameArrival):
                    self._heads[source] = arrival
                    self._ended.discard(source)
                elif arrival is not None:
                    self._ended.add(source)
                    yield arrival
            unknown = self._inboxes.keys() - self._heads.keys() - self._ended
            if not self._heads or (unknown and patient):
                return
            oldest = min(self._heads, key=lambda source: self._heads[source].header.captured_ns)
            yield self._heads.pop(oldest)

    def _next(self, source: str) -> Arrival | None:
        """Return the next message of ``source`` that follows the rules, None if there is none."""
        inbox = self._inboxes[source]
        if overflowed := inbox.take_overflowed():
            self._overflowed(source, overflowed)
            self._peer_log.warn(
                source, f"{source}: too busy, dropped the {overflowed} oldest frames"
            )
        clock = self._clocks.get(source, "ours")
        while message := inbox.take():
            try:
                arrival = parse(message.parts, message.received_ns, source, self._pace, clock)
            except ProtocolError as error:
                self._rejected(source)
                self._peer_log.warn(source, f"{source}: refused a message: {error}")
                continue
            if isinstance(arrival, Alive) or self._is_rival(arrival, message.received_ns):
                continue
            if clock == "compared" and isinstance(arrival, FrameArrival):
                self._warn_of_unknown(arrival.header, message.received_ns)
            return arrival
        return None

    def _is_rival(self, arrival: Arrival, received_ns: int) -> bool:
        header = arrival.header if isinstance(arrival, FrameArrival) else arrival
        # Media time passes at no rate that would tell when a producer is gone; but there nobody restarts one.
        if self._pace == "max" or not self._rivals.is_one(header, received_ns):
            return False
        self._rejected(header.source, explains=False)
        self._peer_log.warn(
            f"rival of {header.source}",
            f"{header.source}: a second producer sends as this source: refused as long as the first goes on",
        )
        return True

    def _warn_of_unknown(self, header: FrameHeader, received_ns: int) -> None:
        """Warn if a producer has not said for long how far its clock is from this one."""
        if header.offset_ns is not None:
            self._unknown_since_ns.pop(header.source, None)
            return
        since_ns = self._unknown_since_ns.setdefault(header.source, received_ns)
        if received_ns - since_ns > UNKNOWN_NS:
            self._peer_log.warn(
                f"clock of {header.source}",
                f"{header.source}: its producer does not say how far its clock is from this one (--sync):"
                " its frames are paired as they are stamped",
            )
