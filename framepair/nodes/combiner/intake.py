"""What the combiner takes out of its deques, in which order, and which messages it refuses."""

from __future__ import annotations

import heapq
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import zmq

from framepair.nodes.combiner.inbox import Inbox
from framepair.nodes.combiner.open_windows import ReceivedFrame
from framepair.protocol.transport.rate_limited_log import RateLimitedLog
from framepair.protocol.wire import frame, recorded
from framepair.protocol.wire.frame import Alive, FrameHeader, Pace, SourceEnd
from framepair.protocol.wire.header import ProtocolError
from framepair.protocol.wire.recorded import FromProducer, RecordedClip, Word

log = logging.getLogger(__name__)

# A producer has something to say twice a second, a frame or that it is alive. After so long without a word
# another one may take its place.
QUIET_NS = 1_000_000_000
# A producer that begins may take so long to find the combiner's clock.
UNKNOWN_NS = 3_000_000_000
# Unless told otherwise, a frame may take so many times what its source's first one took, and this at least.
FRAME_GROWTH, MIN_MAX_FRAME_BYTES = 4, 50_000_000

# Whose clock a source's times are of: this machine's; another's, which the producer compares with this one's;
# another's that is to be believed.
Clock = Literal["ours", "compared", "theirs"]


class Rivals:
    """Knows whose messages are each source's: of the run that was there first, as long as it goes on."""

    def __init__(self) -> None:
        self._senders: dict[str, tuple[int, int]] = {}

    def is_one(self, header: FromProducer, received_ns: int) -> bool:
        """Return whether a message is of a second producer; else note when its run was heard."""
        run, heard_ns = self._senders.get(header.source, (header.run, received_ns))
        if header.run != run and received_ns < heard_ns + QUIET_NS:
            return True
        if isinstance(header, SourceEnd):
            self._senders.pop(header.source, None)
        else:
            self._senders[header.source] = header.run, received_ns
        return False

    def forget(self, source: str) -> None:
        """Let the next message of ``source`` be of any run."""
        self._senders.pop(source, None)


@dataclass(frozen=True, slots=True)
class ReceivedWord:
    """What a producer says besides frames, and when that was received."""

    header: Word
    received_ns: int


Incoming = ReceivedFrame[zmq.Frame] | ReceivedWord


class Account(Protocol):
    """Where messages are counted that cannot be used."""

    def reject(self, source: str) -> None:
        """Count a message that breaks a rule."""

    def reject_rival(self, message: FromProducer) -> None:
        """Count a message of a second producer."""

    def overflow(self, source: str, count: int) -> None:
        """Count messages that had to be dropped unread."""


def parse(
    parts: Sequence[zmq.Frame],
    received_ns: int,
    source: str,
    pace: Pace,
    clock: Clock = "ours",
) -> Incoming:
    """Return what a message on ``source``'s socket says; raises ProtocolError if it breaks a rule.

    Whose ``clock`` its times are of decides whether they are corrected by what the producer says of it.
    """
    # What has no pixels may be longer than a frame's header.
    decode = frame.decode if len(parts) > 1 else recorded.decode_word
    header: FromProducer = decode(parts[0].buffer)
    if header.source != source:
        raise ProtocolError(f"it is from {header.source}")
    if isinstance(header, Alive):
        return ReceivedWord(header.corrected() if clock == "compared" else header, received_ns)
    if isinstance(header, SourceEnd | RecordedClip):
        return ReceivedWord(header, received_ns)
    if len(parts) != 2 or len(parts[1]) != header.message_bytes:
        raise ProtocolError(
            f"its {len(parts)} parts are not a header and {header.message_bytes} bytes"
        )
    if header.pace != pace:
        raise ProtocolError(f"the producer's pace is {header.pace}, the combiner's {pace}")
    return ReceivedFrame(_stamped(header, clock), parts[1], received_ns)


def _stamped(header: FrameHeader, clock: Clock) -> FrameHeader:
    """Return the header with its times by the combiner's clock, as well as that can be known."""
    if clock == "ours":
        return header.as_stamped(0)
    if clock == "theirs" or header.offset_ns is None:
        return header.as_stamped(None)
    return header.corrected()


