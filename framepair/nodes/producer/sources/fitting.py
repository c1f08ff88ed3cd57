"""The size of a picture that is wanted in another one, or in planes."""

from __future__ import annotations

import logging

from framepair.nodes.producer.sources.uri import Size, Wanted
from framepair.protocol.wire.limits import MAX_SIDE

log = logging.getLogger(__name__)


class Fitting:
    """Says how large pictures of the source ``name`` become, as ``wanted``."""

    def __init__(self, name: str, wanted: Wanted) -> None:
        self._name, self._size = name, wanted.size
        self._planes = wanted.pixels == "i420"
        self._said = False

    def sides(self, width: int, height: int) -> tuple[int, int]:
        """Return what width and height become; odd ones of planes are cut, which is said."""
        sides = fitted((width, height), self._size)
        if not self._planes:
            return sides
        even = max(2, sides[0] & ~1), max(2, sides[1] & ~1)
        if even != sides and not self._said:
            self._said = True
            log.warning(
                "source %s: %dx%d becomes %dx%d, as planes with half the colour have even sides",
                self._name,
                *sides,
                *even,
            )
        return even


def fitted(sides: tuple[int, int], size: Size | None) -> tuple[int, int]:
    """Return width and height of a picture of ``sides`` that is to have ``size``."""
    if size is None:
        return sides
    (width, height), (wide, high) = sides, size
    if wide is None:
        wide = round(width * (high or height) / height)
    if high is None:
        high = round(height * wide / width)
    return min(max(1, wide), MAX_SIDE), min(max(1, high), MAX_SIDE)
