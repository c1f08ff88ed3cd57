"""How a server sends: a live stream as time passes, a recording as fast as it can be had."""

from __future__ import annotations

from typing import Final

SECOND_NS: Final = 1_000_000_000
# Servers of live streams may begin with some seconds of the past, not more.
MAX_AHEAD_NS: Final = 10 * SECOND_NS
# What is shorter than this may come at once.
MIN_SHOWN_NS: Final = SECOND_NS
# A stream that comes twice as fast as it plays, until it is over, is none.
MUCH_FASTER: Final = 2


class Served:
    """What came of a stream since it was opened: how much of it, and in how long."""

    def __init__(self, opened_ns: int) -> None:
        self._opened_ns = self._now_ns = opened_ns
        self._range: tuple[int, int] | None = None

    def add(self, pts_ns: int | None, now_ns: int) -> None:
        """Add a packet of media time ``pts_ns`` that came at ``now_ns``."""
        if pts_ns is None:
            return
        first_ns, last_ns = self._range or (pts_ns, pts_ns)
        self._range = min(first_ns, pts_ns), max(last_ns, pts_ns)
        self._now_ns = now_ns

    @property
    def is_ahead(self) -> bool:
        """Whether more was shown than can have been filmed since."""
        return self._shown_ns - self._passed_ns > MAX_AHEAD_NS

    @property
    def was_recorded(self) -> bool:
        """Whether a stream that is over now was a recording."""
        long_enough = self._shown_ns >= MIN_SHOWN_NS
        return long_enough and self._shown_ns > MUCH_FASTER * self._passed_ns

    @property
    def _shown_ns(self) -> int:
        return self._range[1] - self._range[0] if self._range else 0

    @property
    def _passed_ns(self) -> int:
        return self._now_ns - self._opened_ns
