"""What the processors do for a pipeline on two video files, against what decoding them alone takes."""

from __future__ import annotations

import functools
import itertools
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import cv2

from bench import cpu_time, stats, video
from bench.frames import FULL_HD, Shape
from bench.pair import baseline, shm
from bench.pair.design import FPS
from bench.pair.measure import WARM_UP_WINDOWS, measure
from bench.tables import Section
from framepair.nodes.common import runtime
from framepair.nodes.producer.sources.source import Position
from framepair.nodes.producer.stamps import PacedStamps
from framepair.protocol.clocks import clock

# What cameras and telephones record, and what cameras send over USB.
CODECS = {video.H264: ".mp4", "MJPG": ".avi"}
SOURCES = 2
VIDEO_S = 8


def compare(
    codecs: Mapping[str, str],
    rounds: int,
    seconds: int,
    say: Callable[[str], None],
    shape: Shape = FULL_HD,
) -> Section:
    """Measure both ``rounds`` times, in turn, for so many seconds; ``codecs`` have their files' suffix."""
    rows = []
    with tempfile.TemporaryDirectory(prefix="fpb") as directory:
        for codec, suffix in codecs.items():
            say(f"cpu: writing two {codec} videos")
            videos = [Path(directory) / f"video{number}{suffix}" for number in range(SOURCES)]
            row: Section = {"name": codec, "why_not": None}
            rows.append(row)
            try:
                for seed, path in enumerate(videos):
                    video.write(path, codec, VIDEO_S * FPS, FPS, shape, seed)
            except ImportError as error:
                row["why_not"] = str(error)
                continue
            row.update(_in_turn(videos, rounds, seconds, say, shape))
    return {"rounds": rounds, "seconds": seconds, "shape": list(shape), "rows": rows}


def _in_turn(
    videos: list[Path], rounds: int, seconds: int, say: Callable[[str], None], shape: Shape
) -> Section:
    decoding, pipeline = [], []
    run = functools.partial(shm.run, videos=videos)
    for number in range(rounds):
        say(f"cpu: round {number + 1} of {rounds}, decoding alone, {seconds} s")
        decoding.append(decode_alone(videos, seconds))
        say(f"cpu: round {number + 1} of {rounds}, {shm.NAME}, {seconds} s")
        pipeline.append(measure(run, SOURCES, seconds, shape).cores)
    return {
        "decoding_cores": stats.median(decoding),
        "pipeline_cores": stats.median(pipeline),
        "ratio": stats.median([one / two for one, two in zip(pipeline, decoding, strict=True)]),
        "all_decoding_cores": decoding,
        "all_pipeline_cores": pipeline,
    }


def decode_alone(videos: list[Path], seconds: float) -> float:
    """Decode each file in a process that does nothing else; return how many processors that kept busy."""
    context = multiprocessing.get_context("spawn")
    begin_ns = baseline.start_ns()
    processes = [context.Process(target=decode, args=(path, begin_ns)) for path in videos]
    try:
        for process in processes:
            process.start()
        _sleep_until(begin_ns / 1e9 + WARM_UP_WINDOWS)
        pids = [process.pid or 0 for process in processes]
        began_s, worked_s = time.monotonic(), cpu_time.seconds(pids)
        _sleep_until(begin_ns / 1e9 + WARM_UP_WINDOWS + seconds)
        return (cpu_time.seconds(pids) - worked_s) / (time.monotonic() - began_s)
    finally:
        for process in processes:
            process.kill()
            process.join()


def decode(path: Path, begin_ns: int) -> None:
    """Decode a file at its own rate, again and again; the main function of a process."""
    stamps, never = PacedStamps(FPS, begin_ns), runtime.Stop()
    frame, period_ns = None, round(1e9 / FPS)
    positions = (Position(n * period_ns, (n + 1) * period_ns) for n in itertools.count())
    while True:
        capture = cv2.VideoCapture(str(path))
        while True:
            there, frame = capture.read(frame)
            if not there:
                break
            stamps.wait(stamps.stamp(next(positions)), never)


def _sleep_until(utc_s: float) -> None:
    time.sleep(max(0.0, utc_s - clock.now_ns() / 1e9))
