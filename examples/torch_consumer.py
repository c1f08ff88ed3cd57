"""A consumer with PyTorch: frames become tensors without a copy. Start `framepair --no-sink` beside it."""

import argparse
import contextlib
import sys

import torch

from framepair import subscribe


def device_of(name: str | None) -> torch.device:
    """Return the device of this name, by default a GPU if there is one; ends the program if there is none."""
    if name == "cuda" and not torch.cuda.is_available():
        print(
            "--device cuda: PyTorch finds no GPU here; leave it out, or give cpu", file=sys.stderr
        )
        raise SystemExit(2)
    return torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))


def upload(frames: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Return frames on ``device``; to a GPU they go by way of pinned memory, while this program goes on."""
    if device.type != "cuda":
        return frames
    pinned = torch.empty(frames.shape, dtype=frames.dtype, pin_memory=True).copy_(frames)
    return pinned.to(device, non_blocking=True)


def main() -> None:
    """Print how bright each eight frames of the left source were, computed on a GPU if there is one."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument(
        "address", nargs="?", help="where pairs are, if not of this machine's pipeline"
    )
    parser.add_argument("--device", choices=["cpu", "cuda"], help="where to compute")
    asked = parser.parse_args()
    device = device_of(asked.device)
    with subscribe(asked.address) as pairs:
        for batch in pairs.batches(8, "left"):
            # Read-only: what is written to has to be a copy, such as .float() makes.
            frames = torch.from_dlpack(batch.array)
            inputs = upload(frames, device).permute(0, 3, 1, 2).float() / 255
            print(batch.seq[0], tuple(inputs.shape), f"{inputs.mean().item():.3f}", flush=True)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
