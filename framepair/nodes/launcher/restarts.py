"""When a node that ended is started again: growing pauses, and only so often. Pure logic, no clock."""

from __future__ import annotations

from collections import deque
from typing import Literal, get_args

Policy = Literal["always", "on-failure", "never"]
POLICIES: tuple[Policy, ...] = get_args(Policy)

FIRST_PAUSE_S, MAX_PAUSE_S = 0.5, 30.0
# A node that worked for so long has earned a fresh start.
HEALTHY_S = 60.0
MAX_A_MINUTE = 5


class Restarts:
    """The restarts of one node: how many there were, and how long to wait before the next."""

    def __init__(self, policy: Policy) -> None:
        self.count = 0
        self._policy = policy
        self._pause_s = FIRST_PAUSE_S
        self._recent: deque[float] = deque()

    def wanted(self, status: int) -> bool:
        """Tell whether the policy starts a node again that ended with ``status``."""
        return self._policy == "always" or (self._policy == "on-failure" and status != 0)

    def pause_s(self, now_s: float, started_s: float) -> float | None:
        """Return the pause before a node that ran since ``started_s`` is started again.

        None: it ends too often, and there is no use in it.
        """
        while self._recent and self._recent[0] < now_s - 60:
            self._recent.popleft()
        if len(self._recent) >= MAX_A_MINUTE:
            return None
        if now_s - started_s >= HEALTHY_S:
            self._pause_s = FIRST_PAUSE_S
        pause_s, self._pause_s = self._pause_s, min(2 * self._pause_s, MAX_PAUSE_S)
        self._recent.append(now_s)
        self.count += 1
        return pause_s
