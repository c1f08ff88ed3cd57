"""The producer: captures one source and pushes its frames. Open, grab, stamp, push."""

from __future__ import annotations

import contextlib
import math
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from typing import Annotated, NoReturn

import zmq
from cyclopts import Parameter

from framepair.nodes.common import payload_limits, runtime
from framepair.nodes.common.fault_spec import of_source
from framepair.nodes.common.options import ONLY_ON, SEVERAL, Producing, node_app
from framepair.nodes.producer import probe
from framepair.nodes.producer.faults import FaultyCapture, FaultyOutbox, distort, spoil, stamps_with
from framepair.nodes.producer.flow import Link, linked
from framepair.nodes.producer.outbox import Outbox
from framepair.nodes.producer.sources.opening import open_source
from framepair.nodes.producer.sources.source import Capture, Format, FrameLost, SourceError
from framepair.nodes.producer.sources.uri import parse
from framepair.nodes.producer.stamps import Playback, Stamp, Stamps, stamps_for
from framepair.protocol.clocks import clock
from framepair.protocol.memory import payload, shared_ring
from framepair.protocol.memory.free_space import NoRoom
from framepair.protocol.memory.payload import Place, Writer
from framepair.protocol.transport import keys, sockets
from framepair.protocol.transport.heartbeat import Heartbeat
from framepair.protocol.wire import header
from framepair.protocol.wire.frame import EndReason

app = node_app("producer", __doc__)
app.command(probe.probe, name="--probe")


@dataclass(frozen=True, kw_only=True)
class Options(probe.Options, Producing):
    """What a producer can be told."""

    push: str
    """Where to push frames: the combiner's address for this source, ipc:///PATH or tcp://HOST:PORT."""
    sync: str | None = None
    """Where a combiner on another machine tells the time. Frames that would be late aren't sent then."""
    returns: Annotated[bool, ONLY_ON] = False
    """It will be started again when its video is over, which consumers should not take for the end."""
    until: float = math.inf
    """Capture time at which to end: seconds of UTC or, with --pace max, of the video."""
    fault: Annotated[tuple[str, ...], SEVERAL] = ()
    """Fail on purpose: freeze@10s,5s, crash@5s, slow@3s,50ms, drop@0.01, skew@200ms or garbage@8s; times count
    from the first frame on."""


@app.default
def produce(options: Annotated[Options, Parameter(name="*")]) -> None:
    """Capture one source and push its frames to the combiner."""
    _refuse_impossible(options)
    of_source(options.name, options.fault)
    heartbeat = runtime.heartbeat()
    stop = runtime.stop_on_signals(heartbeat)
    runtime.keep_buffers()
    with closing(_open(options, stop, heartbeat)) as source:
        # A source that was waited for may not be there yet.
        if not stop.is_set():
            _produce(source, options, stop, heartbeat)


def _produce(source: Capture, options: Options, stop: runtime.Stop, heartbeat: Heartbeat) -> None:
    faults = of_source(options.name, options.fault)
    distort(faults)
    run, total = clock.now_ns(), _total(source.format, options)
    with (
        sockets.new_context() as context,
        _push(context, options, source.format) as push,
        _linked(context, options, run) as link,
    ):
        outbox = FaultyOutbox(
            push,
            options.name,
            run=run,
            pace=options.pace,
            total=total,
            stop=stop,
            heartbeat=heartbeat,
            link=link,
        )
        with closing(_payload(options, source.format, run)) as memory:
            runtime.ready(f"{options.name} {_describe(source.format)}", heartbeat)
            outbox.wait_for_combiner()
            spoil(outbox, faults)
            video = Playback(options.pace, options.loop, options.window)
            stamps = stamps_with(stamps_for(source.format, video, outbox.offset_ns()), faults)
            faulty = FaultyCapture(source, faults) if faults else source
            stream = Stream(faulty, memory, stamps, outbox, heartbeat)
            reason = stream.run(_until_ns(options), stop)
            outbox.end("stopped" if options.returns else reason)
    runtime.log.info("captured %d frames, could not send %d", outbox.seq, outbox.dropped)


