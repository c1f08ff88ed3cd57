"""The queue between the thread that receives and the one that writes: messages in order, bounded in bytes."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from framepair.nodes.recorder.coding import Coder
from framepair.protocol.memory.payloads import PAYLOADS
from framepair.protocol.memory.ring import Pixels
from framepair.protocol.memory.shared_ring import Attached, RingUnseen
from framepair.protocol.recording.images import Image
from framepair.protocol.recording.ledger import Announcement
from framepair.protocol.transport.rate_limited_log import RateLimitedLog
from framepair.protocol.wire.frame import FrameHeader
from framepair.protocol.wire.header import ProtocolError
from framepair.protocol.wire.pair import PairHeader, StreamEnd
from framepair.protocol.wire.published import Frame
from framepair.protocol.wire.reasons import CORRUPT, RECORDER_SLOW, UNSEEN

POLL_S: Final = 0.2
# 41 raw frames of 1080p, 13 s of two such sources as JPEG.
MAX_BYTES: Final = 256 * 1024 * 1024

log = logging.getLogger(__name__)


@dataclass(slots=True)
class QueuedFrame:
    """A frame that waits to be written; ``lost`` says why it can't be, and then it has no picture."""

    header: FrameHeader
    nbytes: int
    picture: Image | Future[Image] | None
    lost: str | None = None

    def image(self) -> Image | None:
        """Return the picture, once it is coded; None if the frame is lost."""
        return self.picture.result() if isinstance(self.picture, Future) else self.picture

    def lose(self, reason: str) -> None:
        """Forget the picture."""
        if isinstance(self.picture, Future):
            self.picture.cancel()
        self.picture, self.nbytes, self.lost = None, 0, reason


class MessageQueue:
    """Takes messages from one thread and gives them to another, in order.

    When ``max_bytes`` of frames wait, the oldest frame is lost, which the queue says in its place; with pace
    max the sender waits instead. Frames in shared memory are copied out of it as they come.
    """

    def __init__(self, coder: Coder, shm_dir: Path, max_bytes: int = MAX_BYTES) -> None:
        self._coder = coder
        self._max_bytes = max_bytes
        self._attached = Attached(shm_dir)
        self._changed = threading.Condition()
        self._items: deque[QueuedFrame | Announcement] = deque()
        self._frames: deque[QueuedFrame] = deque()
        """The frames of ``items`` that are not lost."""
        self._bytes = 0
        self._lossless = self._done = False
        self._error: Exception | None = None
        self._end: StreamEnd | None = None
        self._log = RateLimitedLog(log)

    def add(self, received: Frame | Announcement, now: object) -> None:  # noqa: ARG002
        """Add a message; raises ProtocolError for a frame in shared memory that isn't there."""
        if isinstance(received, tuple):
            self._add_frame(*received)
            return
        with self._changed:
            self._end = received if isinstance(received, StreamEnd) else None
            if isinstance(received, PairHeader):
                self._lossless = received.pace == "max"
                self._attached.keep_only(received.clips)
            self._put(received)

    def reject(self, error: ProtocolError) -> None:
        """Warn of a malformed message, but not of each."""
        self._log.warn("malformed", f"dropped a malformed message: {error}")

    def wait_for_room(self, over: Callable[[], bool]) -> None:
        """Return as soon as more may come in, or when ``over`` says so."""
        with self._changed:
            while self._lossless and self._bytes >= self._max_bytes and not over():
                self._changed.wait(POLL_S)

    def finish(self, error: Exception | None) -> None:
        """End the queue: nothing more comes in, because of ``error`` if there is one."""
        with self._changed:
            self._done, self._error = True, error
            self._changed.notify_all()

    @property
    def stream_end(self) -> StreamEnd | None:
        """The combiner's last word, unless it has announced pairs since."""
        return self._end

    @property
    def ended(self) -> bool:
        """Whether nothing waits and nothing will come; raises RuntimeError if receiving has failed."""
        with self._changed:
            over = self._done and not self._items
            if over and self._error is not None:
                raise RuntimeError("the thread that receives has failed") from self._error
            return over

    def take(self, timeout_s: float) -> QueuedFrame | Announcement | None:
        """Return the next message, None if none came in time."""
        with self._changed:
            if not self._items and not self._done:
                self._changed.wait(timeout_s)
            if not self._items:
                return None
            item = self._items.popleft()
            if self._frames and item is self._frames[0]:
                self._bytes -= self._frames.popleft().nbytes
                self._changed.notify_all()
            return item

    def _add_frame(self, header: FrameHeader, pixels: Pixels | memoryview | None) -> None:
        self._lossless = header.pace == "max"
        frame = QueuedFrame(header, 0, None)
        try:
            found = self._copied(header) if pixels is None else pixels
            if found is None:
                frame.lost = RECORDER_SLOW
            else:
                frame.nbytes = found.nbytes
                frame.picture = self._coder.image(header, found)
        except RingUnseen as error:
            frame.lost = UNSEEN
            self._log.warn("unseen", f"frames of {header.source} are not recorded: {error}")
        except ProtocolError:
            frame.lost = CORRUPT
            raise
        finally:
            with self._changed:
                self._put(frame)

    def _copied(self, header: FrameHeader) -> Pixels | None:
        """Return the pixels of a frame in shared memory; None if they have been overwritten."""
        slot = PAYLOADS[header.payload].locate(header, self._attached)
        pixels = slot.image.copy()
        return pixels if slot.intact else None

    def _put(self, item: QueuedFrame | Announcement) -> None:
        self._items.append(item)
        if isinstance(item, QueuedFrame) and item.picture is not None:
            self._frames.append(item)
            self._bytes += item.nbytes
            while self._bytes > self._max_bytes and len(self._frames) > 1 and not self._lossless:
                oldest = self._frames.popleft()
                self._bytes -= oldest.nbytes
                oldest.lose(RECORDER_SLOW)
                self._log.warn(
                    "slow", "disk or processors are too slow: the oldest frames are lost"
                )
        self._changed.notify_all()
