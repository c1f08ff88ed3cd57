"""What a producer is made of, as its options say."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager

import zmq

from framepair.nodes.common import payload_limits, runtime
from framepair.nodes.producer import pace
from framepair.nodes.producer.alive import saying_alive
from framepair.nodes.producer.flow import Link, linked
from framepair.nodes.producer.options import Options
from framepair.nodes.producer.outbox import Origin, Outbox
from framepair.nodes.producer.sources.opening import open_source, parse
from framepair.nodes.producer.sources.source import Capture, Format, Retelling, SourceError
from framepair.nodes.producer.stamps import Stamps
from framepair.protocol.clocks import clock
from framepair.protocol.clocks.clock import Clock
from framepair.protocol.memory import payload, shared_ring
from framepair.protocol.memory.free_space import NoRoom
from framepair.protocol.memory.jpeg import Jpeg
from framepair.protocol.memory.payload import Payload, Place, Writer
from framepair.protocol.transport import keys, sockets
from framepair.protocol.transport.heartbeat import Heartbeat
from framepair.protocol.wire.limits import ProtocolError, source_name

# How often it is looked whether a recording may begin to play.
PLAY_POLL_S = 0.02


class Parts:
    """Makes each part once, in the order of the methods; they raise Refused for what cannot be had."""

    def __init__(self, options: Options, stop: runtime.Stop, heartbeat: Heartbeat) -> None:
        self._options, self._stop, self._heartbeat = options, stop, heartbeat
        self._pace = pace.named(
            options.pace,
            window_s=options.window,
            recorded=_is_recorded(options),
            offset_ns=options.offset_ns,
            play_at_ns=options.play_at_ns(),
        )
        self._lost = threading.Event()
        self._now_ns = self.clock()
        self._run = self._now_ns()

    def clock(self) -> Clock:
        """Return what tells the time."""
        return clock.now_ns

    def source(self) -> Capture:
        """Open the source; the caller closes it."""
        options = self._options
        try:
            return open_source(
                source_name(options.name),
                options.source,
                loop=options.loop,
                open_timeout_s=options.open_timeout,
                read_timeout_s=options.read_timeout,
                allow_redirects=options.allow_redirects,
                wanted=options.wanted(),
                stopped=self._stop.is_set,
                beat=self._heartbeat.beat,
                lost=self._lost,
                wait=options.wait,
            )
        except ProtocolError as error:
            raise runtime.Refused(str(error)) from None
        except SourceError as error:
            raise runtime.Refused(f"{error}{_hint(options)}") from None

    @contextlib.contextmanager
    def outbox(self, source_format: Format) -> Iterator[Outbox]:
        """Connect to the combiner, and close all sockets afterwards."""
        origin = Origin(
            self._options.name,
            self._run,
            self._pace.name,
            self._pace.lossless,
            self._pace.total(source_format, self._options.until),
        )
        with (
            sockets.new_context() as context,
            self._push(context, source_format) as push,
            self._linked(context) as link,
        ):
            yield self._outbox(push, origin, link)

    def memory(self, source_format: Format) -> Writer:
        """Return the memory for frames of this format, all of it taken now; the caller closes it."""
        options = self._options
        history_s = payload.history_s(options.history, options.window, options.max_wait_s)
        directory = options.shm_dir or shared_ring.default_directory()
        place = Place(options.name, self._run, source_format.fps, history_s, directory)
        writer = _payload(options).writer(place)
        try:
            writer.reserve(source_format.shape)
        except NoRoom as error:
            writer.close()
            raise runtime.Refused(f"{options.name}: {error}") from None
        return writer

    def until_ns(self, source_format: Format) -> int | None:
        """Return the capture time at which to end, None if there is none."""
        until_ns = self._options.until_ns()
        if until_ns is None or not self._pace.lossless:
            return until_ns
        return until_ns + (source_format.begins_ns or 0) + source_format.start_ns

    @property
    def passes_files(self) -> bool:
        """Whether a frame that is a JPEG file already may travel as it is."""
        return self._options.payload_asked().name == Jpeg.name

    def retelling(self, source: Capture) -> Retelling | None:
        """Return ``source`` if it knows of pairs that are the same when it plays now; None if it doesn't."""
        window_ns = round(self._options.window * 1e9)
        same = self._options.offset_ns % window_ns == 0
        return (
            source
            if isinstance(source, Retelling) and source.window_ns == window_ns and same
            else None
        )

    def stamps(self, source_format: Format, offset_ns: int | None) -> Stamps:
        """Return the rule for stamps, beginning now; ``offset_ns`` is how far the combiner's clock is ahead.

        A recording waits for the launcher, if there is one, to let all of its sources begin.
        """
        if source_format.begins_ns is not None and not self._pace.lossless:
            self._pace = self._playing()
        return self._pace.stamps(source_format, offset_ns, self._now_ns)

    def _playing(self) -> pace.Pace:
        """Return the pace that begins when the launcher says so."""
        options, told_ns = self._options, None
        while self._heartbeat.has_launcher and options.play_at is None and not self._stop.is_set():
            told_ns = self._heartbeat.read_play_ns()
            if told_ns is not None:
                told_ns += self._now_ns() - time.monotonic_ns()
                break
            self._stop.wait(PLAY_POLL_S)
        return pace.named(
            options.pace,
            window_s=options.window,
            recorded=True,
            offset_ns=options.offset_ns,
            play_at_ns=options.play_at_ns() if told_ns is None else told_ns,
        )

    def signs_of_life(self, outbox: Outbox, stamps: Stamps) -> AbstractContextManager[None]:
        """Return what says, while it is entered, that the producer is there though no frame comes."""
        if not self._pace.says_alive:
            return contextlib.nullcontext()
        return saying_alive(outbox, stamps, self._lost)

    def _outbox(self, push: zmq.Socket[bytes], origin: Origin, link: Link | None) -> Outbox:
        return Outbox(
            push,
            origin,
            stop=self._stop,
            heartbeat=self._heartbeat,
            now_ns=self._now_ns,
            link=link,
        )

    def _push(
        self, context: zmq.Context[zmq.Socket[bytes]], source_format: Format
    ) -> AbstractContextManager[zmq.Socket[bytes]]:
        options = self._options
        frame_bytes = math.prod(source_format.shape)
        default_bytes = sockets.window_bytes(frame_bytes, source_format.fps, options.window)
        hwm = sockets.queue_frames(options.max_bytes or default_bytes, frame_bytes)
        client = keys.client(options.keys, options.push, insecure=options.insecure)
        return sockets.push(
            context, options.push, hwm=hwm, lossless=self._pace.lossless, keys=client
        )

    def _linked(
        self, context: zmq.Context[zmq.Socket[bytes]]
    ) -> AbstractContextManager[Link | None]:
        options = self._options
        if options.sync is None or not self._pace.compares_clocks:
            return contextlib.nullcontext()
        client = keys.client(options.keys, options.sync, insecure=options.insecure)
        return linked(context, options.sync, options.name, self._run, client, self._now_ns)


