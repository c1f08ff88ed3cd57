"""The exit codes of the launcher and of all nodes, beside 0 after a clean stop."""

from __future__ import annotations

# A failure while running.
FAILED = 1
# Bad usage, bad configuration or a missing precondition: it was said in one sentence what to do.
USAGE = 2
# A second Ctrl-C, as shells give it: 128 + SIGINT.
INTERRUPTED = 130