class Intake:
    """Takes messages in order of arrival, for real time.

    ``clock_at`` says whose clock the stamps are of that come in at an address.
    A frame takes ``max_frame`` bytes at most, also once decoded. None: four times what the first frame of its
    producer's run takes, and 50 MB at the least.
    """

    pace: Pace = "realtime"

    def __init__(
        self,
        inboxes: Sequence[Inbox],
        account: Account,
        *,
        clock_at: Callable[[str], Clock] = lambda _: "ours",
        max_frame: int | None = None,
    ) -> None:
        self._inboxes: dict[str, Inbox] = {}
        self._account = account
        self._clock_at = clock_at
        self._clocks: dict[str, Clock] = {}
        self._max_frame = max_frame
        self._first_bytes: dict[str, tuple[int, int]] = {}
        """Of each source's run: how many bytes its first frame took."""
        self._rivals = Rivals()
        self._unknown_since_ns: dict[str, int] = {}
        self._heads: dict[str, Incoming] = {}
        self._ended: set[str] = set()
        self._peer_log = RateLimitedLog(log)
        for inbox in inboxes:
            self.add(inbox)

    def add(self, inbox: Inbox) -> None:
        """Take messages of one more source."""
        self._inboxes[inbox.source] = inbox
        self._clocks[inbox.source] = self._clock_at(inbox.address)

    def remove(self, source: str) -> bool:
        """Take none of ``source`` any more; return False, and change nothing, if a message of it waits."""
        if source in self._heads:
            return False
        del self._inboxes[source], self._clocks[source]
        self._first_bytes.pop(source, None)
        self._unknown_since_ns.pop(source, None)
        self._rivals.forget(source)
        return True

    def take(self, until_ns: int, *, patient: bool = True) -> Iterator[Incoming]:  # noqa: ARG002
        """Yield what was received before ``until_ns``, in the order of arrival."""
        for source in self._inboxes.keys() - self._heads.keys():
            self._fetch(source)
        heap = [(head.received_ns, source) for source, head in self._heads.items()]
        heapq.heapify(heap)
        while heap and heap[0][0] <= until_ns:
            _, source = heap[0]
            yield self._heads.pop(source)
            if self._fetch(source):
                heapq.heapreplace(heap, (self._heads[source].received_ns, source))
            else:
                heapq.heappop(heap)

    def _fetch(self, source: str) -> bool:
        """Make the next message of ``source`` its head; return whether there is one."""
        message = self._next(source)
        if message is not None:
            self._heads[source] = message
        return message is not None

    def _next(self, source: str) -> Incoming | None:
        """Return the next message of ``source`` that follows the rules, None if there is none."""
        inbox = self._inboxes[source]
        if overflowed := inbox.take_overflowed():
            self._account.overflow(source, overflowed)
            self._peer_log.warn(
                source, f"{source}: too busy, dropped the {overflowed} oldest frames"
            )
        clock = self._clocks[source]
        while message := inbox.take():
            try:
                incoming = parse(message.parts, message.received_ns, source, self.pace, clock)
                if self._is_rival(incoming):
                    continue
                # Of no rival: its first frame must not decide how large those of the source may be.
                self._check_size(incoming.header)
            except ProtocolError as error:
                self._account.reject(source)
                self._peer_log.warn(source, f"{source}: refused a message: {error}")
                continue
            if clock == "compared" and isinstance(incoming.header, FrameHeader):
                self._warn_of_unknown(incoming.header, message.received_ns)
            return incoming
        return None

    def _check_size(self, header: FromProducer) -> None:
        """Raise ProtocolError if a frame takes too much memory."""
        if not isinstance(header, FrameHeader):
            return
        nbytes = max(header.nbytes, header.message_bytes)
        run, first = self._first_bytes.get(header.source, (header.run, nbytes))
        if run != header.run:
            first = nbytes
        self._first_bytes[header.source] = header.run, first
        most = self._max_frame or max(MIN_MAX_FRAME_BYTES, FRAME_GROWTH * first)
        if nbytes > most:
            raise ProtocolError(f"a frame of {nbytes} bytes, more than {most}: raise --max-frame")

    def _is_rival(self, incoming: Incoming) -> bool:
        header = incoming.header
        if not self._rivals.is_one(header, incoming.received_ns):
            return False
        self._account.reject_rival(header)
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


class IntakeByCapture(Intake):
    """Takes messages in order of capture, for pace max.

    So no source gets more than a window ahead of the others: the fast one would fill the subscriber while the
    slow one is stuck behind it. Two producers of a source are not told apart: media time passes at no rate that
    would tell when one is gone, and none is started again.
    """

    pace: Pace = "max"

    def take(self, until_ns: int, *, patient: bool = True) -> Iterator[Incoming]:  # noqa: ARG002
        """Yield all that can be taken now. ``patient``: wait for each source's next frame."""
        while True:
            yield from self._words()
            unknown = self._inboxes.keys() - self._heads.keys() - self._ended
            if not self._heads or (unknown and patient):
                return
            yield self._heads.pop(min(self._heads, key=self._captured_ns))

    def _words(self) -> Iterator[ReceivedWord]:
        """Fetch the next frame of each source without one; yield what else was said before it.

        A recorded clip has its turn as a frame at its window's end, so that no more than one waits here.
        """
        for source in self._inboxes.keys() - self._heads.keys():
            while (message := self._next(source)) is not None:
                if not isinstance(message, ReceivedWord) or _has_turn(message.header):
                    self._heads[source] = message
                    self._ended.discard(source)
                    break
                if isinstance(message.header, SourceEnd):
                    self._ended.add(source)
                yield message

    def _captured_ns(self, source: str) -> int:
        header = self._heads[source].header
        if isinstance(header, FrameHeader):
            return header.captured_ns
        return header.end_ns if isinstance(header, RecordedClip) else 0

    def _is_rival(self, incoming: Incoming) -> bool:  # noqa: ARG002
        return False


def _has_turn(header: Word) -> bool:
    return isinstance(header, RecordedClip) and header.end_ns > 0