def _is_recorded(options: Options) -> bool:
    """Return whether the video has a beginning: what it is not, a producer says when it opens it."""
    with contextlib.suppress(SourceError):
        uri = parse(options.source)
        synthetic_ends = uri.synthetic is not None and uri.synthetic.total > 0
        return options.loop or uri.kind in ("file", "recording") or synthetic_ends
    return False


def _is_live(options: Options) -> bool:
    with contextlib.suppress(SourceError):
        return parse(options.source).live
    return False


def _payload(options: Options) -> Payload:
    return payload_limits.settled(options.payload_asked(), options.pace, [options.push])


def _hint(options: Options) -> str:
    return "; --wait keeps trying" if _is_live(options) else ""


def refuse_impossible(options: Options) -> None:
    """Raise Refused for options that cannot be met, before anything is opened."""
    runtime.nanoseconds("--window", options.window, above=0)
    runtime.nanoseconds("--history", options.history, above=0)
    for address in (options.push, *([options.sync] if options.sync else [])):
        keys.client(options.keys, address, insecure=options.insecure)
    if options.speed != 1.0 and options.pace == "max":
        raise runtime.Refused("--speed: --pace max is as fast as possible: leave out one of them")
    payload_limits.refuse_beyond(_payload(options), options.pace, options.push)
    if options.offset_ns < 0 and not _is_live(options):
        raise runtime.Refused(
            f"--offset {options.offset}: only a live source's stamps can be put back: give the others an offset"
        )
