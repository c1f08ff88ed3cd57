"""The pictures that browsers look at: frames are received, chosen and made small only while one does."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import struct
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from framepair.nodes.monitor.instants import Arrival, Instant, Instants
from framepair.protocol.client.receiver import Receiver
from framepair.protocol.client.route import Route
from framepair.protocol.client.selection import Selection
from framepair.protocol.memory.payloads import PAYLOADS
from framepair.protocol.memory.shared_ring import Attached
from framepair.protocol.transport.keys import ClientKeys
from framepair.protocol.transport.rate_limited_log import RateLimitedLog
from framepair.protocol.wire import published
from framepair.protocol.wire.frame import FrameHeader, picture_size
from framepair.protocol.wire.header import ProtocolError
from framepair.protocol.wire.pair import PairHeader, StreamEnd
from framepair.protocol.wire.published import Frame

INTERVAL_NS: Final = 100_000_000
# Pictures take no more than a third of one processor core, however many sources and widths there are.
REST: Final = 2
# Sent and not yet acknowledged: one on its way, and one that the browser draws. Where a picture takes longer
# than this, a second one would wait behind it, and be old when it is shown.
MAX_IN_FLIGHT, QUICK_S = 2, 0.25
# Whoever looks must not make others wait: where processors are busy, pictures become fewer first.
NICENESS: Final = 10
# A page that is loaded again comes back before its frames have stopped.
LINGER_S: Final = 2.0
MAX_WIDTH, WIDTH_STEP = 1920, 160

# Rates that differ by less are one: those of cameras are not exact.
SAME_RATE: Final = 1.05

LENGTH: Final = struct.Struct(">I")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Picture:
    """A frame as JPEG files, by the width that was asked for."""

    header: FrameHeader
    files: dict[int, bytes]


class Viewer:
    """One browser: how wide its pictures are, which one it gets next, and how many it has not acknowledged.

    A picture that a newer one overtakes is never sent: a slow browser gets fewer, and no older ones. Belongs to
    the event loop; other threads may ask what it ``wants``.
    """

    def __init__(self) -> None:
        self._width = 0
        self._sent_s: deque[float] = deque()
        """When those were sent that it has not acknowledged."""
        self._allowed = 1
        self._next: bytes | None = None
        self._changed = asyncio.Event()

    @property
    def wants(self) -> int:
        """The width in pixels that its next picture should have; 0: it wants none for now."""
        return self._width if len(self._sent_s) < self._allowed and self._next is None else 0

    def show(self, width: int) -> None:
        """Note how wide pictures are shown, in pixels; 0: none are for now."""
        self._width = min(MAX_WIDTH, -(-width // WIDTH_STEP) * WIDTH_STEP)

    def acknowledge(self) -> None:
        """Note that the oldest message has been drawn."""
        if self._sent_s:
            took_s = time.monotonic() - self._sent_s.popleft()
            self._allowed = MAX_IN_FLIGHT if took_s < QUICK_S else 1
        self._changed.set()

    @property
    def owes(self) -> bool:
        """Whether it has not acknowledged all that it got."""
        return bool(self._sent_s)

    def offer(self, message: bytes) -> None:
        """Give it a message, in place of one that it has not got yet."""
        self._next = message
        self._changed.set()

    async def next_message(self) -> bytes:
        """Return the newest message as soon as the browser may have it."""
        while self._next is None or len(self._sent_s) >= self._allowed:
            self._changed.clear()
            await self._changed.wait()
        message, self._next = self._next, None
        self._sent_s.append(time.monotonic())
        return message


class Pictures:
    """Sends what a combiner publishes at ``sub`` to viewers, of all sources side by side.

    While one looks it subscribes to frames alone, as ``subscribe(pairs=False)`` does, in a thread that also
    scales and codes; what it can't do in time is not sent, and slows nothing. To be used in one event loop.
    """

    def __init__(self, sub: str, shm_dir: Path, client: ClientKeys | None = None) -> None:
        self._sub = sub
        self._shm_dir = shm_dir
        self._client = client
        self._viewers: set[Viewer] = set()
        self._changing = asyncio.Lock()
        self._receiver: Receiver | None = None
        self._queue: FrameQueue | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @contextlib.asynccontextmanager
    async def viewing(self, viewer: Viewer) -> AsyncIterator[None]:
        """Send pictures to ``viewer`` as long as the ``with`` lasts."""
        self._viewers.add(viewer)
        try:
            async with self._changing:
                if self._queue is None or self._queue.ended:
                    await self._begin()
            yield
        finally:
            self._viewers.discard(viewer)
            task = asyncio.create_task(self._end_later())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    @property
    def viewers(self) -> int:
        """How many browsers look."""
        return len(self._viewers)

    def widths(self) -> frozenset[int]:
        """Return the widths that viewers want; may be called from any thread."""
        return frozenset(viewer.wants for viewer in tuple(self._viewers)) - {0}

    def close(self) -> None:
        """End the subscription, if there is one."""
        if self._receiver is not None:
            self._receiver.close()

    async def _begin(self) -> None:
        loop = asyncio.get_running_loop()
        queue = FrameQueue(
            self._shm_dir,
            widths=self.widths,
            show=lambda instant: self._hand_over(loop, instant),
            ask=lambda topics: receiver.want_frames(topics),
        )
        topics = Selection(pairs=False, decode=False).topics()
        route = Route(self._sub, self._shm_dir)
        receiver = Receiver(self._sub, queue, topics, self._client, route=route, niceness=NICENESS)
        await asyncio.to_thread(receiver.start)
        self._receiver, self._queue = receiver, queue

    async def _end_later(self) -> None:
        await asyncio.sleep(LINGER_S)
        async with self._changing:
            if self._receiver is not None and not self._viewers:
                await asyncio.to_thread(self._receiver.close)
                self._receiver = self._queue = None

    def _hand_over(self, loop: asyncio.AbstractEventLoop, instant: Instant[Picture]) -> None:
        # The server may stop before the thread that receives does.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(self._offer, instant)

    def _offer(self, instant: Instant[Picture]) -> None:
        messages = {width: message(instant, width) for width in instant.widths}
        for viewer in self._viewers:
            if viewer.wants in messages:
                viewer.offer(messages[viewer.wants])


def picture_topics(header: PairHeader) -> list[bytes]:
    """Return the topics of the frames that pictures are drawn of, once a pair is known.

    Those that end a window are left out where all sources have the same rate, and enough frames: consumers wait
    for them, and would wait for their copies, too.
    """
    clips = header.clips.values()
    rates = sorted(clip.fps or 0.0 for clip in clips)
    alike = rates[-1] <= SAME_RATE * rates[0]
    early = alike and all(clip.frames >= published.MIN_EARLY for clip in clips)
    return [
        published.frame_topic(source) + (published.EARLY if early else b"")
        for source in header.clips
    ]


def message(instant: Instant[Picture], width: int) -> bytes:
    """Return what is sent of an instant: the length of a JSON text in 4 bytes, the text, and the JPEG files.

    The text says of each file, in order, which frame it is. Nanoseconds are text: a browser's numbers are too
    coarse for them.
    """
    shown = [picture for picture in instant.pictures.values() if picture is not None]
    times = [picture.header.captured_ns for picture in shown]
    text = msgspec.json.encode(
        {
            "at_ns": str(instant.at_ns),
            "spread_ms": (max(times) - min(times)) / 1e6 if times else 0.0,
            "pictures": [_description(picture.header, picture.files[width]) for picture in shown],
        }
    )
    return b"".join((LENGTH.pack(len(text)), text, *(picture.files[width] for picture in shown)))


def _description(header: FrameHeader, file: bytes) -> dict[str, object]:
    width, height = picture_size(header.shape, header.encoding)
    uncertainty_ns = header.whole_uncertainty_ns
    return {
        "source": header.source,
        "seq": str(header.seq),
        "captured_ns": str(header.captured_ns),
        "stamp": header.stamp,
        "uncertainty_ms": None if uncertainty_ns is None else uncertainty_ns / 1e6,
        "width": width,
        "height": height,
        "bytes": len(file),
    }


def is_amid(header: FrameHeader) -> bool:
    """Return whether the frames of other sources, of the same rate, of that instant are early, too."""
    if header.window is None or header.window_ns is None:
        return True
    since_ns = header.captured_ns - header.window * header.window_ns
    left_ns = header.window_ns - since_ns
    return (
        since_ns >= header.period_ns / 2
        and left_ns > (published.LAST_PERIODS + 0.5) * header.period_ns
    )


class FrameQueue:
    """Where the thread that receives puts frames; it draws those of which pictures are wanted, no others."""

    def __init__(
        self,
        shm_dir: Path,
        widths: Callable[[], frozenset[int]],
        show: Callable[[Instant[Picture]], object],
        ask: Callable[[list[bytes]], object] = lambda _: None,
    ) -> None:
        self._attached = Attached(shm_dir)
        self._widths = widths
        self._show = show
        self._ask = ask
        self._topics: list[bytes] = []
        self._sources: frozenset[str] = frozenset()
        """Those of the newest pair."""
        self._instants: Instants[Frame, Picture] = Instants(INTERVAL_NS, self._draw)
        self._spent_ns = 0
        self._rest_until_ns = 0
        self.ended = False
        """Whether nothing comes in any more, as receiving or drawing has failed."""
        self._log = RateLimitedLog(log)

    def add(self, received: Frame | PairHeader | StreamEnd, now: object) -> None:  # noqa: ARG002
        """Add a message: a frame, or a pair, which tells which sources there are."""
        if not isinstance(received, tuple):
            if isinstance(received, PairHeader):
                self._note_pair(received)
            return
        header, _ = received
        if self._sources and header.source not in self._sources:
            # The next pair will have it, or it has just been removed: others must not wait for it.
            return
        now_ns = time.monotonic_ns()
        begins = now_ns >= self._rest_until_ns and (not self._early or is_amid(header))
        widths = self._widths() if begins else frozenset[int]()
        arrival = Arrival(header.source, header.captured_ns, header.period_ns, received)
        instant = self._instants.add(arrival, now_ns, widths)
        if instant is not None:
            self._rest_until_ns = now_ns + REST * self._spent_ns
            self._spent_ns = 0
            self._show(instant)

    def _note_pair(self, header: PairHeader) -> None:
        """Keep to the sources of a pair, and ask for the frames that are wanted of them."""
        if self._sources != header.clips.keys():
            self._sources = frozenset(header.clips)
            self._attached.keep_only(self._sources)
            self._instants.keep_only(self._sources)
        topics = picture_topics(header)
        if topics != self._topics:
            self._topics = topics
            self._ask(topics)

    @property
    def _early(self) -> bool:
        """Whether frames that end a window do not come."""
        return any(topic.endswith(published.EARLY) for topic in self._topics)

    def reject(self, error: ProtocolError) -> None:
        """Warn of a malformed message, but not of each."""
        self._log.warn("malformed", f"dropped a malformed message: {error}")

    def wait_for_room(self, over: Callable[[], bool]) -> None:
        """Return at once: there is always room."""

    def finish(self, error: Exception | None) -> None:
        """Forget all frames; say so if nothing more comes in because of ``error``."""
        self.ended = True
        self._instants.clear()
        self._attached.clear()
        if isinstance(error, ImportError):
            log.error(
                "no pictures: OpenCV, which scales them, cannot be loaded (%s): install its libraries"
                " (Debian: apt-get install libgl1 libglib2.0-0)",
                error,
            )
        elif error is not None:
            log.error("pictures have ended", exc_info=error)

    @property
    def stream_end(self) -> StreamEnd | None:
        """None: also after the combiner's last word another one may come, and viewers wait for it."""
        return None

    def _draw(self, frame: Frame, widths: frozenset[int]) -> Picture | None:
        """Return the pictures of a frame; None if it is damaged, or has been overwritten meanwhile."""
        began_ns = time.monotonic_ns()
        header, _ = frame
        try:
            files = self._files(frame, widths)
        except ProtocolError as error:
            self.reject(error)
            return None
        finally:
            self._spent_ns += time.monotonic_ns() - began_ns
        return Picture(header, files) if files else None

    def _files(self, frame: Frame, widths: frozenset[int]) -> dict[int, bytes] | None:
        # OpenCV takes 40 MB: it is loaded once a browser looks.
        from framepair.nodes.monitor.drawing import draw

        header, pixels = frame
        if pixels is not None:
            return draw(header, pixels, widths)
        slot = PAYLOADS[header.payload].locate(header, self._attached)
        files = draw(header, slot.image, widths)
        return files if slot.intact else None
