"""For tests of programs that take pairs: pairs made of arrays, and pipelines of synthetic sources."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike

from framepair.nodes.common.parent_death import LAUNCHER_VARIABLE
from framepair.protocol.client.assembly import Assembly
from framepair.protocol.client.clip import Pair
from framepair.protocol.client.subscriber import Subscription, subscribe
from framepair.protocol.memory.ring import Pixels
from framepair.protocol.memory.shared_ring import DIRECTORY_VARIABLE
from framepair.protocol.transport.endpoints import PAIRS, SUB_VARIABLE
from framepair.protocol.wire.frame import Encoding, FrameHeader, Pace, picture_size
from framepair.protocol.wire.pair import ClipHeader, Missing, PairHeader, Totals, spans_of

# More than any array of a test has.
MAX_BYTES = 1 << 40
ENCODINGS: Final[dict[int, Encoding]] = {1: "mono8", 3: "bgr8"}
PACKAGE = Path(__file__).resolve().parents[1]
# What starting takes on a busy machine, at most, and stopping.
START_S, STOP_S, POLL_S = 30.0, 15.0, 0.01


def pair(
    clips: Mapping[str, ArrayLike] | None = None,
    *,
    index: int = 0,
    window: float = 1.0,
    fps: float = 25.0,
    pace: Pace = "realtime",
    complete: bool = True,
    missing: Mapping[str, Missing] | None = None,
    **more: ArrayLike,
) -> Pair:
    """Return a pair as a subscription gives it, of one array for each source: ``pair(left=a, right=b)``.

    Arrays are uint8, (n, height, width, channels) with 1 or 3 channels, or (n, height, width); ``clips`` is for
    names that can't be keywords. They are copied. Frames are ``1 / fps`` seconds apart from the beginning of
    window ``index`` on, which has ``window`` seconds. ``missing`` says of sources why they lack something, also
    of those without an array, which have no frames. The pair stays intact.

    Raises ValueError for arrays that are no frames, and for more frames than fit into the window.
    """
    arrays = {name: _frames(name, given) for name, given in {**(clips or {}), **more}.items()}
    begun = _Window(index, round(window * 1e9), fps, pace)
    assembly, headers = Assembly(keep=1, max_bytes=MAX_BYTES), dict[str, ClipHeader]()
    for name in {**arrays, **(missing or {})}:
        frames = [*begun.frames(name, arrays[name])] if name in arrays else []
        for header, image in frames:
            place = assembly.reserve(header)
            place.image[:] = image
            assembly.add_frame(header, place, header.captured_ns)
        headers[name] = begun.clip([header for header, _ in frames], (missing or {}).get(name))
    assembly.add_pair(begun.pair(headers, complete=complete), begun.end_ns)
    taken = assembly.take()
    if taken is None:
        raise ValueError("these frames make no pair")
    return taken


@dataclass(frozen=True)
class _Window:
    """A window of ``fps`` frames a second, as a combiner describes it."""

    index: int
    length_ns: int
    fps: float
    pace: Pace

    @property
    def start_ns(self) -> int:
        return self.index * self.length_ns

    @property
    def end_ns(self) -> int:
        return self.start_ns + self.length_ns

    def frames(self, name: str, array: Pixels) -> Iterator[tuple[FrameHeader, Pixels]]:
        period_ns = 1e9 / self.fps
        if len(array) and (len(array) - 1) * period_ns >= self.length_ns:
            raise ValueError(
                f"{len(array)} frames of {name} at {self.fps:g} a second do not fit into a window of"
                f" {self.length_ns / 1e9:g} s: give another fps, or another window"
            )
        for i, image in enumerate(array):
            captured_ns = self.start_ns + round(i * period_ns)
            yield (
                FrameHeader(
                    source=name,
                    run=1,
                    seq=self.index * self._expected + i,
                    captured_ns=captured_ns,
                    next_ns=captured_ns + round(period_ns),
                    sent_ns=captured_ns,
                    shape=image.shape,
                    encoding=ENCODINGS[image.shape[2]],
                    fps=self.fps,
                    pace=self.pace,
                    uncertainty_ns=0,
                    stamp="exact",
                    stamp_uncertainty_ns=0,
                ).accepted(self.index, self.length_ns, captured_ns),
                image,
            )

    def clip(self, frames: Sequence[FrameHeader], missing: Missing | None) -> ClipHeader:
        return ClipHeader(
            spans=spans_of((frame.run, frame.seq) for frame in frames),
            received_ns=max((frame.captured_ns for frame in frames), default=0),
            expected=self._expected,
            missing=missing,
            totals=Totals(captured=len(frames), paired=len(frames)),
            **_newest(frames),
        )

    def pair(self, clips: dict[str, ClipHeader], *, complete: bool) -> PairHeader:
        return PairHeader(
            run=1,
            seq=0,
            window=self.index,
            start_ns=self.start_ns,
            end_ns=self.end_ns,
            closed_ns=self.end_ns,
            complete=complete,
            partial=False,
            pace=self.pace,
            clips=clips,
        )

    @property
    def _expected(self) -> int:
        return round(self.fps * self.length_ns / 1e9)


def _newest(frames: Sequence[FrameHeader]) -> dict[str, Any]:
    """Return what a clip's header says of its newest frame."""
    if not frames:
        return {}
    newest = frames[-1]
    width, height = picture_size(newest.shape, newest.encoding)
    return {
        "newest_ns": newest.captured_ns,
        "sent_ns": newest.sent_ns,
        "uncertainty_ns": newest.whole_uncertainty_ns,
        "stamp": newest.stamp,
        "fps": newest.fps,
        "width": width,
        "height": height,
    }


