"""The consumer that only measures: subscribe, take every pair as it comes, report."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

from framepair.nodes.common import exit_codes, json_output, log_format, runtime, streams
from framepair.nodes.common.options import Consuming, NotNegative, node_app
from framepair.nodes.sink.interim import Interim
from framepair.nodes.sink.latency import PairTimes
from framepair.nodes.sink.ledger import Account, Ledger, no_pair, shortfall
from framepair.nodes.sink.stampings import Stampings
from framepair.protocol.client.clip import Clip, Pair
from framepair.protocol.client.subscriber import Subscription, subscribe
from framepair.protocol.clocks import shared_offset
from framepair.protocol.transport.heartbeat import Heartbeat

if TYPE_CHECKING:
    from framepair.nodes.sink.report import Report
    from framepair.nodes.sink.screen import Screen

POLL_S = 0.2
# Pairs that come later do not count for health checks: frames flow, and are of no use. As old as those let the
# newest frame be.
IN_TIME_NS = 5_000_000_000

app = node_app("sink", "Measure the pairs that a combiner publishes.")


@dataclass(frozen=True, kw_only=True)
class Options(Consuming):
    """What a sink can be told."""

    sub: str
    """Address that the combiner publishes at: ipc:///ABSOLUTE/PATH or tcp://HOST:PORT."""

    sync: str | None = None
    """Where a combiner on another machine tells the time, so that latencies are right."""

    work_ms: Annotated[float, NotNegative] = 0.0
    """Pretend to work on each pair for so many milliseconds."""


@app.default
def measure(options: Options) -> None:
    """Show pairs as they come, and a report at the end of the stream or on SIGINT or SIGTERM."""
    runtime.keep_buffers()
    heartbeat = runtime.heartbeat()
    stop = runtime.stop_on_signals(heartbeat)
    if options.json:
        json_output.refuse_unwritable(options.json)
    times, ledger, stampings = PairTimes(), Ledger(), Stampings()
    agreed = shared_offset.agreed([options.sub])
    with agreed, _subscribe(options) as subscription, _screen(options) as screen:
        # Not at the top, as the screen: subscribing need not wait for a quarter of the start.
        from framepair.nodes.sink.report import Report

        turns = Turns(options, heartbeat, subscription, ledger, screen)
        runtime.ready(f"waits for pairs at {options.sub}", heartbeat)
        started_s = time.monotonic()
        for pair in arriving(subscription, stop, turns.turn):
            ledger.add_pair(pair)
            turns.interim.add_pair(pair)
            stampings.add_pair(pair)
            screen.show(pair, times.add_pair(pair), take(pair))
            _tell(heartbeat, pair)
            stop.wait(options.work_ms / 1e3)
        heartbeat.tell("done")
        duration_s, stats = time.monotonic() - started_s, subscription.stats()
        # The report comes before threads are waited for: on a busy machine those may take long.
        accounts = ledger.accounts(stats)
        told = (stats.lost_pairs, stats.rejected, stampings.sources)
        report = Report(options.sub, duration_s, times, accounts, *told)
        _show(report, screen, options.json)
        fault = _fault(accounts, empty=not (times.pairs or stop.is_set()), strict=options.strict)
        wait_for_reader(stop, heartbeat)
        stop.set_done(exit_codes.FAILED if fault else 0)
    _fail(fault)


def _fault(accounts: Mapping[str, Account], *, empty: bool, strict: bool) -> str | None:
    """Return why a run has failed, None if it has not; ``empty``: no pair came, and no signal."""
    fault = no_pair(accounts) if empty else None
    return fault or (shortfall(accounts) if strict else None)


