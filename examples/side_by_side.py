"""Write one picture per pair: the first frame of each source, side by side, at the height of the first."""

import contextlib
import sys

import cv2
import numpy as np

from framepair import Pair, subscribe


def main() -> None:
    """Write side_by_side.jpg anew for each pair, and say how far apart the frames were captured."""
    for pair in subscribe(*sys.argv[1:2]):
        if all(len(clip) for clip in pair.values()):
            cv2.imwrite("side_by_side.jpg", picture(pair))
            first = [clip.captured_ns[0] for clip in pair.values()]
            print(f"{pair.index}: first frames {(max(first) - min(first)) / 1e6:.1f} ms apart")


def picture(pair: Pair) -> cv2.typing.MatLike:
    """Return the first frame of each source in one image."""
    images = [clip.bgr(0) for clip in pair.values()]
    height = images[0].shape[0]
    return np.hstack([resized(image, height) for image in images])


def resized(image: cv2.typing.MatLike, height: int) -> cv2.typing.MatLike:
    """Return an image of the given height, its proportions kept."""
    return cv2.resize(image, (round(image.shape[1] * height / image.shape[0]), height))


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
