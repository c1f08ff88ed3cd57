"""Promised times, on a machine that has other work at the same time."""

from __future__ import annotations

import os
from pathlib import Path

# A test that yields to other work, by nice, gets less than its share of a core.
YIELDED = 2
# However busy a machine is: what takes longer than this is no promise that is kept late, but one that is not.
MOST = 8.0


def allowed(promised: float) -> float:
    """Return how long what takes ``promised``, in any unit, may take while others want the cores as now.

    That is ``promised`` itself on an idle machine, and MOST times as long on any.
    """
    wanted = max(os.getloadavg()[0], _running()) / (os.cpu_count() or 1)
    return promised * min(MOST, max(1.0, YIELDED * wanted))


def _running() -> int:
    """Return how many other threads run, or would if there was a core; a load average follows only slowly."""
    running, _, _ = Path("/proc/loadavg").read_text().split()[3].partition("/")
    return int(running) - 1
