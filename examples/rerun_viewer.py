"""Show pairs in the Rerun viewer (pip install rerun-sdk), or save them for it with --save FILE.rrd."""

import argparse
import contextlib

import rerun as rr

from framepair import Frame, Pair, subscribe


def main() -> None:
    """Send each frame at its capture time, and of each pair what it lacks."""
    options = parsed()
    rr.init("framepair", spawn=options.save is None)
    if options.save:
        rr.save(options.save)
    # JPEG goes to the viewer as it travelled.
    for pair in subscribe(options.address, decode=False):
        log(pair)


def parsed() -> argparse.Namespace:
    """Return what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "address", nargs="?", help="where pairs are published; the default pipeline"
    )
    parser.add_argument("--save", help="a file to write instead of opening the viewer")
    return parser.parse_args()


def log(pair: Pair) -> None:
    """Log the frames of a pair, and a line on each source that lacks some."""
    for source, clip in pair.items():
        for frame in clip:
            rr.set_time("capture", timestamp=frame.captured_ns / 1e9)
            rr.log(f"{source}/image", picture(frame))
        if not clip.complete:
            why = clip.missing or f"{clip.gaps} frames are missing"
            rr.set_time("capture", timestamp=pair.start_ns / 1e9)
            rr.log(f"{source}/gaps", rr.TextLog(f"pair {pair.index}: {why}", level="WARN"))


def picture(frame: Frame) -> rr.AsComponents:
    """Return a frame as the viewer takes it."""
    if frame.encoded is not None:
        return rr.EncodedImage(contents=bytes(frame.encoded), media_type="image/jpeg")
    return rr.Image(frame.bgr(), color_model="BGR")


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
