"""What the processors do for a pipeline on two video files, against what decoding them alone takes."""

from __future__ import annotations

import contextlib
import functools
import itertools
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from bench import cpu_time, load, stats, video
from bench.frames import FULL_HD, Shape
from bench.opencv_producer import OpenCvFile
from bench.pair import baseline
from bench.pair.design import FPS
from bench.pair.measure import WARM_UP_WINDOWS
from bench.tables import Section
from framepair.nodes.common import runtime
from framepair.nodes.producer.sources.opening import parse
from framepair.nodes.producer.sources.source import Capture, Position
from framepair.nodes.producer.sources.uri import Wanted
from framepair.nodes.producer.sources.video_file import VideoFile
from framepair.nodes.producer.stamps import PacedStamps
from framepair.protocol.clocks import clock
from framepair.protocol.wire.frame import Encoding

# How, and to which pixels.
Way = tuple[str, Encoding]

# What cameras and telephones record, and what cameras send over USB.
CODECS = {video.H264: ".mp4", "MJPG": ".avi"}
SOURCES = 2
VIDEO_S = 8
# More memory than a cache.
SLOTS = 8
OPENCV = "OpenCV"
# What decodes alone: whose decoder, and to which pixels.
ALONE: tuple[Way, ...] = (
    (OPENCV, "bgr8"),
    ("framepair", "bgr8"),
    ("framepair", "i420"),
)
# As ``launch.py`` is told: what a bare one does, and the two that cost less.
WAYS: tuple[Way, ...] = (("raw", "bgr8"), ("shm", "bgr8"), ("shm", "i420"))


def compare(
    codecs: Mapping[str, str],
    rounds: int,
    seconds: int,
    say: Callable[[str], None],
    shape: Shape = FULL_HD,
) -> Section:
    """Measure each way ``rounds`` times, in turn, for so many seconds; ``codecs`` have their files' suffix."""
    rows: list[Section] = []
    with tempfile.TemporaryDirectory(prefix="fpb") as directory:
        for codec, suffix in codecs.items():
            say(f"cpu: writing two {codec} videos")
            videos = [Path(directory) / f"video{number}{suffix}" for number in range(SOURCES)]
            try:
                for seed, path in enumerate(videos):
                    video.write(path, codec, VIDEO_S * FPS, FPS, shape, seed)
                rows += _in_turn(codec, videos, rounds, seconds, say)
            except (ImportError, load.NotCarried) as error:
                rows.append({"codec": codec, "name": codec, "why_not": str(error)})
    return {"rounds": rounds, "seconds": seconds, "shape": list(shape), "rows": rows}


def _in_turn(
    codec: str, videos: Sequence[Path], rounds: int, seconds: int, say: Callable[[str], None]
) -> list[Section]:
    ways: dict[Way, Callable[[], dict[str, float]]] = {
        way: functools.partial(decode_alone, videos, *way, seconds) for way in ALONE
    }
    ways |= {way: functools.partial(_pair, videos, *way, seconds) for way in WAYS}
    found: dict[Way, list[dict[str, float]]] = {way: [] for way in ways}
    for number in range(rounds):
        for way, measure in ways.items():
            say(f"cpu: round {number + 1} of {rounds}, {codec}, {' '.join(way)}, {seconds} s")
            found[way].append(measure())
    return [row(codec, way, found) for way in found]


def row(
    codec: str,
    way: Way,
    found: Mapping[Way, Sequence[Mapping[str, float]]],
) -> Section:
    """Return what a way took, by node, and of what decoding alone takes: OpenCV's, and to the same pixels."""
    taken = found[way]
    cores = [sum(each.values()) for each in taken]

    def ratio(other: Way) -> float | None:
        others = [sum(each.values()) for each in found[other]]
        return stats.median([one / two for one, two in zip(cores, others, strict=True)])

    return {
        "codec": codec,
        "name": f"{codec}, {name(*way)}",
        "alone": way in ALONE,
        "why_not": None,
        "cores": stats.median(cores),
        "of_opencv": ratio(ALONE[0]),
        "of_decoding": ratio(way if way in ALONE else ("framepair", way[1])),
        "cores_of": {node: stats.median([each[node] for each in taken]) for node in taken[0]},
        "all_cores": cores,
    }


def name(how: str, pixels: Encoding) -> str:
    """Return what a way is called in tables."""
    if (how, pixels) in ALONE:
        return f"decoding alone, {how} {pixels}"
    return f"framepair {how} {pixels}"


def _pair(
    videos: Sequence[Path], payload: str, pixels: Encoding, seconds: float
) -> dict[str, float]:
    """Return how many processors a pipeline keeps busy, by node."""
    flags = ("--payload", payload, "--pixels", pixels)
    measured = load.measure(load.Load(videos=tuple(map(str, videos)), flags=flags), seconds)
    return dict(measured.cores)


def decode_alone(
    videos: Sequence[Path], decoder: str, pixels: Encoding, seconds: float
) -> dict[str, float]:
    """Decode each file in a process that does nothing else; return how many processors that kept busy."""
    context = multiprocessing.get_context("spawn")
    begin_ns = baseline.start_ns()
    processes = [
        context.Process(target=decode, args=(str(path), decoder, pixels, begin_ns))
        for path in videos
    ]
    try:
        for process in processes:
            process.start()
        _sleep_until(begin_ns / 1e9 + WARM_UP_WINDOWS)
        pids = [process.pid or 0 for process in processes]
        began_s, worked_s = time.monotonic(), cpu_time.seconds(pids)
        _sleep_until(begin_ns / 1e9 + WARM_UP_WINDOWS + seconds)
        return {"decoder": (cpu_time.seconds(pids) - worked_s) / (time.monotonic() - began_s)}
    finally:
        for process in processes:
            process.kill()
            process.join()


def decode(path: str, decoder: str, pixels: Encoding, begin_ns: int) -> None:
    """Decode a file at its own rate, again and again; the main function of a process."""
    stamps, never, period_ns = PacedStamps(FPS, begin_ns), runtime.Stop(), round(1e9 / FPS)
    with contextlib.closing(open_alone(path, decoder, pixels)) as capture:
        memory = [np.zeros(capture.format.shape, np.uint8) for _ in range(SLOTS)]
        for number in itertools.count():
            capture.grab()
            capture.retrieve(memory[number % SLOTS], number, 0)
            at = Position(number * period_ns, (number + 1) * period_ns)
            stamps.wait(stamps.stamp(at), never)


def open_alone(path: str, decoder: str, pixels: Encoding) -> Capture:
    """Return a file, over and over, as one of ``ALONE`` decodes it."""
    if decoder == OPENCV:
        return OpenCvFile(path)
    return VideoFile("left", parse(path), wanted=Wanted(pixels=pixels), loop=True)


def _sleep_until(utc_s: float) -> None:
    time.sleep(max(0.0, utc_s - clock.now_ns() / 1e9))
