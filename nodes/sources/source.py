"""What a source's frames look like, and what can go wrong with a source."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


class SourceError(RuntimeError):
    """A source that cannot be used as it is named: the message is one sentence that says what to do."""


class CaptureLost(RuntimeError):  # noqa: N818 - it says what happened to the source
    """A live source that worked has failed or gone silent; opening it again may help."""


class FrameLost(RuntimeError):  # noqa: N818 - likewise
    """One frame that was grabbed cannot be decoded; the next one may be fine."""


@dataclass(frozen=True, slots=True)
class Format:
    """What a source's frames look like, and how they come.

    ``shape`` is (height, width, channels), ``encoding`` bgr8 or mono8, ``fps`` the nominal rate,
    ``total`` how many frames there are in all (0: not known), and ``live`` whether frames come at their
    own time, to be stamped by the clock, or can be had at any pace.
    """

    shape: tuple[int, int, int]
    encoding: str = "bgr8"
    fps: float = 25.0
    total: int = 0
    live: bool = False


@contextmanager
def blaming(name: str) -> Iterator[None]:
    """Put the source's name in front of a SourceError that is raised inside."""
    try:
        yield
    except SourceError as error:
        raise SourceError(f"source {name}: {error}") from None
