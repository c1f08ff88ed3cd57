"""Ask a node in this container whether frames flow: exit 0 if they do, 1 if not, 2 if nobody can know."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from framepair.nodes.common import status

# Not cyclopts, as the nodes: containers run this every few seconds, and it takes ten times as long to import.
parser = argparse.ArgumentParser(prog="python -m framepair.nodes.healthcheck", description=__doc__)
parser.add_argument(
    "--max-age", type=float, default=5.0, help="seconds that the newest frame may be old (5)"
)
parser.add_argument(
    "--alive",
    action="store_true",
    help="ask only whether the node's work goes on, be there frames or not",
)


def main() -> int:
    """Print what the node's status file says; return the exit status."""
    arguments = parser.parse_args()
    path = os.environ.get(status.STATUS_VARIABLE)
    if not path:
        print(f"set {status.STATUS_VARIABLE} to the file that the node writes", file=sys.stderr)
        return 2
    try:
        found = status.read(Path(path))
    except (OSError, ValueError) as error:
        print(f"no status yet: {error}")
        return 1
    now_s = time.monotonic()
    wrong = status.complaint(found, now_s, arguments.max_age, frames_matter=not arguments.alive)
    print(wrong or f"{found.frames} frames so far")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
