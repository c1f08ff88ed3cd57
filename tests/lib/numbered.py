"""Pictures that bear a number, readable after any codec, and four patches of colour."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]

BITS = 12
DARK, BRIGHT, GREY = 20, 235, 128
# Blue, green, red; from left to right.
COLOURS = [(0, 0, 255), (0, 255, 0), (255, 0, 0), (255, 255, 255)]
# Two levels of a bit that are nearer to each other can't be told apart.
MIN_CONTRAST = 60


def numbered(number: int, width: int = 384, height: int = 256) -> Image:
    """Return a picture: 12 bits in a strip, their complement below, and the patches in the lower half."""
    image = np.full((height, width, 3), GREY, np.uint8)
    for index in range(BITS):
        columns = slice(index * width // BITS, (index + 1) * width // BITS)
        bright = number >> (BITS - 1 - index) & 1
        image[: height // 4, columns] = BRIGHT if bright else DARK
        image[height // 4 : height // 2, columns] = DARK if bright else BRIGHT
    for index, colour in enumerate(COLOURS):
        image[height // 2 :, index * width // 4 : (index + 1) * width // 4] = colour
    return image


def read_number(image: Image) -> int | None:
    """Return the number in a picture of any size, None if it can't be read without doubt."""
    height, width = image.shape[:2]
    grey = image.astype(np.int32).mean(axis=2)
    half_rows, half_columns = max(1, height // 20), max(1, width // BITS // 6)
    number = 0
    for index in range(BITS):
        middle = (2 * index + 1) * width // (2 * BITS)
        columns = slice(middle - half_columns, middle + half_columns)
        upper, lower = (
            grey[row - half_rows : row + half_rows, columns].mean()
            for row in (height // 8, 3 * height // 8)
        )
        if abs(upper - lower) < MIN_CONTRAST:
            return None
        number = 2 * number + int(upper > lower)
    return number


def patches(image: Image) -> NDArray[np.float64]:
    """Return the mean colour of each patch, (4, 3)."""
    height, width = image.shape[:2]
    rows = slice(5 * height // 8, 7 * height // 8)
    columns = (slice((8 * k + 3) * width // 32, (8 * k + 5) * width // 32) for k in range(4))
    return np.array([image[rows, each].mean(axis=(0, 1)) for each in columns])
