"""When a node that ended is started again: growing pauses, and only so often. Pure logic, no clock."""

from __future__ import annotations

from collections import deque
from typing import Literal, get_args

Policy = Literal["always", "on-failure", "never"]
POLICIES: tuple[Policy, ...] = get_args(Policy)

FIRST_PAUSE_S, MAX_PAUSE_S = 0.5, 30.0
# The longest pause of a node that is kept although it fails again and again.
KEPT_PAUSE_S = 60.0
# A node that worked for so long has earned a fresh start.
HEALTHY_S = 60.0
MAX_A_MINUTE = 5


class Restarts:
    """The restarts of one node: how many there were, and how long to wait before the next.

    ``kept``: a node that ends too often is started again all the same, each KEPT_PAUSE_S in the end.
    """

    def __init__(self, policy: Policy, *, kept: bool = False) -> None:
        self.count = 0
        self.is_failing = False
        """Whether it has ended too often, and not worked for long since."""
        self._policy = policy
        self._kept = kept
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
            if not self._kept:
                return None
            self.is_failing = True
        if now_s - started_s >= HEALTHY_S:
            self._pause_s = FIRST_PAUSE_S
        longest_s = KEPT_PAUSE_S if self.is_failing else MAX_PAUSE_S
        pause_s, self._pause_s = self._pause_s, min(2 * self._pause_s, longest_s)
        self._recent.append(now_s)
        self.count += 1
        return pause_s

    def recover(self, now_s: float, started_s: float) -> bool:
        """Return whether a node that was failing has worked since ``started_s`` for long enough; note that."""
        recovered = self.is_failing and now_s - started_s >= HEALTHY_S
        self.is_failing = self.is_failing and not recovered
        return recovered
