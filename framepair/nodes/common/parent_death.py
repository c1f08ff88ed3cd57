"""Runs a command that isn't ours so that it ends with the launcher: leash COMMAND [ARGUMENT …]."""

from __future__ import annotations

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
        # The launcher imports this module, too, and all nodes wait for its imports.
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != int(launcher):
        sys.exit("the launcher is gone")


def main() -> None:
    """Become the command; what the kernel was asked for stays."""
    die_with_launcher()
    # There is no launcher to that program: one that it starts itself is its own business.
    try:
        os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606 - it is what the user asked for
    except OSError as error:
        sys.exit(f"{sys.argv[1]}: {error.strerror}")


if __name__ == "__main__":
    main()