class Turns:
    """What the work does with or without a pair: give a sign of life, and say now and then how it went."""

    def __init__(
        self,
        options: Options,
        heartbeat: Heartbeat,
        subscription: Subscription,
        ledger: Ledger,
        screen: Screen,
    ) -> None:
        self.interim = Interim(options.report_every_s, time.monotonic())
        self._heartbeat = heartbeat
        self._subscription = subscription
        self._ledger = ledger
        self._screen = screen
        signal.signal(signal.SIGUSR1, lambda *_: self.interim.ask())

    def turn(self) -> None:
        """Give a sign of life, and print the line that is due."""
        # Asking for a pair is a sign of life to the launcher; the status file hears of it here.
        self._heartbeat.beat()
        self._screen.tick()
        now_s = time.monotonic()
        if self.interim.is_due(now_s):
            stats = self._subscription.stats()
            line = self.interim.take_line(now_s, self._ledger.accounts(stats), stats.lost_pairs)
            with self._screen.printing():
                self._screen.console.print(line, soft_wrap=True)


def _show(report: Report, screen: Screen, json: Path | None) -> None:
    screen.end()
    with screen.printing():
        report.show(screen.console)
    if json:
        _write(report, json)


def _screen(options: Options) -> Screen:
    from framepair.nodes.sink.screen import Screen

    to_stderr = options.json == json_output.STDOUT
    return Screen(to_stderr=to_stderr, lines=options.lines, quiet=options.quiet)


def _subscribe(options: Options) -> Subscription:
    return subscribe(
        options.sub,
        keep=options.keep,
        shm_dir=options.shm_dir,
        keys=options.keys,
        insecure=options.insecure,
        sync=options.sync,
    )


def _tell(heartbeat: Heartbeat, pair: Pair) -> None:
    """Tell the launcher and the status file of the frames of a pair."""
    count = sum(len(clip.frames) for clip in pair.values())
    if is_in_time(pair):
        heartbeat.count_frames(count)
    if count:
        heartbeat.tell("paired")


def is_in_time(pair: Pair) -> bool:
    """Return whether a pair's newest frame was captured a short time ago, as far as clocks can tell."""
    return pair.lag_uncertainty_ns is None or pair.lag_ns < IN_TIME_NS


def _write(report: Report, path: Path) -> None:
    try:
        json_output.write(path, report.as_json())
    except OSError as error:
        # The disk has filled since the start.
        _fail(f"cannot write the report to {path}: {error.strerror}")


def _fail(fault: str | None) -> None:
    """Exit with 1 if there is a ``fault``, after saying so."""
    if fault is not None:
        print(log_format.current().sentence("sink", "error", fault), file=sys.stderr)
        sys.exit(exit_codes.FAILED)


def arriving(
    subscription: Subscription, stop: runtime.Stop, each_turn: Callable[[], None]
) -> Iterator[Pair]:
    """Yield pairs until the stream is over or, once ``stop`` is set, those that are on their way already.

    Call ``each_turn`` at each turn of the work, with or without a pair.
    """
    stopping = False
    while not subscription.ended:
        stop.extend_deadline()
        if stop.is_set() and not stopping:
            stopping = True
            subscription.stop()
        each_turn()
        pair = subscription.get(POLL_S)
        if pair is not None:
            yield pair
    # What is left is the report.
    stop.extend_deadline()


def wait_for_reader(stop: runtime.Stop, heartbeat: Heartbeat) -> None:
    """Wait until a reader that is slow, such as a pager, has all, or until ``stop``."""
    while streams.drain(POLL_S) and not stop.is_set():
        heartbeat.beat()
    if stop.is_set():
        stop.extend_deadline()
        streams.finish()


def take(pair: Pair) -> dict[str, float]:
    """Take every clip's array; return how long each was waited for since the announcement, in ms."""
    return {source: _take_ms(clip, pair.header.closed_ns) for source, clip in pair.items()}


def _take_ms(clip: Clip, closed_ns: int) -> float:
    if not clip.frames:
        return 0.0
    began_ns = time.perf_counter_ns()
    _ = clip.array if _has_one_shape(clip) else clip.images
    return (max(0, clip.ready_ns - closed_ns) + time.perf_counter_ns() - began_ns) / 1e6


def _has_one_shape(clip: Clip) -> bool:
    return all(frame.shape == clip.frames[0].shape for frame in clip.frames)


def main() -> NoReturn:
    """Run the sink as a process."""
    runtime.run(app, "sink")
