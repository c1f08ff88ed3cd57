"""Values drawn from a fuzzer's bytes: a small change of the bytes is a small change of what they stand for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from framepair.protocol.wire.header import MAX_INT

T = TypeVar("T")

EXTREMES = (0, 1, 10**12, 10**12 + 1, 2**32, 2**53, 2**62, MAX_INT - 1, MAX_INT)


class Draws:
    """Draws from ``data`` until it is used up, and zeros from then on."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def left(self) -> bool:
        """Whether some of the data is left."""
        return self._at < len(self._data)

    def take(self, count: int) -> bytes:
        """Return the next ``count`` bytes, or what is left of them."""
        self._at += count
        return self._data[self._at - count : self._at]

    def rest(self) -> bytes:
        """Return all that is left."""
        return self.take(len(self._data))

    def below(self, bound: int) -> int:
        """Return a number from 0 to ``bound`` - 1, of 256 at most."""
        return int.from_bytes(self.take(1)) % bound

    def choice(self, options: Sequence[T]) -> T:
        """Return one of ``options``."""
        return options[self.below(len(options))]

    def chance(self, one_in: int) -> bool:
        """Return True once in ``one_in`` times."""
        return self.below(one_in) == one_in - 1

    def number(self) -> int:
        """Return any number that a header admits: small ones often, and those at the limits."""
        kind = self.below(4)
        if kind < 2:
            return self.below(256)
        if kind == 2:
            return self.choice(EXTREMES)
        return int.from_bytes(self.take(8)) & MAX_INT

    def near(self, middle: int, step: int) -> int:
        """Return a number some steps from ``middle``, seldom any."""
        if self.chance(16):
            return self.number()
        return min(MAX_INT, max(0, middle + (self.below(256) - 64) * step))
