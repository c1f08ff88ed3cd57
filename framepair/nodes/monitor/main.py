"""The consumer that shows a pipeline: a page with its pictures, and metrics for Prometheus."""

from __future__ import annotations

import contextlib
import logging
import platform
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Final, NoReturn

from framepair.nodes.common import durations, monitor_options, runtime
from framepair.nodes.common.monitor_options import DEFAULT_ADDRESS, Listening, Monitoring
from framepair.nodes.common.options import OUTPUT, node_app
from framepair.nodes.common.plain_words import Detail
from framepair.nodes.monitor import metrics, server
from framepair.nodes.monitor.pictures import Pictures
from framepair.nodes.monitor.server import WebServer
from framepair.nodes.monitor.state import State
from framepair.protocol.client.subscriber import Subscription, subscribe
from framepair.protocol.clocks import clock, shared_offset
from framepair.protocol.memory import shared_ring
from framepair.protocol.transport import keys
from framepair.protocol.transport.heartbeat import Heartbeat

POLL_S: Final = 0.2
# Headers of pairs that may wait while this process is starved of time: they are a few hundred bytes each.
KEEP: Final = 100

log = logging.getLogger(__name__)

app = node_app("monitor", "Show what a combiner publishes: a page, and metrics for Prometheus.")


@dataclass(frozen=True)
class Place:
    """The one option that needs no flag. The last base of Options: its field has to be the first."""

    address: Annotated[str, OUTPUT, Detail(validator=monitor_options.address)] = DEFAULT_ADDRESS
    """HOST:PORT of the page and the metrics, or :PORT on this machine alone."""


@dataclass(frozen=True, kw_only=True)
class Options(Monitoring, Place):
    """What a monitor can be told."""

    sub: str
    """Address that the combiner publishes at: ipc:///ABSOLUTE/PATH or tcp://HOST:PORT."""

    sync: str | None = None
    """Where a combiner on another machine tells the time, so that latencies are right."""


@app.default
def monitor(options: Options) -> None:
    """Show the pipeline until the end of the stream, or until SIGINT or SIGTERM."""
    listening = monitor_options.parse_address(options.address)
    monitor_options.refuse_open(listening, options.monitor_token)
    token = monitor_options.read_token(options.monitor_token)
    heartbeat = runtime.heartbeat()
    stop = runtime.stop_on_signals(heartbeat)
    with shared_offset.agreed([options.sub]), _subscribe(options) as subscription:
        board = Board(State(clock.now_ns(), durations.parse_ns(options.unhealthy_after)))
        with _pictures(options) as pictures:
            page = server.application(
                snapshot=board.snapshot,
                metrics=metrics.text(board.reading),
                health=board.health,
                pictures=pictures,
                allowed_hosts=(listening.host, platform.node()),
                token=token,
            )
            with _serving(page, listening) as web_server:
                url = Listening(listening.host, web_server.port).url
                runtime.ready(f"{url} shows {options.sub}", heartbeat)
                watch(subscription, board, stop, heartbeat, web_server)
                heartbeat.tell("done")


def watch(
    subscription: Subscription,
    board: Board,
    stop: runtime.Stop,
    heartbeat: Heartbeat,
    web_server: WebServer,
) -> None:
    """Put what comes on the board, until the stream is over or ``stop`` is set; raises if the page is gone."""
    while not stop.is_set() and not subscription.ended:
        web_server.check()
        pair = subscription.get(POLL_S)
        heartbeat.beat()
        stats = subscription.stats()
        with board.reading() as (state, now_ns):
            if pair is not None:
                state.add_pair(pair, stats, now_ns)
            elif not stats.queued:
                state.add_end(stats)
        frames = sum(map(len, pair.values())) if pair else 0
        if frames:
            heartbeat.count_frames(frames)
            heartbeat.tell("paired")


class Board:
    """The state, behind a lock: one thread takes pairs, another answers requests."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def reading(self) -> Iterator[tuple[State, int]]:
        """Lend the state and the time; no other thread has it meanwhile."""
        with self._lock:
            yield self._state, clock.now_ns()

    def snapshot(self) -> dict[str, Any]:
        """Return what the page shows besides pictures."""
        with self.reading() as (state, now_ns):
            return state.snapshot(now_ns)

    def health(self, complete: bool) -> str | None:
        """Return why the pipeline is of no use, None if it is."""
        with self.reading() as (state, now_ns):
            return state.unhealthy(now_ns, complete=complete)


def _subscribe(options: Options) -> Subscription:
    return subscribe(
        options.sub,
        sources=[],
        keep=KEEP,
        keys=options.keys,
        insecure=options.insecure,
        sync=options.sync,
    )


def _pictures(options: Options) -> contextlib.closing[Pictures]:
    client = keys.client(options.keys, options.sub, insecure=options.insecure)
    directory = options.shm_dir or shared_ring.default_directory()
    return contextlib.closing(Pictures(options.sub, directory, client))


@contextlib.contextmanager
def _serving(page: Any, listening: Listening) -> Iterator[WebServer]:
    """Serve the page; raises Refused if the address can't be had."""
    with contextlib.ExitStack() as stack:
        try:
            serving = server.serving(page, listening.host, listening.port)
            web_server = stack.enter_context(serving)
        except OSError as error:
            raise runtime.Refused(
                f"the monitor cannot listen at {listening.host}:{listening.port}: {error.strerror}: give"
                " another HOST:PORT"
            ) from None
        yield web_server


def main() -> NoReturn:
    """Run the monitor as a process."""
    runtime.run(app, "monitor", usage="framepair monitor [HOST:PORT] --sub ADDRESS")
