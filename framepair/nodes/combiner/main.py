"""The combiner: receives every source in a thread of its own, and publishes pairs."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, NoReturn

import zmq
from msgspec.structs import replace

from framepair.nodes.combiner.inbox import Inboxes, receiving
from framepair.nodes.combiner.intake import Clock, Incoming, Intake, IntakeByCapture
from framepair.nodes.combiner.open_windows import ReceivedFrame
from framepair.nodes.combiner.pace import Rules
from framepair.nodes.combiner.publisher import Publisher
from framepair.nodes.combiner.source_list import SourceListFollower
from framepair.nodes.combiner.startup import MAX_HELD_BYTES
from framepair.nodes.combiner.time_server import TimeServer, telling_time
from framepair.nodes.combiner.windows import Accepted, Windows
from framepair.nodes.common import runtime, sources_file
from framepair.nodes.common.options import SEVERAL, Combining, node_app
from framepair.nodes.common.sources_file import SourcesFile
from framepair.nodes.common.subscriptions import Subscriptions
from framepair.protocol.clocks import clock, shared_offset
from framepair.protocol.transport import endpoints, keys, sockets
from framepair.protocol.transport.authenticator import Authenticator
from framepair.protocol.transport.connection_guard import ConnectionGuard
from framepair.protocol.transport.heartbeat import Heartbeat
from framepair.protocol.transport.keys import ServerKeys
from framepair.protocol.transport.rate_limited_log import RateLimitedLog
from framepair.protocol.wire.frame import Alive, EndReason, FrameHeader
from framepair.protocol.wire.limits import ProtocolError, source_name
from framepair.protocol.wire.recorded import RecordedClip

log = logging.getLogger(__name__)

# How often the clock is looked at while nothing arrives and no window is due.
TICK_S = 0.2
# Frames that stay where they are, in shared memory, are taken together after so long: to wake a thread costs
# more than to take a frame, and consumers use them after the window's end, unless one says otherwise.
TOGETHER_S = 0.1
# But not of more sources than that: theirs come together anyway, and a subscriber's queue has to hold them all.
MAX_TOGETHER = 8

app = node_app("combiner", __doc__)


@dataclass(frozen=True, kw_only=True)
class Options(Combining):
    """What a combiner can be told."""

    pull: Annotated[tuple[str, ...], SEVERAL]
    """NAME=ADDRESS, once for each source: where to receive it, ipc:///PATH or tcp://HOST:PORT."""
    pub: str
    """Where to publish pairs."""
    sources_file: Path | None = None
    """File that says which sources there are instead of --pull, as soon as it is there: a version, which grows,
    and a table [sources] of NAME = ADDRESS. It is read again when another takes its place."""
    sync: str | None = None
    """Where to tell the time, to producers and sinks on other machines."""


@app.default
def combine(options: Options) -> None:
    """Receive every source, and publish pairs of what they captured at the same time."""
    addresses, rules = _at_start(options), _rules(options)
    options.most_sources(len(addresses))
    server = _keys(options, addresses)
    with shared_offset.agreed(endpoints.make_directories([options.pub, *addresses.values()])):
        _combine(options, addresses, rules, server)


def _combine(
    options: Options, addresses: dict[str, str], rules: Rules, server: ServerKeys | None
) -> None:
    heartbeat = runtime.heartbeat()
    stop = runtime.stop_on_signals(heartbeat)
    runtime.keep_buffers()
    run = clock.now_ns()
    windows: Windows[zmq.Frame] = Windows(addresses, rules, run, RateLimitedLog(log).warn)
    with _listening(options, addresses, server, run) as ways:
        publisher = Publisher(
            ways.xpub,
            ways.subscriptions,
            sources=options.most_sources(len(addresses)),
            consumers=options.consumers,
            rules=rules,
            max_bytes=options.max_bytes,
            stop=stop,
            heartbeat=heartbeat,
        )
        intake = _intake(options, ways, windows)
        combiner = Combiner(windows, intake, publisher, ways, heartbeat)
        if options.sources_file:
            file = SourcesFile(options.sources_file)
            combiner.follow(SourceListFollower(file, windows, intake, ways.inboxes, heartbeat))
        runtime.ready(f"{', '.join(addresses)} -> {options.pub}", heartbeat)
        reason = combiner.run(stop)
        publisher.end(run, windows.announced, reason, windows.totals())
    log.info("announced %d pairs", windows.announced)


