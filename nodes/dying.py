"""Ending with the launcher, even if that is killed."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

LAUNCHER_VARIABLE = "FRAMEPAIR_LAUNCHER_PID"
PR_SET_PDEATHSIG = 1


def die_with_launcher() -> None:
    """Have the kernel send SIGTERM when the launcher is gone, if a launcher started this process."""
    # What this process starts or becomes has another parent, or is no node.
    launcher = os.environ.pop(LAUNCHER_VARIABLE, None)
    if launcher is None:
        return
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != int(launcher):
        sys.exit("the launcher is gone")
