"""The combiner: receives every source in a thread of its own, and publishes pairs."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Annotated, NoReturn

import zmq
from cyclopts import Parameter
from msgspec.structs import replace

from framepair.nodes.combiner.inbox import Inbox, receiving
from framepair.nodes.combiner.intake import Clock, FrameArrival, Intake
from framepair.nodes.combiner.publisher import Publisher
from framepair.nodes.combiner.time_server import TimeServer, telling_time
from framepair.nodes.combiner.track import Rules
from framepair.nodes.combiner.windows import Windows
from framepair.nodes.common import runtime
from framepair.nodes.common.options import SEVERAL, Combining, node_app
from framepair.protocol.clocks import clock
from framepair.protocol.transport import endpoints, keys, sockets
from framepair.protocol.transport.heartbeat import Heartbeat
from framepair.protocol.wire import header
from framepair.protocol.wire.frame import EndReason
from framepair.protocol.wire.pair import MAX_SOURCES

# How often the clock is looked at while nothing arrives and no window is due.
TICK_S = 0.2
# Frames that stay where they are, in shared memory, are taken together after so long: to wake a thread costs
# more than to take a frame, and nobody waits for them before the window's end.
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
    sync: str | None = None
    """Where to tell the time, to producers and sinks on other machines."""


@app.default
def combine(options: Annotated[Options, Parameter(name="*")]) -> None:
    """Receive every source, and publish pairs of what they captured at the same time."""
    if options.clock == "corrected" and options.sync is None:
        raise runtime.Refused(
            "--clock corrected needs an address to tell producers the time at: --sync"
        )
    addresses = _addresses(options.pull)
    rules = _rules(options)
    asked = [*addresses.values(), options.pub, *([options.sync] if options.sync else [])]
    server = keys.server(options.keys, asked, insecure=options.insecure)
    heartbeat = runtime.heartbeat()
    stop = runtime.stop_on_signals(heartbeat)
    runtime.keep_buffers()
    bell = threading.Event()
    run = clock.now_ns()
    windows: Windows[zmq.Frame] = Windows(addresses, rules, run)
    taken: dict[str, tuple[int, int]] = {}
    with (
        sockets.new_context(io_threads=len(addresses) + 1) as context,
        sockets.accepting(context, server),
        sockets.publish(context, options.pub, keys=server) as xpub,
        receiving(context, addresses, bell, lossless=options.pace == "max", keys=server) as inboxes,
        telling_time(context, options.sync, run, taken, server) as time_server,
    ):
        publisher = Publisher(
            xpub,
            sources=len(addresses),
            rules=rules,
            max_bytes=options.max_bytes,
            stop=stop,
            heartbeat=heartbeat,
        )
        intake = Intake(
            list(inboxes.values()),
            rules.pace,
            rejected=windows.reject,
            overflowed=windows.overflow,
            clocks=_clocks(options, addresses),
        )
        combiner = Combiner(windows, inboxes, intake, publisher, options.max_bytes, heartbeat)
        combiner.taken, combiner.time_server = taken, time_server
        runtime.ready(f"{', '.join(addresses)} -> {options.pub}", heartbeat)
        reason = combiner.run(bell, stop)
        publisher.end(run, windows.announced, reason, windows.totals())
    runtime.log.info("announced %d pairs", windows.announced)


class Combiner:
    """Carries what the inboxes hold through the windows to the publisher."""

    def __init__(
        self,
        windows: Windows[zmq.Frame],
        inboxes: dict[str, Inbox],
        intake: Intake,
        publisher: Publisher,
        max_bytes: int | None,
        heartbeat: Heartbeat,
    ) -> None:
        self._windows = windows
        self._inboxes = inboxes
        self._intake = intake
        self._publisher = publisher
        self._max_bytes = max_bytes
        self._heartbeat = heartbeat
        self.time_server: TimeServer | None = None
        self.taken: dict[str, tuple[int, int]] = {}
        """How far each source has come; what the time server tells."""
        self._largest: dict[str, int] = {}
        self._at_rest: set[str] = set()
        self._moving: set[str] = set()

    def run(self, bell: threading.Event, stop: runtime.Stop) -> EndReason:
        """Combine until every source is over, or until ``stop``; return which of the two it was."""
        while not self._windows.finished and not stop.is_set():
            self._heartbeat.beat()
            if self._windows.end_ns() is not None:
                self._heartbeat.tell("flowing")
            bell.wait(self._patience_s())
            stop.wait(self._rest_s())
            bell.clear()
            self._take_all(patient=True)
        finished = self._windows.finished
        for inbox in self._inboxes.values():
            inbox.stop()
        for inbox in self._inboxes.values():
            inbox.join()
        self._take_all(patient=False)
        for accepted in self._windows.stop(clock.now_ns()):
            self._publisher.frame(accepted)
        for pair in self._windows.flush(clock.now_ns()):
            self._publisher.pair(pair)
        return "finished" if finished else "stopped"

    def _patience_s(self) -> float:
        """Return how long to wait for messages at most."""
        end_ns = self._windows.end_ns()
        if end_ns is None:
            return TICK_S
        due_ns = end_ns + self._windows.rules.max_wait_ns
        return max(0.0, min(TICK_S, (due_ns - clock.now_ns()) / 1e9))

    def _rest_s(self) -> float:
        """Return for how long what has come may wait for more to come."""
        end_ns = self._windows.end_ns()
        if end_ns is None or self._moving or not 0 < len(self._at_rest) <= MAX_TOGETHER:
            return 0.0
        # At the end of a window every millisecond counts.
        return max(0.0, min(TOGETHER_S, (end_ns - clock.now_ns()) / 1e9 - 2 * TOGETHER_S))

    def _take_all(self, *, patient: bool) -> None:
        if self.time_server:
            self.time_server.check()
        for arrival in self._intake.take(patient=patient):
            if isinstance(arrival, FrameArrival):
                self._take(arrival)
                # As of then: after a pause, what was received in time must not be late for its window.
                self._announce(arrival.received_ns)
            else:
                self._windows.end(arrival)
        for accepted in self._windows.release(clock.now_ns()):
            self._publisher.frame(accepted)
        self._announce(clock.now_ns())

    def _take(self, arrival: FrameArrival) -> None:
        head = arrival.header
        self._heartbeat.count_frames()
        self.taken[head.source] = head.run, head.seq + 1
        (self._at_rest if head.location else self._moving).add(head.source)
        (self._moving if head.location else self._at_rest).discard(head.source)
        if self._max_bytes is None:
            # JPEGs differ in size: what counts is the largest so far.
            largest = max(self._largest.get(head.source, 0), head.message_bytes or head.nbytes)
            self._largest[head.source] = largest
            window_s = self._windows.rules.window_ns / 1e9
            inbox = self._inboxes[head.source]
            inbox.max_bytes = sockets.window_bytes(largest, head.fps, window_s)
        for accepted in self._windows.frame(
            head, arrival.pixels, arrival.received_ns, arrival.received_ns
        ):
            self._publisher.frame(accepted)

    def _announce(self, now_ns: int) -> None:
        for pair in self._windows.closed(now_ns):
            self._publisher.pair(replace(pair, closed_ns=clock.now_ns()))


def _clocks(options: Options, addresses: dict[str, str]) -> dict[str, Clock]:
    """Return whose clock each source's stamps are of."""
    if options.clock == "corrected":
        return dict.fromkeys(addresses, "compared")
    elsewhere = [name for name, at in addresses.items() if not endpoints.is_on_this_machine(at)]
    return dict.fromkeys(elsewhere, "theirs" if options.clock == "stamped" else "compared")


def _addresses(pulls: tuple[str, ...]) -> dict[str, str]:
    addresses: dict[str, str] = {}
    for pull in pulls:
        name, found, address = pull.partition("=")
        try:
            header.source_name(name)
        except header.ProtocolError as error:
            raise runtime.Refused(f"--pull {pull}: {error}") from None
        if not found or name in addresses or address in addresses.values():
            raise runtime.Refused(f"--pull {pull}: it is NAME=ADDRESS, each of them only once")
        addresses[name] = address
    if len(addresses) > MAX_SOURCES:
        raise runtime.Refused(f"{len(addresses)} sources: {MAX_SOURCES} is the most")
    return addresses


def _rules(options: Options) -> Rules:
    return Rules(
        window_ns=runtime.nanoseconds("--window", options.window, above=0),
        max_wait_ns=runtime.nanoseconds("--max-wait", options.max_wait),
        idle_timeout_ns=runtime.nanoseconds("--idle-timeout", options.idle_timeout),
        start_timeout_ns=runtime.nanoseconds("--start-timeout", options.start_timeout),
        pace=options.pace,
    )


def main() -> NoReturn:
    """Run the combiner as a process."""
    runtime.run(app, "combiner")