@dataclass(frozen=True, slots=True)
class Ways:
    """What the combiner's messages come in by and go out by.

    The inboxes set ``bell`` for each message. ``taken`` is how far each source has come, which the time server
    tells: of which run, and how many frames of it.
    """

    inboxes: Inboxes
    bell: threading.Event
    xpub: zmq.Socket[bytes]
    subscriptions: Subscriptions
    taken: dict[str, tuple[int, int]]
    time_server: TimeServer | None
    authenticator: Authenticator | None

    def check(self) -> None:
        """Raise what ended a thread that only answers, if one failed; ``Inbox.take`` does that for its own."""
        for answering in (self.time_server, self.authenticator):
            if answering:
                answering.check()


class Combiner:
    """Carries what the inboxes hold through the windows to the publisher."""

    def __init__(
        self,
        windows: Windows[zmq.Frame],
        intake: Intake,
        publisher: Publisher,
        ways: Ways,
        heartbeat: Heartbeat,
    ) -> None:
        self._windows = windows
        self._intake = intake
        self._publisher = publisher
        self._ways = ways
        self._heartbeat = heartbeat
        self._largest: dict[str, int] = {}
        self._at_rest: set[str] = set()
        self._moving: set[str] = set()
        self._changes: SourceListFollower | None = None

    def follow(self, changes: SourceListFollower) -> None:
        """Let sources come and go from now on."""
        self._changes = changes

    def run(self, stop: runtime.Stop) -> EndReason:
        """Combine until every source is over, or until ``stop``; return which of the two it was."""
        while not self._windows.finished and not stop.is_set():
            self._heartbeat.beat()
            if self._windows.end_ns is not None:
                self._heartbeat.tell("flowing")
            self._ways.bell.wait(self._patience_s())
            stop.wait(self._rest_s())
            self._ways.bell.clear()
            self._take_all(patient=True)
        finished = self._windows.finished
        self._finish()
        return "finished" if finished else "stopped"

    def _finish(self) -> None:
        """Publish all that came until now."""
        for inbox in self._ways.inboxes.values():
            inbox.stop()
        for inbox in self._ways.inboxes.values():
            inbox.join()
        self._take_all(patient=False)
        self._publish(self._windows.stop(clock.now_ns()))
        for pair in self._windows.flush(clock.now_ns()):
            self._publisher.pair(pair)

    def _patience_s(self) -> float:
        """Return how long to wait for messages at most."""
        now_ns = clock.now_ns()
        due_ns = self._windows.due_ns(now_ns)
        return TICK_S if due_ns is None else max(0.0, min(TICK_S, (due_ns - now_ns) / 1e9))

    def _rest_s(self) -> float:
        """Return for how long what has come may wait for more to come."""
        end_ns = self._windows.end_ns
        if end_ns is None or self._moving or not 0 < len(self._at_rest) <= MAX_TOGETHER:
            return 0.0
        if self._ways.subscriptions.want_newest:
            return 0.0
        # At the end of a window every millisecond counts.
        return max(0.0, min(TOGETHER_S, (end_ns - clock.now_ns()) / 1e9 - 2 * TOGETHER_S))

    def _take_all(self, *, patient: bool) -> None:
        self._publisher.attend()
        self._ways.check()
        now_ns = clock.now_ns()
        for incoming in self._intake.take(now_ns, patient=patient):
            self._take(incoming)
            # As of then: after a pause, what was received in time must not be late for its window.
            self._announce(incoming.received_ns)
        self._publish(self._windows.release(now_ns))
        # Not as of now: what was received since has not been taken.
        self._announce(now_ns)
        if self._changes is not None:
            for gone in self._changes.turn(now_ns):
                self._largest.pop(gone, None)
                self._at_rest.discard(gone)
                self._moving.discard(gone)

    def _take(self, incoming: Incoming) -> None:
        if isinstance(incoming, ReceivedFrame):
            self._note(incoming.header)
            self._publish(self._windows.frame(incoming))
        elif isinstance(incoming.header, Alive):
            self._windows.alive(incoming.header, incoming.received_ns)
        elif isinstance(incoming.header, RecordedClip):
            self._windows.retell(incoming.header, incoming.received_ns)
        else:
            self._windows.end(incoming.header, incoming.received_ns)

    def _note(self, head: FrameHeader) -> None:
        """Note how far a source has come, and where its pixels are."""
        self._ways.taken[head.source] = head.run, head.seq + 1
        (self._at_rest if head.location else self._moving).add(head.source)
        (self._moving if head.location else self._at_rest).discard(head.source)

    def _publish(self, frames: Sequence[Accepted[zmq.Frame]]) -> None:
        """Publish frames, and make the queues long enough for more of their kind."""
        # Of all first: the subscribers' queues get their length with the first frame that is published.
        for frame in frames:
            self._publisher.expect_frames(frame.header)
            self._limit_inbox(frame.header)
        for frame in frames:
            self._publisher.frame(frame)
        # Those that came in time for a pair: of a link that is too slow none may.
        self._heartbeat.count_frames(len(frames))

    def _limit_inbox(self, head: FrameHeader) -> None:
        """Let as many of a source's frames wait as at any link, but MAX_HELD_BYTES, unless told otherwise."""
        if self._windows.rules.max_bytes is None:
            # JPEGs differ in size: what counts is the largest so far.
            largest = max(self._largest.get(head.source, 0), head.message_bytes or head.nbytes)
            self._largest[head.source] = largest
            window_s = self._windows.rules.window_ns / 1e9
            nbytes = sockets.window_bytes(largest, head.fps, window_s)
            self._ways.inboxes[head.source].limit(min(nbytes, MAX_HELD_BYTES))

    def _announce(self, now_ns: int) -> None:
        for pair in self._windows.closed(now_ns):
            self._publisher.pair(replace(pair, closed_ns=clock.now_ns()))


