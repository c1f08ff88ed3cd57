"""Two H.264 files through a pipeline, as fast as it can, by decoder and pixels. python -m bench.decoding"""

from __future__ import annotations

import contextlib
import functools
import itertools
import logging
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench import cpu, cpu_time, video
from bench.frames import FULL_HD
from bench.pair.design import FPS
from framepair import subscribe
from framepair.nodes.producer.sources.source import Capture
from framepair.protocol.transport.endpoints import Endpoints, ipc_endpoints
from framepair.protocol.wire.frame import Encoding

NAMES = ("left", "right")
OPENCV = "OpenCV, bgr8"
# The producer, and how it is told what is wanted.
WAYS: dict[str, tuple[str, ...]] = {
    OPENCV: ("bench.opencv_producer",),
    "bgr8": ("framepair.nodes.producer",),
    "i420": ("framepair.nodes.producer", "--pixels", "i420"),
    "mono8": ("framepair.nodes.producer", "--pixels", "mono8"),
    "i420, 640x360": ("framepair.nodes.producer", "--pixels", "i420", "--size", "640x360"),
    "bgr8, 640x360": ("framepair.nodes.producer", "--size", "640x360"),
    "bgr8, 5 fps": ("framepair.nodes.producer", "--fps", "5"),
}
PIXELS: tuple[Encoding, ...] = ("bgr8", "i420", "mono8")
ROUNDS, VIDEO_S = 3, 6
# Until the queues are full, in pairs, and then.
WARM_UP_PAIRS, SECONDS = 5, 6.0


@dataclass(frozen=True, slots=True)
class Moment:
    """How far a run was: seconds of video, of time, and of the producers' processors."""

    video_s: float
    at_s: float
    worked_s: float


@dataclass(frozen=True, slots=True)
class Speed:
    """Frames of the videos that are read in a second, and milliseconds of processor for each."""

    fps: float
    cpu_ms: float


def main() -> None:
    """Measure each way in turn, decoding alone and in a pipeline, and print what it is of OpenCV's speed."""
    # That the combiner is not there yet.
    logging.getLogger("framepair").setLevel(logging.ERROR)
    found: dict[str, list[Speed]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory(prefix="fpb") as directory:
        videos = [Path(directory) / f"{name}.mp4" for name in NAMES]
        for seed, path in enumerate(videos):
            video.write(path, video.H264, VIDEO_S * FPS, FPS, FULL_HD, seed)
        for way, milliseconds in alone(videos[0]).items():
            print(f"{way:14} {milliseconds:5.2f} ms of processor a frame, decoded alone")
        for number in range(ROUNDS):
            for way, command in WAYS.items():
                found[way].append(measure(Path(directory), videos, command))
                print(f"round {number + 1} of {ROUNDS}, {way}: {found[way][-1]}", file=sys.stderr)
    for way, speeds in found.items():
        ratios = [speed.fps / other.fps for speed, other in zip(speeds, found[OPENCV], strict=True)]
        print(
            f"{way:14} {statistics.median(s.fps for s in speeds):6.1f} frames/s,"
            f" {statistics.median(ratios):.2f} of OpenCV's,"
            f" {statistics.median(s.cpu_ms for s in speeds):5.2f} ms of processor a frame"
        )


def alone(path: Path) -> dict[str, float]:
    """Return the milliseconds of processor that a frame takes in this process, by OpenCV and by pixels."""
    ways = {OPENCV: functools.partial(cpu.open_alone, str(path), cpu.OPENCV, "bgr8")} | {
        pixels: functools.partial(cpu.open_alone, str(path), "framepair", pixels)
        for pixels in PIXELS
    }
    found: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(ROUNDS):
        for way, open_capture in ways.items():
            with contextlib.closing(open_capture()) as capture:
                found[way].append(processor_ms(capture))
    return {way: statistics.median(each) for way, each in found.items()}


def processor_ms(capture: Capture) -> float:
    """Decode a file once, into memory that was written before; return what a frame takes."""
    memory = [np.zeros(capture.format.shape, np.uint8) for _ in range(cpu.SLOTS)]
    frames, began_s = VIDEO_S * FPS, time.process_time()
    for number in range(frames):
        capture.grab()
        capture.retrieve(memory[number % cpu.SLOTS], number, 0)
    return (time.process_time() - began_s) * 1e3 / frames


def measure(directory: Path, videos: Sequence[Path], command: tuple[str, ...]) -> Speed:
    """Run the videos through a pipeline; return how fast that was."""
    endpoints = ipc_endpoints(directory, list(NAMES))
    with subscribe(endpoints.pub) as pairs, nodes(endpoints, videos, command) as pids:
        moments = (
            Moment(pair.end_ns / 1e9, time.monotonic(), cpu_time.seconds(pids)) for pair in pairs
        )
        first = next(itertools.islice(moments, WARM_UP_PAIRS, None))
        last = next(moment for moment in moments if moment.at_s >= first.at_s + SECONDS)
    frames = (last.video_s - first.video_s) * FPS * len(videos)
    return Speed(frames / (last.at_s - first.at_s), (last.worked_s - first.worked_s) * 1e3 / frames)


@contextlib.contextmanager
def nodes(
    endpoints: Endpoints, videos: Sequence[Path], command: tuple[str, ...]
) -> Iterator[list[int]]:
    """Start a combiner and a producer for each video; yield the producers' processes."""
    pulls = [f"--pull={name}={address}" for name, address in endpoints.pull.items()]
    with contextlib.ExitStack() as stack:
        combiner = ("framepair.nodes.combiner", *pulls, "--pub", endpoints.pub, "--pace", "max")
        stack.enter_context(_started(*combiner))
        module, *flags = command
        yield [
            stack.enter_context(
                _started(
                    module, "--name", name, "--source", str(path), "--push", endpoints.pull[name],
                    "--pace", "max", "--loop", *flags,
                )
            )
            for name, path in zip(NAMES, videos, strict=True)
        ]  # fmt: skip


@contextlib.contextmanager
def _started(module: str, *flags: str) -> Iterator[int]:
    process = subprocess.Popen(  # noqa: S603
        [sys.executable, "-m", module, *flags],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process.pid
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    main()
