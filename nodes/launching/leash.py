"""Runs a command that isn't ours so that it ends with the launcher: leash COMMAND [ARGUMENT …]."""

from __future__ import annotations

import os
import sys

from nodes.dying import die_with_launcher


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
