"""How long a window is, how long it is waited for, and which stamps make sense."""

from __future__ import annotations

from dataclasses import dataclass

from nodes.pairing.track import IDLE_PERIODS
from protocol.frame import FrameHeader, Pace

# A stamp further ahead than this is wrong: windows that nobody can close would pile up behind it.
MAX_AHEAD_WINDOWS = 2
MAX_AHEAD_NS = 1_000_000_000
MAX_MEDIA_JUMP_NS = 3600 * 1_000_000_000


@dataclass(frozen=True, slots=True)
class Rules:
    """Length of a window, and how long to wait, in nanoseconds. With pace max no clock matters."""

    window_ns: int = 1_000_000_000
    max_wait_ns: int = 500_000_000
    idle_timeout_ns: int = 2_000_000_000
    start_timeout_ns: int = 5_000_000_000
    pace: Pace = "realtime"

    def furthest_ns(self, captured_ns: int, now_ns: int) -> int:
        """Return the last stamp that makes sense after ``captured_ns``, and now."""
        if self.pace == "max":
            return captured_ns + MAX_MEDIA_JUMP_NS
        return now_ns + max(MAX_AHEAD_NS, MAX_AHEAD_WINDOWS * self.window_ns)

    def promise_ns(self, header: FrameHeader, now_ns: int) -> int:
        """Return until when nothing will come after ``header``, as it says.

        It isn't believed for long: a producer that dies keeps any promise.
        """
        idle_ns = header.captured_ns + IDLE_PERIODS * header.period_ns
        return min(header.next_ns, max(idle_ns, self.furthest_ns(header.captured_ns, now_ns)))
