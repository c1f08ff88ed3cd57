"""Sources by their URIs: the kinds that there are, and live ones that are opened again when they are lost."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from framepair.nodes.producer.sources import camera, file, recording, stream, synthetic
from framepair.nodes.producer.sources.source import (
    AccessRefused,
    Capture,
    CaptureLost,
    Format,
    FrameLost,
    Position,
    SourceError,
    blaming,
)
from framepair.nodes.producer.sources.speed import sped_up
from framepair.nodes.producer.sources.thinning import thinned
from framepair.nodes.producer.sources.uri import AS_IT_IS, Opening, SourceUri, Wanted, check
from framepair.protocol.wire.frame import StampGrade


class Kind(Protocol):
    """A kind of source: a module that says which URIs are its own, and opens them."""

    USAGE: str
    """How such a source is named, in a sentence."""

    STAMPS: tuple[StampGrade, ...]
    """The clocks that frames of such a source may be stamped by, as the user decides."""

    def parse(self, uri: str) -> SourceUri | None:
        """Return what ``uri`` means, None if it is another kind's; raises SourceError if it is malformed."""

    def open_capture(self, name: str, source: SourceUri, opening: Opening) -> Capture:
        """Open the source; raises SourceError if that doesn't work."""


# In the order in which they are asked: a file is what nothing else is. A new kind is a module and a line here.
KINDS: Final[dict[str, Kind]] = {
    "camera": camera,
    "stream": stream,
    "synthetic": synthetic,
    "recording": recording,
    "file": file,
}


def parse(uri: str) -> SourceUri:
    """Return what ``uri`` means, without looking whether it is there; raises SourceError if nothing."""
    check(uri)
    found = (kind.parse(uri) for kind in KINDS.values()) if uri else iter(())
    source = next((source for source in found if source is not None), None)
    if source is None:
        what = (
            f"{uri.partition(':')[0]}:// is no kind of source" if uri else "a source's URI is empty"
        )
        raise SourceError(
            f"{what}: name {', '.join(kind.USAGE for kind in reversed(KINDS.values()))}"
        )
    return source


def open_capture(
    name: str,
    uri: str,
    *,
    loop: bool,
    open_timeout_s: float,
    read_timeout_s: float,
    allow_redirects: bool = False,
    wanted: Wanted = AS_IT_IS,
) -> Capture:
    """Open what ``uri`` names for the source ``name``; raises SourceError if that doesn't work.

    ``loop`` starts a recording again at its end. The time-outs are for live sources: how long opening one
    may take, and how long a frame may stay away. A signal has to wait that long, too. ``allow_redirects``
    follows a URL to other addresses. ``wanted`` is what frames are to be made of it.
    """
    with blaming(name):
        source = parse(uri)
        _refuse_stamp(KINDS[source.kind], wanted)
        _refuse_times(source, wanted)
    opening = Opening(loop, open_timeout_s, read_timeout_s, allow_redirects, wanted)
    return sped_up(KINDS[source.kind].open_capture(name, source, opening), wanted.speed)


def _refuse_times(source: SourceUri, wanted: Wanted) -> None:
    if wanted.start_ns and source.kind not in ("file", "recording"):
        raise SourceError(
            "--start: only a file or a recording can begin in its middle: leave it out"
        )
    if wanted.speed != 1.0 and source.live:
        raise SourceError("--speed: what is live comes at its own time: leave it out")


def _refuse_stamp(kind: Kind, wanted: Wanted) -> None:
    if wanted.stamp is None or wanted.stamp in kind.STAMPS:
        return
    said = f"its frames are stamped by {' or '.join(kind.STAMPS)}"
    if not kind.STAMPS:
        said = "its frames have times of their own"
    raise SourceError(f"--stamp {wanted.stamp}: {said}")


# Between two attempts; each pause is twice the one before, and a frame begins them anew. Pairs are to be
# complete again within 3 s of a server's return; what refuses a password may lock out who asks too often.
FIRST_PAUSE_S, MAX_PAUSE_S, MAX_REFUSED_PAUSE_S = 0.5, 1.0, 10.0
# How often it is looked whether to stop.
STEP_S = 0.1

log = logging.getLogger(__name__)


