"""A consumer of pairs: the place for your own model. Start `framepair --no-sink` beside it."""

import contextlib
import sys

import numpy as np

from framepair import subscribe


def main() -> None:
    """Print how bright each source was in each second."""
    for pair in subscribe(*sys.argv[1:2]):
        for name, clip in pair.items():
            if len(clip):
                frames = clip.array  # (n, height, width, channels) uint8, not copied
                print(pair.index, name, frames.shape, "mean", np.mean(frames[:, ::8, ::8]).round(1))
            if clip.missing:
                print(pair.index, name, clip.missing)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
