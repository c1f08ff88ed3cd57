"""The time in which the launcher itself ran, and not that in which it was frozen. Pure."""

from __future__ import annotations

# The launcher turns at least so often; a turn that comes later counts as this long (see WatchedTime).
TICK_S = 0.25


class WatchedTime:
    """The time in which the launcher itself ran: no deadline passes while everything is frozen.

    Of a gap between two turns, because of SIGSTOP, docker pause or a suspended machine, only TICK_S counts:
    nodes that were frozen as well get the rest of their time when all go on (systemd #38517).
    """

    def __init__(self, real_s: float) -> None:
        self.now_s = real_s
        self.real_s = real_s

    def advance(self, real_s: float) -> None:
        """Note that the launcher has come to a turn at ``real_s`` of the monotonic clock."""
        self.now_s += min(max(0.0, real_s - self.real_s), TICK_S)
        self.real_s = real_s
