"""Opening a capture in tests, and what comes out of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from framepair.nodes.producer.sources.opening import open_capture
from framepair.nodes.producer.sources.pattern import read
from framepair.nodes.producer.sources.source import Capture, SourceError
from framepair.nodes.producer.sources.uri import AS_IT_IS, Wanted

Image = NDArray[np.uint8]

# Short, for what is meant to run into it.
TIMEOUT_S = 0.5


def opened(
    uri: str | Path, *, loop: bool = False, timeout_s: float = 10, wanted: Wanted = AS_IT_IS
) -> Capture:
    return open_capture(
        "left",
        str(uri),
        loop=loop,
        open_timeout_s=timeout_s,
        read_timeout_s=timeout_s,
        wanted=wanted,
    )


def retrieved(capture: Capture, seq: int = 0) -> Image:
    out = np.empty(capture.format.shape, np.uint8)
    image = capture.retrieve(out, seq, 0)
    assert image is out
    return image


def seqs(capture: Capture, most: int = 100) -> list[int | None]:
    """Read up to ``most`` frames and return which they are."""
    found: list[int | None] = []
    while len(found) < most and capture.grab():
        mark = read(retrieved(capture))
        found.append(mark.seq if mark else None)
    return found


def refusal(uri: str | Path, timeout_s: float = TIMEOUT_S) -> str:
    with pytest.raises(SourceError) as refused:
        opened(uri, timeout_s=timeout_s)
    message = str(refused.value)
    assert message.startswith("source left: ")
    assert "\n" not in message
    return message
