"""The producer: captures one source and pushes its frames. Open, grab, stamp, push."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import closing
from typing import Final, NoReturn

import numpy as np

from framepair.nodes.common import runtime
from framepair.nodes.common.options import node_app
from framepair.nodes.producer import probe
from framepair.nodes.producer.faults import FaultyParts
from framepair.nodes.producer.options import Options
from framepair.nodes.producer.outbox import Outbox
from framepair.nodes.producer.parts import Parts, refuse_impossible
from framepair.nodes.producer.sources.source import (
    Capture,
    Compressed,
    Format,
    FrameLost,
    Image,
    Retelling,
    SourceError,
)
from framepair.nodes.producer.stamps import Stamp, Stamps
from framepair.protocol.clocks import shared_offset
from framepair.protocol.memory.free_space import NoRoom
from framepair.protocol.memory.payload import Packed, Writer
from framepair.protocol.transport.heartbeat import Heartbeat
from framepair.protocol.wire.frame import EndReason, picture_size

# A combiner may announce a pair so much before its window's end.
MAX_EARLY_NS: Final = 50_000_000

app = node_app("producer", __doc__)
app.command(probe.probe, name="--probe")


@app.default
def produce(options: Options) -> None:
    """Capture one source and push its frames to the combiner."""
    refuse_impossible(options)
    with shared_offset.agreed([options.push]):
        _capture(options)


def _capture(options: Options) -> None:
    heartbeat = runtime.heartbeat()
    stop = runtime.stop_on_signals(heartbeat)
    parts = (FaultyParts if options.fault else Parts)(options, stop, heartbeat)
    runtime.keep_buffers()
    with closing(parts.source()) as source:
        # A source that was waited for may not be there yet.
        if stop.is_set():
            return
        with parts.outbox(source.format) as outbox, closing(parts.memory(source.format)) as memory:
            runtime.ready(f"{options.name} {_describe(source.format)}", heartbeat)
            if isinstance(source, Retelling) and source.run is not None:
                outbox.use_run(source.run)
            outbox.wait_for_combiner()
            stamps = parts.stamps(source.format, outbox.offset_ns())
            files = source if parts.passes_files and isinstance(source, Compressed) else None
            records = parts.retelling(source)
            stream = Stream(source, memory, stamps, outbox, heartbeat, files, records)
            with parts.signs_of_life(outbox, stamps), _refusing():
                reason = stream.run(parts.until_ns(source.format), stop)
            outbox.end("stopped" if options.returns else reason)
            # libzmq closes no socket while it looks up a name, for ten seconds where no server answers.
            stop.set_done()
    runtime.log.info("captured %d frames, could not send %d", outbox.captured, outbox.lost)


class Stream:
    """A source's way from the capture to the outbox."""

    def __init__(
        self,
        source: Capture,
        payload: Writer,
        stamps: Stamps,
        outbox: Outbox,
        heartbeat: Heartbeat,
        files: Compressed | None = None,
        records: Retelling | None = None,
    ) -> None:
        self._source = source
        self._files = files
        self._records = records
        self._payload = payload
        self._stamps = stamps
        self._outbox = outbox
        self._heartbeat = heartbeat

    def run(self, until_ns: int | None, stop: runtime.Stop) -> EndReason:
        """Send frames until the video is over; return why it ended."""
        if self._records:
            self._outbox.begin_retelling()
        self._retell(stop)
        while self._grab(stop):
            stamp = self._outbox.stamp(self._stamps, self._source.position)
            until_ns = until_ns or self._heartbeat.read_until_ns()
            if until_ns is not None and stamp.captured_ns >= until_ns:
                return "finished"
            # Asked first: a frame that has no room on the link need not be decoded.
            if stamp.late or not self._outbox.has_room():
                self._outbox.drop()
                self._count_frame()
            elif self._send(stamp, stop):
                self._count_frame()
            self._retell(stop)
        return "stopped" if stop.is_set() else "finished"

    def _count_frame(self) -> None:
        self._heartbeat.count_frames()
        self._heartbeat.tell("flowing")

    def _retell(self, stop: runtime.Stop) -> None:
        """Send what was announced of recorded pairs before the next frame, each when its window ends."""
        for retold in self._records.retold() if self._records else ():
            self._heartbeat.beat()
            if retold.end_ns is not None:
                due_ns = self._stamps.of_position(retold.end_ns) - MAX_EARLY_NS
                self._stamps.wait_until(due_ns, stop)
            if stop.is_set():
                return
            self._outbox.retell(retold, self._stamps)

    def _grab(self, stop: runtime.Stop) -> bool:
        """Take the next frame when it is time; return whether there is one, and it is not time to stop."""
        self._heartbeat.beat()
        self._stamps.rest(stop)
        return self._source.grab() and not stop.is_set()

    def _send(self, stamp: Stamp, stop: runtime.Stop) -> bool:
        """Decode the grabbed frame and send it when it is due; return whether it was one, and not too late."""
        file = self._files.file() if self._files else None
        try:
            if file is None:
                self._retrieve(stamp)
        except FrameLost as error:
            self._outbox.skip(error)
            return False
        self._stamps.wait(stamp, stop)
        if stop.is_set():
            return False
        source = self._source
        if file is not None:
            packed = Packed(file, "jpeg")
        else:
            packed = self._payload.pack(self._outbox.seq, source.format.encoding)
        self._outbox.send(packed, stamp, source.format, source.reopened, source.skipped)
        return True

    def _retrieve(self, stamp: Stamp) -> None:
        """Decode the grabbed frame into the memory that it travels in; raises FrameLost if there is none."""
        shape = self._source.format.shape
        lost: FrameLost | None = None
        try:
            memory = self._reserve(shape)
        except FrameLost as error:
            # Decoded all the same: only that shows when the source is back at a size that has room.
            memory, lost = np.empty(shape, np.uint8), error
        frame = self._source.retrieve(memory, self._outbox.seq, stamp.captured_ns)
        if frame is not memory:
            # The source has changed the size of its frames, which is only known now.
            self._reserve(self._source.format.shape)[:] = frame
        elif lost:
            raise lost

    def _reserve(self, shape: tuple[int, int, int]) -> Image:
        """Return memory for a frame of ``shape``; raises FrameLost if it can't be had, and the former stays."""
        try:
            return self._payload.reserve(shape)
        except NoRoom as error:
            raise FrameLost(f"a frame is lost: {error}") from None


@contextlib.contextmanager
def _refusing() -> Iterator[None]:
    """Raise Refused for a source that turns out, once it was opened, to be none that can be used."""
    try:
        yield
    except SourceError as error:
        raise runtime.Refused(str(error)) from None


def _describe(source_format: Format) -> str:
    width, height = picture_size(source_format.shape, source_format.encoding)
    return f"{width}x{height} {source_format.encoding} at {source_format.fps:g} fps"


def main() -> NoReturn:
    """Run the producer as a process."""
    runtime.run(app, "producer")
