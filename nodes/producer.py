"""The producer: captures one source and pushes its frames. Open, grab, stamp, push."""

from __future__ import annotations

import math
import os
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from typing import Annotated, Literal

import cyclopts
import numpy as np
import zmq
from cyclopts import Parameter

from nodes import runtime
from nodes.capture import Capture
from nodes.outbox import Outbox
from nodes.reopen import open_source
from nodes.schedule import LiveStamps, MediaStamps, PacedStamps, Stamps
from nodes.source import Format, FrameLost, SourceError
from protocol import clock, header, socket
from protocol.frame import EndReason

SOURCE_VARIABLE = "FRAMEPAIR_SOURCE"

app = cyclopts.App(name="python -m nodes.producer", help=__doc__, version_flags=[])


@dataclass(frozen=True)
class Options:
    """What a producer can be told."""

    name: str
    """Name of the source: letters, digits, _ and -."""
    push: str
    """Where to push frames: the combiner's address for this source, ipc:///PATH or tcp://HOST:PORT."""
    source: str = ""
    """A video file, a camera (0, /dev/video0), a stream (rtsp://…, http://…) or synthetic://WIDTHxHEIGHT@FPS.
    Without this flag FRAMEPAIR_SOURCE in the environment: everybody can read flags, and URLs hold passwords."""
    pace: Literal["realtime", "max"] = "realtime"
    """realtime: at the source's own rate, dropping what cannot be sent. max: as fast as all can take it."""
    loop: Annotated[bool, Parameter(negative=())] = False
    """Begin a file again when it ends."""
    until: float = math.inf
    """Capture time at which to end: seconds of UTC or, with --pace max, of the video."""
    window: float = 1.0
    """Length of a window in seconds; two windows of frames may queue for a combiner that is busy."""
    max_bytes: int | None = None
    """How many bytes may queue instead."""
    open_timeout: float = 5.0
    """How many seconds a camera or stream may take to open."""
    read_timeout: float = 3.0
    """After how many seconds without a frame a camera or stream is opened again."""
    wait: Annotated[bool, Parameter(negative=())] = False
    """Keep trying a camera or stream that cannot be opened at the start, instead of giving up."""


@app.default
def produce(options: Annotated[Options, Parameter(name="*")]) -> None:
    """Capture one source and push its frames to the combiner."""
    stop = runtime.stop_on_signals()
    runtime.keep_buffers()
    with closing(_open(options, stop)) as source:
        # A source that was waited for may not be there yet.
        if not stop.is_set():
            _produce(source, options, stop)


def _produce(source: Capture, options: Options, stop: runtime.Stop) -> None:
    with socket.new_context() as context, _push(context, options, source.format) as push:
        total = _total(source.format, options)
        outbox = Outbox(push, options.name, pace=options.pace, total=total, stop=stop)
        runtime.ready(f"{options.name} {_describe(source.format)}")
        outbox.wait_for_combiner()
        outbox.end(_stream(source, _stamps(options, source.format), outbox, options, stop))
    runtime.log.info("captured %d frames, could not send %d", outbox.seq, outbox.dropped)


def _stream(
    source: Capture, stamps: Stamps, outbox: Outbox, options: Options, stop: runtime.Stop
) -> EndReason:
    """Send frames until the video is over; return why it ended."""
    until_ns = options.until * 1e9
    while source.grab() and not stop.is_set():
        stamp = stamps.stamp()
        if stamp.captured_ns >= until_ns:
            return "finished"
        frame = np.empty(source.format.shape, np.uint8)
        try:
            frame = source.retrieve(frame, outbox.seq, stamp.captured_ns)
        except FrameLost as error:
            outbox.skip(error)
            continue
        stamps.wait(stamp, stop)
        if stop.is_set():
            break
        outbox.send(frame, stamp, source.format)
    return "stopped" if stop.is_set() else "finished"


def _open(options: Options, stop: runtime.Stop) -> Capture:
    try:
        return open_source(
            header.source_name(options.name),
            options.source or os.environ.get(SOURCE_VARIABLE, ""),
            loop=options.loop,
            open_timeout_s=options.open_timeout,
            read_timeout_s=options.read_timeout,
            stopped=stop.is_set,
            wait=options.wait,
        )
    except (SourceError, header.ProtocolError) as error:
        raise runtime.Refused(str(error)) from None


def _push(
    context: zmq.Context[zmq.Socket[bytes]], options: Options, source_format: Format
) -> AbstractContextManager[zmq.Socket[bytes]]:
    frame_bytes = math.prod(source_format.shape)
    default_bytes = socket.window_bytes(frame_bytes, source_format.fps, options.window)
    hwm = socket.queue_frames(options.max_bytes or default_bytes, frame_bytes)
    return socket.push(context, options.push, hwm=hwm, lossless=options.pace == "max")


def _stamps(options: Options, source_format: Format) -> Stamps:
    if options.pace == "max":
        return MediaStamps(source_format.fps)
    if source_format.live:
        return LiveStamps(source_format.fps)
    return PacedStamps(source_format.fps, start_ns=clock.now_ns())


def _total(source_format: Format, options: Options) -> int:
    """Return how many frames will come in all, 0 if nobody knows."""
    if options.pace == "realtime" or math.isinf(options.until):
        return source_format.total
    until = math.ceil(options.until * source_format.fps)
    return min(source_format.total or until, until)


def _describe(source_format: Format) -> str:
    height, width, _ = source_format.shape
    return f"{width}x{height} {source_format.encoding} at {source_format.fps:g} fps"


if __name__ == "__main__":
    runtime.run(app, "producer")
