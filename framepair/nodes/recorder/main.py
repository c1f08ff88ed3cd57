"""The consumer that records every frame and every pair's header, to files that the field's tools open."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, NoReturn

from framepair.nodes.common import durations, record_options, runtime
from framepair.nodes.common.options import OUTPUT, node_app
from framepair.nodes.common.record_options import Recording
from framepair.nodes.recorder.archive import SEGMENT_BYTES, Archive, Rules
from framepair.nodes.recorder.coding import Coder
from framepair.nodes.recorder.message_queue import MessageQueue, QueuedFrame
from framepair.protocol.client.receiver import Receiver
from framepair.protocol.client.route import Route
from framepair.protocol.client.selection import Selection
from framepair.protocol.clocks import clock, shared_offset
from framepair.protocol.memory import shared_ring
from framepair.protocol.recording.ledger import Announcement, Received
from framepair.protocol.transport import keys, relays
from framepair.protocol.transport.heartbeat import Heartbeat
from framepair.protocol.wire.pair import PairHeader

# The archive is asked so often whether it is time to write.
POLL_S: Final = 0.1

app = node_app(
    "recorder", "Record what a combiner publishes: every frame, and every pair's header."
)


@dataclass(frozen=True)
class Target:
    """The one option that needs no flag. The last base of Options: its field has to be the first."""

    directory: Annotated[Path, OUTPUT]
    """Where the files of the recording go; made if need be."""


@dataclass(frozen=True, kw_only=True)
class Options(Recording, Target):
    """What a recorder can be told."""

    sub: str
    """Address that the combiner publishes at: ipc:///ABSOLUTE/PATH or tcp://HOST:PORT."""

    def rules(self) -> Rules:
        """Return how long, how large and how old files may be."""
        return Rules(
            segment_ns=durations.parse_ns(self.record_segment),
            segment_bytes=SEGMENT_BYTES,
            keep_ns=durations.parse_ns(self.record_keep),
            max_bytes=record_options.parse_bytes(self.record_max_bytes),
        )


@app.default
def record(options: Options) -> None:
    """Record until the end of the stream, or until SIGINT or SIGTERM."""
    runtime.keep_buffers()
    heartbeat = runtime.heartbeat()
    stop = runtime.stop_on_signals(heartbeat)
    with shared_offset.agreed([options.sub]), _own(options.directory), _coder(options) as coder:
        archive = Archive(options.directory, options.rules(), clock.now_ns(), clock.now_ns)
        archive.prepare()
        shm_dir = options.shm_dir or shared_ring.default_directory()
        queue = MessageQueue(coder, shm_dir)
        client = keys.client(options.keys, options.sub, insecure=options.insecure)
        # The launcher knows whether a relay has what is to be recorded: JPEGs as they travel it has not.
        route = Route(options.sub, shm_dir if relays.is_expected(options.sub) else None)
        topics = Selection(decode=False).topics()
        receiver = Receiver(options.sub, queue, topics, client, route=route)
        with _receiving(receiver):
            runtime.ready(
                f"records {options.sub} to {options.directory}: {kept(options)}", heartbeat
            )
            write_all(queue, archive, receiver, stop, heartbeat)
        heartbeat.tell("done")
        archive.close()
        print(f"recorder: {sentence(archive.received(), archive.files)}", file=sys.stderr)


def kept(options: Options) -> str:
    """Return how much of a recording stays, for the line that says that it begins."""
    return (
        f"the newest {options.record_keep} (--record-keep) or {options.record_max_bytes}"
        " (--record-max-bytes) stay, whichever is less"
    )


def write_all(
    queue: MessageQueue,
    archive: Archive,
    receiver: Receiver,
    stop: runtime.Stop,
    heartbeat: Heartbeat,
) -> None:
    """Write what comes until the stream is over or, once ``stop`` is set, what is on its way already."""
    stopping = False
    while not queue.ended:
        stop.extend_deadline()
        if stop.is_set() and not stopping:
            stopping = True
            receiver.stop()
        heartbeat.beat()
        item = queue.take(POLL_S)
        if isinstance(item, QueuedFrame):
            _write_frame(archive, item)
            heartbeat.count_frames()
        elif item is not None:
            archive.add_announcement(item)
            _tell(heartbeat, item)
        archive.tick()
    stop.extend_deadline()


def _write_frame(archive: Archive, frame: QueuedFrame) -> None:
    image = frame.image()
    if image is None:
        archive.lose_frame(frame.header.source, frame.lost or "")
    else:
        archive.add_frame(frame.header, image)


def _tell(heartbeat: Heartbeat, header: Announcement) -> None:
    if isinstance(header, PairHeader) and any(clip.frames for clip in header.clips.values()):
        heartbeat.tell("paired")


def sentence(received: Mapping[str, Received], files: int) -> str:
    """Say how many frames are on disk, and what is lost of those that came."""
    if not received:
        return "no frame came"
    told = []
    for source, account in sorted(received.items()):
        lost = sum(account.lost.values())
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(account.lost.items()))
        told.append(f"{source} {account.came - lost}" + (f" (lost {reasons})" if lost else ""))
    return f"frames on disk: {', '.join(told)}; {files} {'file' if files == 1 else 'files'}"


@contextlib.contextmanager
def _own(directory: Path) -> Iterator[None]:
    """Make the directory, and keep other recorders out; raises Refused if it can't be used."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise runtime.Refused(
            f"cannot record to {directory}: {error.strerror}: choose another directory"
        ) from None
    try:
        if not os.access(directory, os.W_OK | os.X_OK):
            raise runtime.Refused(
                f"{directory} may not be written by this user: choose another directory"
            )
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise runtime.Refused(
            f"another recorder writes to {directory}: choose another directory"
        ) from None
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _coder(options: Options) -> Iterator[Coder]:
    coder = Coder(record_options.parse_codec(options.record_codec))
    try:
        yield coder
    finally:
        coder.close()


@contextlib.contextmanager
def _receiving(receiver: Receiver) -> Iterator[None]:
    receiver.start()
    try:
        yield
    finally:
        receiver.close()


def main() -> NoReturn:
    """Run the recorder as a process."""
    runtime.run(app, "recorder", usage="framepair record DIR --sub ADDRESS")
