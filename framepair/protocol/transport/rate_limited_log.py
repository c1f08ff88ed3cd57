"""Warnings about what peers do wrong, at a rate that no peer can choose."""

from __future__ import annotations

import logging
import time

PERIOD_S = 10.0


class RateLimitedLog:
    """Logs a warning of each kind at most every PERIOD_S seconds, and says how many were left out."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._next_s: dict[str, float] = {}
        self._left_out: dict[str, int] = {}

    def warn(self, kind: str, message: str) -> None:
        """Log ``message`` unless one of its kind was logged a moment ago."""
        if time.monotonic() < self._next_s.get(kind, 0.0):
            self._left_out[kind] = self._left_out.get(kind, 0) + 1
            return
        self._next_s[kind] = time.monotonic() + PERIOD_S
        left_out = self._left_out.pop(kind, 0)
        self._log.warning("%s%s", message, f" (and {left_out} more like it)" if left_out else "")