def _frames(name: str, given: ArrayLike) -> Pixels:
    array = np.asarray(given)
    array = array[..., np.newaxis] if array.ndim == 3 else array
    if array.ndim != 4 or array.dtype != np.uint8 or array.shape[3] not in ENCODINGS:
        raise ValueError(
            f"{name} is {array.dtype} of shape {array.shape}: frames are uint8, (n, height, width) or"
            " (n, height, width, 3)"
        )
    return array


@dataclass(frozen=True)
class Pipeline:
    """A pipeline that runs: ``subscribe`` to it, or give ``address`` and ``shm_dir`` to a program."""

    address: str
    shm_dir: Path
    process: subprocess.Popen[bytes]
    """The launcher: what it and its nodes say is in ``log``."""
    log: Path

    def subscribe(self, *, keep: int = 2, copy: bool = False) -> Subscription:
        """Return a subscription to its pairs."""
        return subscribe(self.address, keep=keep, copy=copy, shm_dir=self.shm_dir)

    def environment(self) -> dict[str, str]:
        """Return the environment in which a program finds it that calls ``subscribe()``."""
        own = {SUB_VARIABLE: self.address, DIRECTORY_VARIABLE: str(self.shm_dir)}
        return {**os.environ, **own}


@contextlib.contextmanager
def pipeline(
    *names: str,
    size: tuple[int, int] = (160, 120),
    fps: float = 25.0,
    window: float = 0.2,
    flags: Sequence[str] = (),
) -> Iterator[Pipeline]:
    """Run a pipeline of synthetic sources, by default ``left`` and ``right``, as long as its ``with`` lasts.

    Each has pictures of ``size``, (width, height). ``flags`` are more of ``framepair``'s, such as ``--payload
    shm``; a source may be NAME=SOURCE to be another one than synthetic. Yields as soon as it can be subscribed
    to. Everything is in a directory of its own, which is removed. Raises RuntimeError, with what was said, if
    it can't be started, or ends with a failure.
    """
    width, height = size
    uri = f"synthetic://{width}x{height}@{fps:g}"
    sources = [name if "=" in name else f"{name}={uri}" for name in names or ("left", "right")]
    # Short: a socket's path may have 103 bytes.
    place = Path(tempfile.mkdtemp(prefix="fp-"))
    try:
        places = (
            "--run-dir",
            f"{place}/run",
            "--shm-dir",
            f"{place}/shm",
            "--window",
            f"{window:g}",
        )
        with _started([*sources, "--no-sink", *places, *flags], place) as running:
            yield running
    finally:
        shutil.rmtree(place, ignore_errors=True)


@contextlib.contextmanager
def _started(arguments: Sequence[str], place: Path) -> Iterator[Pipeline]:
    log, sockets = place / "log", place / "run"
    python = (sys.executable, "-P", "-m")
    # By way of a program that makes the kernel end it with this process.
    command = (*python, "framepair.nodes.common.parent_death", *python, "framepair", *arguments)
    with log.open("wb") as file:
        process = subprocess.Popen(  # noqa: S603
            command, env=_environment(), stdin=subprocess.DEVNULL, stdout=file, stderr=file
        )
    running = Pipeline(f"ipc://{sockets}/{PAIRS}", place / "shm", process, log)
    try:
        _wait_for(sockets / PAIRS, running)
        yield running
    finally:
        status = _stopped(process)
    if status:
        raise _failure(running)


def _environment() -> dict[str, str]:
    """Return an environment without options of other pipelines, in which this package is found."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith("FRAMEPAIR_")}
    path = os.pathsep.join(filter(None, [str(PACKAGE), os.environ.get("PYTHONPATH")]))
    return {**kept, "PYTHONPATH": path, LAUNCHER_VARIABLE: str(os.getpid())}


def _wait_for(path: Path, running: Pipeline) -> None:
    deadline_s = time.monotonic() + START_S
    while not path.exists():
        with contextlib.suppress(subprocess.TimeoutExpired):
            running.process.wait(POLL_S)
            raise _failure(running)
        if time.monotonic() > deadline_s:
            raise _failure(running)


def _stopped(process: subprocess.Popen[bytes]) -> int:
    """Ask a launcher to stop, and return its status; it is killed if it takes too long."""
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        return process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        # Its guard ends what it leaves.
        process.kill()
        return process.wait()


def _failure(running: Pipeline) -> RuntimeError:
    said = " ".join(running.log.read_text(errors="replace").split())
    return RuntimeError(f"the pipeline has failed: {said or running.process.returncode}")
