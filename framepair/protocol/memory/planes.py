"""I420: a picture as luma and two planes of colour in half its width and height, 1.5 bytes a pixel."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from framepair.protocol.memory.ring import Pixels


def planes_of(image: Pixels) -> tuple[Pixels, Pixels, Pixels]:
    """Return luma, (height, width), blue and red difference, (height / 2, width / 2), as views of ``image``.

    ``image`` is (height * 3 / 2, width, 1), one piece of memory: the planes lie one behind the other.
    """
    rows, width, _ = image.shape
    height = rows * 2 // 3
    luma, rest = image[:height, :, 0], image[height:].reshape(2, height // 2, width // 2)
    return luma, rest[0], rest[1]
