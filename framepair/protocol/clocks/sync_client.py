"""The combiner's time, as far as a consumer knows it."""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass

import zmq

from framepair.protocol.clocks import clock
from framepair.protocol.clocks.clock import Clock
from framepair.protocol.clocks.comparison import Comparison, Offset, Steering
from framepair.protocol.transport import sockets
from framepair.protocol.transport.connection_watch import Contact
from framepair.protocol.transport.keys import ClientKeys
from framepair.protocol.wire.header import ProtocolError
from framepair.protocol.wire.sync import Ping, Pong, decode_pong

# At first in quick succession, so that one answer at least was held up by nothing.
QUICK_PINGS, QUICK_S = 10, 0.02
# No more questions than that are on their way at a time, and none is waited for any longer.
MAX_UNANSWERED, ANSWER_S = 16, 10.0
JOIN_DEADLINE_S = 2.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Answer:
    """A pong, when its ping was sent and when it came; monotonic seconds."""

    pong: Pong
    asked_s: float
    came_s: float


class SyncClient:
    """Asks the combiner at ``address`` every ``interval_s`` what time it is, and takes in its answers."""

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        address: str,
        *,
        interval_s: float,
        source: str | None = None,
        run: int = 0,
        keys: ClientKeys | None = None,
        now_ns: Clock = clock.now_ns,
    ) -> None:
        self._now_ns = now_ns
        self._context = context
        self._address = address
        self._interval_s = interval_s
        self._source = source
        self._run = run
        self._keys = keys
        self._comparison = Comparison()
        self._lock = threading.Lock()
        self._found = threading.Event()
        self._over = threading.Event()
        self._asked: dict[int, float] = {}
        self._connected: Future[None] = Future()
        self._newest: Answer | None = None
        self._thread = threading.Thread(target=self._run_thread, name="framepair-sync", daemon=True)

    def __enter__(self) -> SyncClient:
        """Begin to ask; raises EndpointError if the address can't be used."""
        self._thread.start()
        self._connected.result()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(JOIN_DEADLINE_S)

    def wait(self, timeout_s: float) -> bool:
        """Wait until the offset is known as well as it will be at first; return whether it is."""
        return self._found.wait(timeout_s)

    def begin_run(self, run: int) -> None:
        """Ask in the name of ``run`` from now on."""
        self._run = run

    def offset(self) -> Offset | None:
        """Return what to add to this node's clock now; None if nobody has answered yet."""
        with self._lock:
            return self._comparison.offset(self._now_ns())

    @property
    def least_delay_ns(self) -> int:
        """How long a question and its answer take when nothing holds them up; 0 if that isn't known."""
        with self._lock:
            return self._comparison.least_delay_ns

    @property
    def newest(self) -> Answer | None:
        """The answer that came last."""
        return self._newest

    def _run_thread(self) -> None:
        try:
            with sockets.ask(self._context, self._address, keys=self._keys) as dealer:
                self._connected.set_result(None)
                contact = Contact(
                    dealer, self._address, "where the combiner tells the time (--sync)"
                )
                try:
                    self._compare(dealer, contact)
                finally:
                    contact.close()
        except Exception as error:
            if not self._connected.done():
                self._connected.set_exception(error)
            else:
                # Without it stamps are as good as the clock is, which headers and reports say.
                log.exception("comparing clocks with %s failed", self._address)

    def _compare(self, dealer: zmq.Socket[bytes], contact: Contact) -> None:
        answers = 0
        while not self._over.is_set():
            contact.look()
            self._ask(dealer)
            pause_s = QUICK_S if answers < QUICK_PINGS else self._interval_s
            until_s = time.monotonic() + pause_s
            while (left_s := until_s - time.monotonic()) > 0 and not self._over.is_set():
                if dealer.poll(max(1, round(min(left_s, sockets.POLL_MS / 1e3) * 1e3))):
                    answers += self._take(dealer)
            if answers >= QUICK_PINGS:
                self._found.set()

    def _ask(self, dealer: zmq.Socket[bytes]) -> None:
        now_s = time.monotonic()
        for sent_ns in [
            sent_ns for sent_ns, at_s in self._asked.items() if now_s > at_s + ANSWER_S
        ]:
            del self._asked[sent_ns]
        if len(self._asked) >= MAX_UNANSWERED:
            return
        ping = Ping(self._now_ns(), self._source, self._run)
        try:
            dealer.send(ping.encode())
        except zmq.Again:
            # Nobody is there, or nobody answers.
            return
        self._asked[ping.sent_ns] = now_s

    def _take(self, dealer: zmq.Socket[bytes]) -> int:
        """Take an answer in; return how many that makes: 0 or 1."""
        parts = dealer.recv_multipart()
        here_ns = self._now_ns()
        try:
            if len(parts) != 1:
                raise ProtocolError(f"a pong of {len(parts)} parts")
            pong = decode_pong(parts[0])
            asked_s = self._asked.pop(pong.ping_ns, None)
            if asked_s is None:
                raise ProtocolError("a pong that nobody asked for")
            with self._lock:
                self._comparison.add(pong, here_ns)
        except ProtocolError as error:
            log.debug("ignored an answer: %s", error)
            return 0
        self._newest = Answer(pong, asked_s, time.monotonic())
        return 1


class SubscriberClock:
    """Tells the combiner's time: from ``sync``, or because its clock is the ``same``, or not at all."""

    def __init__(self, sync: SyncClient | None, *, same: bool) -> None:
        self._sync = sync
        self._same = same
        self._steering = Steering()

    def now(self) -> tuple[int, int | None]:
        """Return the time, in nanoseconds of UTC, and by how much that may be wrong; None: nobody knows."""
        now_ns = clock.now_ns()
        found = self._sync.offset() if self._sync else None
        if found is None:
            return now_ns, 0 if self._same else None
        offset = self._steering.follow(found, now_ns)
        return now_ns + offset.ns, offset.uncertainty_ns
