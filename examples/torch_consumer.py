"""A consumer with PyTorch: frames become tensors without a copy. Start `framepair --no-sink` beside it."""

import contextlib
import sys

import torch

from framepair import subscribe


def main() -> None:
    """Print how bright each eight frames of the left source were, computed on a GPU if there is one."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with subscribe(*sys.argv[1:2]) as pairs:
        for batch in pairs.batches(8, "left"):
            # Read-only: what is written to has to be a copy, such as .to("cuda") and .float() make.
            frames = torch.from_dlpack(batch.array)
            inputs = frames.to(device).permute(0, 3, 1, 2).float() / 255
            print(batch.seq[0], tuple(inputs.shape), f"{inputs.mean().item():.3f}", flush=True)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
