"""A console whose reader may leave: ``--help | head -1`` is no failure."""

from __future__ import annotations

from typing import NoReturn

from rich.console import Console

from framepair.nodes.common.streams import forget_stdout


class PatientConsole(Console):
    """Ends the process with 0 when the reader of its output has seen enough; rich's own ends it with 1."""

    def on_broken_pipe(self) -> NoReturn:
        """End the process."""
        forget_stdout()
        raise SystemExit(0)