def open_source(
    name: str,
    uri: str,
    *,
    loop: bool,
    open_timeout_s: float,
    read_timeout_s: float,
    allow_redirects: bool = False,
    wanted: Wanted = AS_IT_IS,
    stopped: Callable[[], bool],
    beat: Callable[[], None] = lambda: None,
    lost: threading.Event | None = None,
    wait: bool = False,
) -> Capture:
    """Open a source of any kind, a live one so that it is opened again when it is lost.

    Raises SourceError if it cannot be opened; a live one is waited for instead, with ``wait``, until
    ``stopped()``. ``lost`` is set while it is away. For the other arguments see open_capture.
    """
    with blaming(name):
        live = parse(uri).live
    opened = partial(
        open_capture,
        name,
        uri,
        loop=loop,
        open_timeout_s=open_timeout_s,
        read_timeout_s=read_timeout_s,
        allow_redirects=allow_redirects,
        wanted=wanted,
    )
    capture: Capture = (
        Reopening(name, opened, stopped, beat=beat, lost=lost, wait=wait) if live else opened()
    )
    return thinned(capture, wanted.fps, stopped=stopped, beat=beat)


class Reopening:
    """A capture that outlives its source's outages: ``grab`` waits until there is a frame again.

    An outage is logged twice, when it begins and when a frame has come again; ``reopened`` counts those
    that are over. ``stopped`` is asked at least every 200 ms while waiting, but not while the source
    is being opened or read, which its own time-outs limit.
    """

    def __init__(
        self,
        name: str,
        open_again: Callable[[], Capture],
        stopped: Callable[[], bool],
        *,
        beat: Callable[[], None] = lambda: None,
        lost: threading.Event | None = None,
        wait: bool = False,
    ) -> None:
        """Open the source; raises SourceError if that fails, or with ``wait`` tries again until stopped."""
        self.reopened = 0
        self._name, self._open, self._stopped = name, open_again, stopped
        self._beat = beat
        self._lost = lost or threading.Event()
        self._pause_s, self._refused = FIRST_PAUSE_S, False
        self._lost_s: float | None = None
        self._capture: Capture | None = None
        self._last_format: Format | None = None
        try:
            self._capture = open_again()
        except SourceError as error:
            if not wait:
                raise
            self._lose(error)
        while self._capture is None and not stopped():
            self._capture = self._reopen()

    @property
    def format(self) -> Format:
        """What frames look like, or last did; raises CaptureLost if it was stopped before it ever opened."""
        if self._capture is not None:
            self._last_format = self._capture.format
        if self._last_format is None:
            raise CaptureLost(f"source {self._name} was never there")
        return self._last_format

    @property
    def skipped(self) -> int:
        """None are left out here; see Capture."""
        return 0

    @property
    def position(self) -> Position | None:
        """When the grabbed frame was captured, if the source knows; see Capture."""
        return self._capture.position if self._capture is not None else None

    def grab(self) -> bool:
        """Wait for the next frame, however long that takes; False if stopped meanwhile.

        Raises SourceError if the source turns out to be no live one.
        """
        while not self._stopped():
            if self._capture is None:
                self._capture = self._reopen()
                continue
            try:
                grabbed = self._capture.grab()
            except CaptureLost as error:
                self._lose(error)
                continue
            except SourceError as error:
                # What was opened before, and worked, may work again.
                if not self.reopened:
                    raise
                self._lose(error)
                continue
            self._regain()
            return grabbed
        return False

    def retrieve(self, out: NDArray[np.uint8], seq: int, captured_ns: int) -> NDArray[np.uint8]:
        """Decode the grabbed frame into ``out``; see Capture."""
        if self._capture is None:
            raise FrameLost(f"source {self._name}: no frame has been grabbed")
        return self._capture.retrieve(out, seq, captured_ns)

    def close(self) -> None:
        """Let go of the source."""
        if self._capture is not None:
            self._last_format = self._capture.format
            self._capture.close()
        self._capture = None

    def _lose(self, error: Exception) -> None:
        self.close()
        self._lost.set()
        if self._lost_s is None:
            self._lost_s = time.monotonic()
            log.warning("%s; trying again until it works", error)

    def _regain(self) -> None:
        self._pause_s = FIRST_PAUSE_S
        self._lost.clear()
        if self._lost_s is not None:
            self.reopened += 1
            log.info("source %s is back after %.1f s", self._name, time.monotonic() - self._lost_s)
            self._lost_s = None

    def _reopen(self) -> Capture | None:
        """Pause, longer every time, then try to open the source; None if that failed."""
        until_s = time.monotonic() + self._pause_s
        most_s = MAX_REFUSED_PAUSE_S if self._refused else MAX_PAUSE_S
        self._pause_s = min(2 * self._pause_s, most_s)
        while (left_s := until_s - time.monotonic()) > 0 and not self._stopped():
            self._beat()
            time.sleep(min(left_s, STEP_S))
        try:
            return None if self._stopped() else self._open()
        except SourceError as error:
            self._refused = isinstance(error, AccessRefused)
            log.debug("%s", error)
            return None