@contextlib.contextmanager
def _listening(
    options: Options, addresses: dict[str, str], server: ServerKeys | None, run: int
) -> Iterator[Ways]:
    """Open all sockets, and close them at the end; raises EndpointError if one of them cannot listen."""
    bell, guard = threading.Event(), ConnectionGuard(options.pub)
    lossless = options.pace == "max"
    taken: dict[str, tuple[int, int]] = {}
    with (
        sockets.new_context(io_threads=options.most_sources(len(addresses)) + 1) as context,
        sockets.accepting(context, server) as authenticator,
        sockets.publish(context, options.pub, lossless=lossless, keys=server, guard=guard) as xpub,
        receiving(context, addresses, bell, lossless=lossless, keys=server) as inboxes,
        telling_time(context, options.sync, run, taken, server) as time_server,
    ):
        subscriptions = Subscriptions(xpub, options.pub, guard)
        yield Ways(inboxes, bell, xpub, subscriptions, taken, time_server, authenticator)


def _intake(options: Options, ways: Ways, windows: Windows[zmq.Frame]) -> Intake:
    """Return what takes messages in the order that the pace needs."""
    intake = IntakeByCapture if options.pace == "max" else Intake
    inboxes, clock_at = ways.inboxes.values(), partial(_clock_at, options)
    return intake(inboxes, windows, clock_at=clock_at, max_frame=options.max_frame)


def _keys(options: Options, addresses: dict[str, str]) -> ServerKeys | None:
    """Return the keys of the combiner's addresses; raises Refused if a flag is missing."""
    if options.clock == "corrected" and options.sync is None:
        raise runtime.Refused(
            "--clock corrected needs an address to tell producers the time at: --sync"
        )
    asked = [*addresses.values(), options.pub, *([options.sync] if options.sync else [])]
    return keys.server(options.keys, asked, insecure=options.insecure)


def _clock_at(options: Options, address: str) -> Clock:
    """Return whose clock the stamps are of that come in at ``address``."""
    if options.clock == "corrected":
        return "compared"
    if endpoints.is_on_this_machine(address):
        return "ours"
    return "theirs" if options.clock == "stamped" else "compared"


def _at_start(options: Options) -> dict[str, str]:
    """Return where to receive each source; raises Refused for what can't be used."""
    addresses = _addresses(options.pull)
    asked = sources_file.read(options.sources_file) if options.sources_file else None
    return dict(asked.addresses) if asked else addresses


def _addresses(pulls: tuple[str, ...]) -> dict[str, str]:
    addresses: dict[str, str] = {}
    for pull in pulls:
        name, found, address = pull.partition("=")
        try:
            source_name(name)
        except ProtocolError as error:
            raise runtime.Refused(f"--pull {pull}: {error}") from None
        if not found or name in addresses or address in addresses.values():
            raise runtime.Refused(f"--pull {pull}: it is NAME=ADDRESS, each of them only once")
        addresses[name] = address
    return addresses


def _rules(options: Options) -> Rules:
    return Rules(
        window_ns=runtime.nanoseconds("--window", options.window, above=0),
        max_wait_ns=runtime.nanoseconds("--max-wait", options.max_wait_s),
        idle_timeout_ns=runtime.nanoseconds("--idle-timeout", options.idle_timeout),
        start_timeout_ns=runtime.nanoseconds("--start-timeout", options.start_timeout),
        pace=options.pace,
        max_bytes=options.max_bytes,
    )


def main() -> NoReturn:
    """Run the combiner as a process."""
    runtime.run(app, "combiner")
