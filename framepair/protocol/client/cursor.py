"""One way at a time to take the pairs of a subscription."""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Generator
from typing import Any, TypeVar

Item = TypeVar("Item")


class Cursor:
    """Where a program is in the pairs: two ways of taking them would each get some, and neither all."""

    def __init__(self) -> None:
        self._name = ""
        self._user: weakref.ref[Generator[Any, None, None]] | None = None

    def refuse_second(self) -> None:
        """Raise RuntimeError if a generator that takes pairs is neither over nor let go."""
        user = self._user() if self._user is not None else None
        if user is not None and inspect.getgeneratorstate(user) != inspect.GEN_CLOSED:
            raise RuntimeError(
                f"an iteration of {self._name} takes the pairs of this subscription: end or close() it first,"
                " or subscribe() a second time"
            )

    def claim(self, name: str, user: Generator[Item, None, None]) -> Generator[Item, None, None]:
        """Return ``user``, which takes the pairs from now on until it is over, closed or let go."""
        self.refuse_second()
        self._name, self._user = name, weakref.ref(user)
        return user