class Stream:
    """A source's way from the capture to the outbox."""

    def __init__(
        self,
        source: Capture,
        payload: Writer,
        stamps: Stamps,
        outbox: Outbox,
        heartbeat: Heartbeat,
    ) -> None:
        self._source = source
        self._payload = payload
        self._stamps = stamps
        self._outbox = outbox
        self._heartbeat = heartbeat

    def run(self, until_ns: int | None, stop: runtime.Stop) -> EndReason:
        """Send frames until the video is over; return why it ended."""
        while self._grab(stop):
            stamp = self._stamps.stamp()
            until_ns = until_ns or self._heartbeat.read_until_ns()
            if until_ns is not None and stamp.captured_ns >= until_ns:
                return "finished"
            try:
                self._retrieve(stamp)
            except FrameLost as error:
                self._outbox.skip(error)
                continue
            self._stamps.wait(stamp, stop)
            if stop.is_set():
                break
            if self._outbox.has_room():
                packed = self._payload.pack(self._outbox.seq)
                self._outbox.send(packed, stamp, self._source.format, self._source.reopened)
            else:
                self._outbox.drop()
            self._heartbeat.count_frames()
            self._heartbeat.tell("flowing")
        return "stopped" if stop.is_set() else "finished"

    def _grab(self, stop: runtime.Stop) -> bool:
        """Take the next frame when it is time; return whether there is one and nobody said stop."""
        self._heartbeat.beat()
        self._stamps.rest(stop)
        return self._source.grab() and not stop.is_set()

    def _retrieve(self, stamp: Stamp) -> None:
        """Decode the grabbed frame straight into the memory that it travels in."""
        memory = self._payload.reserve(self._source.format.shape)
        frame = self._source.retrieve(memory, self._outbox.seq, stamp.captured_ns)
        if frame is not memory:
            # The source has changed the size of its frames, which is only known now.
            self._payload.reserve(self._source.format.shape)[:] = frame


def _open(options: Options, stop: runtime.Stop, heartbeat: Heartbeat) -> Capture:
    try:
        return open_source(
            header.source_name(options.name),
            options.source,
            loop=options.loop,
            open_timeout_s=options.open_timeout,
            read_timeout_s=options.read_timeout,
            stopped=stop.is_set,
            beat=heartbeat.beat,
            wait=options.wait,
        )
    except header.ProtocolError as error:
        raise runtime.Refused(str(error)) from None
    except SourceError as error:
        raise runtime.Refused(f"{error}{_hint(options)}") from None


def _hint(options: Options) -> str:
    with contextlib.suppress(SourceError):
        return "; --wait keeps trying" if parse(options.source).live else ""
    return ""


def _push(
    context: zmq.Context[zmq.Socket[bytes]], options: Options, source_format: Format
) -> AbstractContextManager[zmq.Socket[bytes]]:
    frame_bytes = math.prod(source_format.shape)
    default_bytes = sockets.window_bytes(frame_bytes, source_format.fps, options.window)
    hwm = sockets.queue_frames(options.max_bytes or default_bytes, frame_bytes)
    client = keys.client(options.keys, options.push, insecure=options.insecure)
    return sockets.push(context, options.push, hwm=hwm, lossless=options.pace == "max", keys=client)


def _linked(
    context: zmq.Context[zmq.Socket[bytes]], options: Options, run: int
) -> AbstractContextManager[Link | None]:
    if options.sync is None or options.pace == "max":
        return contextlib.nullcontext()
    client = keys.client(options.keys, options.sync, insecure=options.insecure)
    return linked(context, options.sync, options.name, run, client)


def _refuse_impossible(options: Options) -> None:
    runtime.nanoseconds("--window", options.window, above=0)
    runtime.nanoseconds("--history", options.history, above=0)
    for address in (options.push, *([options.sync] if options.sync else [])):
        keys.client(options.keys, address, insecure=options.insecure)
    payload_limits.refuse_beyond(options.payload_asked(), options.pace, options.push)


def _payload(options: Options, source_format: Format, run: int) -> Writer:
    """Return the memory for frames of this format; raises Refused if it does not fit."""
    history_s = payload.history_s(options.history, options.window, options.max_wait_s)
    directory = options.shm_dir or shared_ring.default_directory()
    place = Place(options.name, run, source_format.fps, history_s, directory)
    writer = options.payload_asked().writer(place)
    try:
        # All memory is taken now: if it doesn't fit, nothing should have started.
        writer.reserve(source_format.shape)
    except NoRoom as error:
        writer.close()
        raise runtime.Refused(f"{options.name}: {error}") from None
    return writer


def _until_ns(options: Options) -> int | None:
    return None if math.isinf(options.until) else round(options.until * 1e9)


def _total(source_format: Format, options: Options) -> int:
    """Return how many frames will come in all, 0 if nobody knows."""
    if options.pace == "realtime" or math.isinf(options.until):
        return source_format.total
    until = math.ceil(options.until * source_format.fps)
    return min(source_format.total or until, until)


def _describe(source_format: Format) -> str:
    height, width, _ = source_format.shape
    return f"{width}x{height} {source_format.encoding} at {source_format.fps:g} fps"


def main() -> NoReturn:
    """Run the producer as a process."""
    runtime.run(app, "producer")
