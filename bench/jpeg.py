"""What JPEG costs at quality 90: three libraries, then a whole pipeline. python -m bench.jpeg"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import simplejpeg

from bench import video
from bench.frames import FULL_HD, Frame
from bench.pair import jpeg
from bench.pair.design import FPS
from bench.pair.measure import measure

QUALITY = 90
ROUNDS, TIMES = 5, 10
SOURCES, SECONDS, VIDEO_S = 2, 20, 8

Encode = Callable[[Frame], bytes]
Decode = Callable[[bytes, Frame], None]


def main() -> None:
    """Measure each library in turn, and then two sources, encoded and decoded on this machine."""
    # As each producer and each thread of a subscriber has one processor.
    cv2.setNumThreads(1)
    image = video.clouds(FULL_HD, seed=1)
    for name, (encode, decode) in libraries().items():
        print(f"{name:12} {_compared(image, encode, decode)}")
    with tempfile.TemporaryDirectory(prefix="fpb") as directory:
        videos = [Path(directory) / f"video{seed}.mp4" for seed in range(SOURCES)]
        for seed, path in enumerate(videos):
            video.write(path, "mp4v", VIDEO_S * FPS, FPS, FULL_HD, seed)
        found = measure(lambda setup: jpeg.run(setup, videos=videos), SOURCES, SECONDS).summary()
    print(
        f"{SOURCES} videos of {FULL_HD[0]}p{FPS}, decoded, encoded and decoded here: {found['pairs']} of"
        f" {found['expected']} pairs, {found['frames_lost']} frames lost, lag p50 {found['lag_p50_ms']:.1f},"
        f" p99 {found['lag_p99_ms']:.1f} ms, {found['cores']:.2f} cores"
    )


def libraries() -> dict[str, tuple[Encode, Decode]]:
    """Return how each library that is there encodes, and decodes into memory that is given."""
    known: dict[str, tuple[Encode, Decode]] = {
        "OpenCV": (
            lambda image: cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[
                1
            ].tobytes(),
            _decode_with_opencv,
        ),
        "simplejpeg": (
            lambda image: simplejpeg.encode_jpeg(image, QUALITY, "BGR", "420"),
            lambda file, out: simplejpeg.decode_jpeg(file, "BGR", buffer=out),
        ),
    }
    try:
        import turbojpeg

        turbo = turbojpeg.TurboJPEG()
    except (ImportError, RuntimeError) as error:
        print(f"{'PyTurboJPEG':12} not measured: {' '.join(str(error).split())}")
        return known
    known["PyTurboJPEG"] = (
        lambda image: turbo.encode(image, QUALITY, jpeg_subsample=turbojpeg.TJSAMP_420),
        lambda file, out: turbo.decode(file, dst=out),
    )
    return known


def _decode_with_opencv(file: bytes, out: Frame) -> None:
    image = cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_COLOR)
    # It can't be told where to put the picture.
    np.copyto(out, image if image is not None else 0)


def _compared(image: Frame, encode: Encode, decode: Decode) -> str:
    out = np.empty_like(image)
    file = encode(image)
    encoding, decoding = [], []
    for _ in range(ROUNDS):
        encoding.append(_milliseconds(lambda: encode(image)))
        decoding.append(_milliseconds(lambda: decode(file, out)))
    return (
        f"encodes in {statistics.median(encoding):.1f} ms to {len(file) / 1e3:.0f} kB,"
        f" decodes in {statistics.median(decoding):.1f} ms"
    )


def _milliseconds(task: Callable[[], object]) -> float:
    began_s = time.perf_counter()
    for _ in range(TIMES):
        task()
    return (time.perf_counter() - began_s) / TIMES * 1e3


if __name__ == "__main__":
    main()
